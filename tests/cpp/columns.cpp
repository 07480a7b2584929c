// Columns whose changes run out of memory at every allocation in turn, and readers that come together; built and run by
// tests/unit/test_cpp.py under ASan and UBSan, and under TSan.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "engine/attributes.hpp"

using namespace engine;

namespace {
thread_local long allocations_left = -1;  // -1: no limit
}

void* operator new(std::size_t size) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  if (void* const memory = std::malloc(std::max<std::size_t>(size, 1))) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

/// Values of all types for `n` rows, some of them NULL, and the strings they point to.
struct Rows {
  Rows(std::size_t n, std::uint64_t seed) : nulls(std::make_unique<bool[]>(n)), bools(std::make_unique<bool[]>(n)) {
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i < n; ++i) texts.push_back("text " + std::to_string(random() % (i % 2 ? 10 : 1000)));
    for (std::size_t i = 0; i < n; ++i) {
      nulls[i] = random() % 7 == 0;
      bools[i] = random() % 2;
      integers.push_back(static_cast<std::int64_t>(random() % 100));
      floats.push_back(static_cast<double>(random() % 100) / 8);
      views.push_back(texts[i]);
      for (std::size_t member = random() % 4; member > 0; --member) sets.members.push_back(texts[random() % n]);
      sets.ends.push_back(sets.members.size());
    }
    const std::span<const bool> null(nulls.get(), n);
    cells.emplace("i", Cells{std::span<const std::int64_t>(integers), null});
    cells.emplace("f", Cells{std::span<const double>(floats), null});
    cells.emplace("b", Cells{std::span<const bool>(bools.get(), n), null});
    cells.emplace("k", Cells{std::span<const std::string_view>(views), null});
    cells.emplace("s", Cells{&sets, null});
  }

  std::unique_ptr<bool[]> nulls, bools;
  std::vector<std::int64_t> integers;
  std::vector<double> floats;
  std::vector<std::string> texts;
  std::vector<std::string_view> views;
  Sets<std::string_view> sets;
  std::map<std::string, Cells, std::less<>> cells;
};

/// All that can be seen.
std::string shown(const Attributes& attributes) {
  std::vector<std::int64_t> rows(attributes.size());
  for (std::size_t row = 0; row < rows.size(); ++row) rows[row] = static_cast<std::int64_t>(row);
  std::string text;
  const auto add = [&](const Bitmap& bitmap) {
    text += ":" + std::to_string(bitmap.size()) + ":" + std::to_string(bitmap.count());
    bitmap.for_each([&](std::size_t row) { text += "," + std::to_string(row); });
  };
  for (const auto& [name, type] : attributes.schema()) {
    const Taken taken = attributes.take(name, rows);
    for (const std::uint8_t null : taken.nulls) text += null ? 'N' : '.';
    if (const auto* texts = std::get_if<std::vector<std::string>>(&taken.values))
      for (const std::string& value : *texts) text += value + ";";
    if (const auto* sets = std::get_if<Sets<std::string>>(&taken.values)) {
      for (const std::string& value : sets->members) text += value + ";";
      for (const std::size_t end : sets->ends) text += std::to_string(end) + ";";
    }
    if (const auto* numbers = std::get_if<std::vector<std::int64_t>>(&taken.values))
      for (const std::int64_t value : *numbers) text += std::to_string(value) + ";";
    add(attributes.nulls(name));
  }
  const std::vector<Value> keyword{std::string_view("text 3")}, yes{true};
  const std::vector<std::string_view> members{"text 3", "text 4"};
  add(attributes.equal("k", keyword));
  add(attributes.equal("b", yes));
  add(attributes.between("i", std::int64_t{10}, std::int64_t{40}, false, true));
  add(attributes.between("f", 2.0, {}, true, false));
  for (const SetMode mode : {SetMode::any, SetMode::all, SetMode::exact}) add(attributes.contains("s", members, mode));
  text += std::to_string(attributes.count_between("i", std::int64_t{10}, std::int64_t{40}, false, true));
  return text + "/" + std::to_string(attributes.count_equal("k", keyword));
}

void add_columns(Attributes& attributes) {
  attributes.add_column("i", ColumnType::int64);
  attributes.add_column("f", ColumnType::float64);
  attributes.add_column("b", ColumnType::boolean);
  attributes.add_column("k", ColumnType::keyword);
  attributes.add_column("s", ColumnType::keywords);
}

