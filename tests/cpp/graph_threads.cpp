// Several threads search while one adds, one removes and one looks; built and run by tests/unit/test_cpp.py under TSan.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "check.hpp"
#include "engine/graph_index.hpp"

using namespace engine;

namespace {

constexpr std::size_t kDim = 16, kRound = 200;

std::vector<float> vectors(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n * kDim);
  for (float& value : values) value = normal(random);
  return values;
}

/// Of half of the rows, by walks; a filter of the rows before a change that ended meanwhile does not fit any more.
void filtered(const GraphIndex& index, MatrixView queries, std::uint64_t seed, Cancel& cancel) {
  Bitmap half(index.size());
  for (std::size_t row = seed % 2; row < half.size(); row += 2) half.set(row);
  std::vector<std::int64_t> ids(30);
  std::vector<float> distances(30);
  const Effort effort{.ef = 30, .executor = seed % 4 == 1 ? Executor::in_filter : Executor::sweep};
  try {
    index.search(queries, 10, effort, {.filter = &half}, cancel, ids.data(), distances.data());
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::invalid_argument);
    return;
  }
  for (std::size_t q = 0; q < 3; ++q) CHECK(std::set<std::int64_t>(&ids[q * 10], &ids[q * 10] + 10).size() == 10);
}

/// Rows are added in rounds and removed in rounds; a search sees rounds whole, whatever their number.
void run(Metric metric, Dtype dtype, std::chrono::seconds limit) {
  GraphIndex index(kDim, metric, dtype, {6, 20, 1});
  Cancel never;
  const std::vector<float> first = vectors(2000, 1);
  index.add({first.data(), 2000, kDim}, {}, 1, never);

  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> n_gone{0}, n_kept{2000};  // ids below n_gone were removed; those below n_kept were added
  const auto until = std::chrono::steady_clock::now() + limit;
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      Cancel own;
      for (std::uint64_t seed = 100 * t; !stop; ++seed) {
        const std::vector<float> queries = vectors(3, seed);
        std::vector<std::int64_t> ids(30);
        std::vector<float> distances(30);
        const std::int64_t gone = n_gone;
        index.search({queries.data(), 3, kDim}, 10, {.ef = seed % 3 ? 30u : 0u}, {.n_threads = t ? 1u : 2u}, own, ids.data(),
                     distances.data());
        if (seed % 2) filtered(index, {queries.data(), 3, kDim}, seed, own);
        for (std::size_t q = 0; q < 3; ++q) {
          const std::set<std::int64_t> found(&ids[q * 10], &ids[q * 10] + 10);
          CHECK(found.size() == 10 && *found.begin() >= gone && std::is_sorted(&distances[q * 10], &distances[q * 10] + 10));
        }
      }
    });
  threads.emplace_back([&] {
    Cancel own;
    for (std::uint64_t round = 0; !stop; ++round) {
      const std::vector<float> more = vectors(kRound, 1000 + round);
      bool stops = round % 4 == 3;  // some are taken back
      Cancel cancel([&] { return stops; });
      try {
        n_kept = index.add({more.data(), kRound, kDim}, {}, 2, round % 4 == 3 ? cancel : own).back() + 1;
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::cancelled);
      }
    }
  });
  threads.emplace_back([&] {
    Cancel own;
    while (!stop) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      if (n_kept - n_gone < 1500) continue;
      std::vector<std::int64_t> ids(100);
      for (std::int64_t& id : ids) id = n_gone + (&id - ids.data());
      index.remove(ids, 2, own);
      n_gone += 100;
    }
  });
  threads.emplace_back([&] {
    while (!stop) {
      const GraphReport report = index.inspect();
      CHECK(report.n_out_of_range + report.n_self_links + report.n_repeated + report.n_after_end == 0);
      const auto parts = index.parts();
      std::uint64_t sum = 0;  // what was handed out does not change
      for (const Part& part : parts)
        for (std::size_t i = 0; i < part.n_items * part.item_size; ++i) sum += static_cast<const unsigned char*>(part.data)[i];
      CHECK(sum > 0 && index.size() + index.n_dead() > 0 && index.nbytes() > index.overhead_nbytes() / 2);
      const std::vector<std::int64_t> ids = index.ids();
      CHECK(std::set<std::int64_t>(ids.begin(), ids.end()).size() == ids.size());
      index.ef_for(10, 0.9);
      index.calibration();
    }
  });
  while (std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(n_gone > 0 && n_kept > 2000);
}

}  // namespace

int main() {
  run(Metric::ip, Dtype::f32, std::chrono::seconds(6));
  run(Metric::l2, Dtype::i8, std::chrono::seconds(6));
}
