// GraphIndex when memory ends at any allocation and when it is cancelled at any time; built and run by tests/unit/test_cpp.py
// under ASan and UBSan.
#include "engine/graph_index.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"

using namespace engine;

namespace {

std::vector<float> vectors(std::size_t n, std::size_t dim, std::uint64_t seed, float center = 0) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(center, 1);
  std::vector<float> values(n * dim);
  for (float& value : values) value = normal(random);
  return values;
}

/// All that a file would hold.
std::map<std::string, std::string> stored(const GraphIndex& index) {
  std::map<std::string, std::string> bytes;
  for (const Part& part : index.parts())
    bytes[part.name] = std::string(static_cast<const char*>(part.data), part.n_items * part.item_size);
  bytes["next_id"] = std::to_string(index.next_id());
  return bytes;
}

GraphIndex copy_of(const GraphIndex& index, Metric metric, Dtype dtype) {
  return GraphIndex::from_parts(index.dim(), metric, dtype, index.params(), index.next_id(), index.parts());
}

void add(GraphIndex& index, std::size_t n, std::uint64_t seed, float center, Cancel& cancel) {
  const std::vector<float> values = vectors(n, index.dim(), seed, center);
  index.add({values.data(), n, index.dim()}, {}, 1, cancel);
}
void add(GraphIndex& index, std::size_t n, std::uint64_t seed, float center = 0) {
  Cancel never;
  add(index, n, seed, center, never);
}

/// Wherever `change` fails, the index is as before; once it succeeds, as if it never had failed.
void fail_everywhere(const std::function<GraphIndex()>& make, const std::function<void(GraphIndex&)>& change, double pace) {
  GraphIndex index = make(), reference = make();
  change(reference);
  const auto before = stored(index), after = stored(reference);
  CHECK(before != after);
  for (double failing = 1;; failing = failing < 40 ? failing + 1 : failing * pace) {
    const auto reader = index.parts();  // what is shared must not change, and has to be copied
    try {
      allocations::n_until_failure = static_cast<long>(failing);
      change(index);
      if (allocations::n_until_failure.exchange(0) > 0) break;
      // Rows that are gone are gone; the next add links what lost its last link.
      CHECK(stored(index).at("ids") == after.at("ids"));
      return;
    } catch (const std::bad_alloc&) {
      allocations::n_until_failure = 0;
    }
    for (const auto& [name, bytes] : stored(index))
      if (bytes != before.at(name)) {
        std::fprintf(stderr, "%s differs after failure %ld\n", name.c_str(), static_cast<long>(failing));
        std::exit(1);
      }
  }
  for (const auto& [name, bytes] : stored(index))
    if (bytes != after.at(name)) {
      std::fprintf(stderr, "%s differs in the end\n", name.c_str());
      std::exit(1);
    }
}

void test_memory_ends() {
  struct Kind {
    Metric metric;
    Dtype dtype;
  };
  for (const auto [metric, dtype] :
       {Kind{Metric::ip, Dtype::f32}, Kind{Metric::l2, Dtype::i8}, Kind{Metric::cosine, Dtype::f16}}) {
    const auto made = [&](std::size_t n) {
      GraphIndex index(12, metric, dtype, {4, 10, 1});
      if (n) add(index, n, 1);
      return index;
    };
    const auto loaded = [&] { return copy_of(made(150), metric, dtype); };
    const auto remove = [](std::size_t n) {
      return [n](GraphIndex& index) {
        std::vector<std::int64_t> ids(n);
        std::iota(ids.begin(), ids.end(), 0);
        Cancel never;
        index.remove(ids, 1, never);
      };
    };
    fail_everywhere([&] { return made(0); }, [](GraphIndex& index) { add(index, 100, 2); }, 1.2);
    // Twice as many are coded anew around another center, and under ip they are longer.
    fail_everywhere([&] { return made(150); }, [](GraphIndex& index) { add(index, 200, 2, 3); }, 1.1);
    fail_everywhere(loaded, [](GraphIndex& index) { add(index, 60, 2); }, 1.2);
    fail_everywhere([&] { return made(150); }, remove(30), 1.1);
    fail_everywhere([&] { return made(150); }, remove(70), 1.1);  // so many that the rest moves together
    fail_everywhere(loaded, remove(150), 1.1);
  }
  // Enough to be calibrated
  fail_everywhere(
      [] {
        GraphIndex index(12, Metric::l2, Dtype::f32, {4, 10, 1});
        add(index, 1900, 1);
        return index;
      },
      [](GraphIndex& index) { add(index, 200, 2); }, 1.8);
}