/// `change` with room for 0, 1, 2, ... allocations: each failure must leave what was seen before. How many failed.
template <class Change>
long fail_everywhere(const Attributes& attributes, Change&& change) {
  const std::string before = shown(attributes);
  for (long n = 0;; ++n) {
    allocations_left = n;
    try {
      change();
      allocations_left = -1;
      return n;
    } catch (const std::bad_alloc&) {
      allocations_left = -1;
      CHECK(shown(attributes) == before);
    }
  }
}

void test_memory_that_runs_out() {
  Attributes attributes;
  add_columns(attributes);
  long n_failed = 0;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const Rows added(40, seed), given(5, 100 + seed);
    n_failed += fail_everywhere(attributes, [&] { attributes.append(40, added.cells); });
    const std::vector<std::int64_t> rows{3, 0, 39, 3, 7};
    for (const auto& [name, cells] : given.cells)
      n_failed += fail_everywhere(attributes, [&] { attributes.set(name, rows, cells); });
    const std::vector<std::int64_t> gone{0, 5, 20, 11};
    n_failed += fail_everywhere(attributes, [&] { attributes.drop(gone); });
    n_failed += fail_everywhere(attributes, [&] { attributes.add_column("x" + std::to_string(seed), ColumnType::keyword); });
  }
  CHECK(n_failed > 500);
}

/// A question that runs out of memory leaves no half of what it would have made, also of rows that changed since.
void test_readers_without_memory() {
  const std::vector<Value> keyword{std::string_view("text 3")};
  const std::vector<std::string_view> members{"text 3", "text 4"};
  const auto check = [](const auto& ask, std::size_t expected) {
    for (long n = 0;; ++n) {
      allocations_left = n;
      try {
        const Bitmap rows = ask();
        allocations_left = -1;
        CHECK(n > 0 && rows.count() == expected);
        return;
      } catch (const std::bad_alloc&) {
        allocations_left = -1;
      }
    }
  };
  Attributes attributes, same;
  for (Attributes* const each : {&attributes, &same}) add_columns(*each);
  for (std::uint64_t seed = 1; seed < 4; ++seed) {
    const Rows added(3000, seed);
    for (Attributes* const each : {&attributes, &same}) each->append(3000, added.cells);
    check([&] { return attributes.between("i", std::int64_t{10}, std::int64_t{40}, false, true); },
          same.count_between("i", std::int64_t{10}, std::int64_t{40}, false, true));
    check([&] { return attributes.equal("k", keyword); }, same.count_equal("k", keyword));
    check([&] { return attributes.contains("s", members, SetMode::all); }, same.contains("s", members, SetMode::all).count());
  }
}

/// Values that an append added before it failed are gone, and others may have their codes.
void test_values_of_a_failed_append() {
  Attributes attributes;
  add_columns(attributes);
  attributes.append(40, Rows(40, 1).cells);
  const std::vector<Value> old{std::string_view("text 3")}, added{std::string_view("new")}, other{std::string_view("other")};
  const std::size_t n_old = attributes.count_equal("k", old);
  const std::vector<std::string_view> first{"new", "text 3"}, second{"other", "new"};
  for (long n = 0;; ++n) {
    allocations_left = n;
    try {
      attributes.append(2, {{"k", Cells{std::span<const std::string_view>(first), {}}}});
      allocations_left = -1;
      break;
    } catch (const std::bad_alloc&) {
      allocations_left = -1;
    }
    CHECK(attributes.count_equal("k", added) == 0 && attributes.count_equal("k", old) == n_old);
  }
  attributes.append(2, {{"k", Cells{std::span<const std::string_view>(second), {}}}});
  CHECK(attributes.count_equal("k", added) == 2 && attributes.count_equal("k", other) == 1);
  CHECK(attributes.count_equal("k", old) == n_old + 1);
}

/// Readers that make what they need at once, and a writer: each sees all rows of a round or none.
void test_threads() {
  Attributes attributes;
  add_columns(attributes);
  const Rows round(100, 7);
  attributes.append(100, round.cells);
  const std::vector<Value> keyword{std::string_view("text 3")};
  const std::size_t in_round = attributes.count_equal("k", keyword);
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t)
    readers.emplace_back([&] {
      while (!stop) {
        const Bitmap found = attributes.equal("k", keyword);
        CHECK(found.size() % 100 == 0 && found.count() == found.size() / 100 * in_round);
        CHECK(attributes.between("i", {}, {}, false, false).size() % 100 == 0);
        attributes.nbytes();
      }
    });
  for (int i = 0; i < 60; ++i) {
    attributes.append(100, round.cells);
    if (i % 20 == 19) attributes.truncate(100);
    std::this_thread::yield();
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
}

}  // namespace

int main() {
  test_memory_that_runs_out();
  test_readers_without_memory();
  test_values_of_a_failed_append();
  test_threads();
}