/// Mostly old rows must find each other as before.
void test_cancelled() {
  GraphIndex index(16, Metric::l2, Dtype::f32, {8, 60, 1});
  add(index, 1500, 1);
  std::vector<std::int64_t> gone(600);
  std::iota(gone.begin(), gone.end(), 0);
  const auto before = stored(index);
  for (const bool removes : {false, true})
    for (int polls = 0;; polls = 2 * polls + 1) {
      GraphIndex changed = copy_of(index, Metric::l2, Dtype::f32);
      int left = polls;
      Cancel cancel([&left] { return left-- == 0; });
      try {
        removes ? changed.remove(gone, 1, cancel) : add(changed, 3000, 2, 2, cancel);
        break;
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::cancelled && stored(changed) == before);
      }
    }
}

/// A row far longer than all others makes walks impossible, until its add failed or it is gone.
void test_longest() {
  GraphIndex index(16, Metric::l2, Dtype::f32, {8, 40, 1});
  add(index, 3000, 1);
  std::vector<float> values = vectors(50, 16, 2);
  const auto walks = [&] {
    std::vector<std::int64_t> ids(10);
    std::vector<float> distances(10);
    Cancel never;
    return index.search({values.data(), 1, 16}, 10, {.ef = 40}, {}, never, ids.data(), distances.data()).strategy == "graph";
  };
  CHECK(walks());
  values.back() = 1e30f;
  for (const long failing : {60, 200, 350}) {
    Cancel never;
    allocations::n_until_failure = failing;
    try {
      index.add({values.data(), 50, 16}, {}, 1, never);
      CHECK(false);
    } catch (const std::bad_alloc&) {
    }
    allocations::n_until_failure = 0;
    CHECK(walks());
  }
  Cancel never;
  const auto ids = index.add({values.data(), 50, 16}, {}, 1, never);
  CHECK(!walks());
  index.remove(std::vector<std::int64_t>{ids.back()}, 1, never);
  index.optimize(1, never);
  CHECK(walks());
}

/// A row of zeros far below the others' lengths is linked like any other; so are finite rows of any length.
void test_lengths() {
  std::mt19937_64 random(5);
  for (const Metric metric : {Metric::l2, Metric::ip})
    for (const bool wild : {false, true}) {
      GraphIndex index(16, metric, Dtype::f32, {8, 20, 1});
      std::vector<float> values = vectors(1500, 16, 1);
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (i < values.size() / 2) values[values.size() - 1 - i] = -values[i];  // no center but 0
        values[i] *= wild ? std::pow(10.0f, static_cast<float>(random() % 76) - 38) : 1e5f;
      }
      for (const std::size_t row : {100, 800, 801}) std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(row * 16), 16, 0.0f);
      Cancel never;
      index.add({values.data(), 1500, 16}, {}, 1, never);
      const GraphReport report = index.inspect();
      CHECK(report.n_out_of_range + report.n_self_links + report.n_repeated + report.n_after_end == 0);
      if (!wild) CHECK(report.n_reached == 1500);
    }
}

/// The ids of rows that are gone but still there are free, also after the map of ids grew.
void test_ids_of_the_dead() {
  GraphIndex index(16, Metric::l2, Dtype::f32, {8, 20, 1});
  add(index, 100, 1);
  const std::vector<std::int64_t> gone{3, 50, 99};
  Cancel never;
  index.remove(gone, 1, never);
  add(index, 1000, 2);
  std::vector<float> vector(16);
  try {
    index.get(std::span(gone).first(1), vector.data());
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::invalid_argument);
  }
  const std::vector<float> again = vectors(3, 16, 3);
  index.add({again.data(), 3, 16}, gone, 1, never);
  index.optimize(1, never);
  CHECK(index.size() == 1100 && index.n_dead() == 0);
  index.get(std::span(gone).first(1), vector.data());
  CHECK(std::equal(vector.begin(), vector.end(), again.begin()));
}

/// A loaded index goes on as the one that was saved would have.
void test_loaded_goes_on() {
  for (const Metric metric : {Metric::ip, Metric::l2, Metric::cosine}) {
    GraphIndex index(16, metric, Dtype::f32, {8, 20, 1});
    add(index, 800, 1, 0.5f);
    GraphIndex loaded = copy_of(index, metric, Dtype::f32);
    std::vector<std::int64_t> ids(300);
    std::iota(ids.begin(), ids.end(), 100);
    for (GraphIndex* each : {&index, &loaded}) {
      Cancel never;
      each->remove(ids, 1, never);
      CHECK(each->n_dead() == 0);
    }
    CHECK(stored(index) == stored(loaded));
  }
}

}  // namespace

int main() {
  test_longest();
  test_lengths();
  test_ids_of_the_dead();
  test_loaded_goes_on();
  test_memory_ends();
  test_cancelled();
}
