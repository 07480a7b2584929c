// The pieces under csrc/graph by themselves; built and run by tests/unit/test_cpp.py under ASan and UBSan.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <numeric>
#include <random>
#include <set>
#include <span>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"
#include "engine/bitmap.hpp"
#include "engine/cancel.hpp"
#include "graph/builder.hpp"
#include "graph/entrance.hpp"
#include "graph/links.hpp"
#include "graph/pool.hpp"
#include "graph/pruner.hpp"
#include "graph/scorer.hpp"
#include "graph/searcher.hpp"
#include "graph/visited_set.hpp"
#include "index/calibration.hpp"
#include "quant/nibble_codes.hpp"

using namespace engine;
using namespace engine::graph;

namespace {

using Rows = std::vector<std::uint32_t>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Normal vectors, and their codes.
struct Data {
  Data(std::size_t n, std::size_t dim, Metric metric, float spread = 1, std::uint64_t seed = 7)
      : n(n), dim(dim), values(n * dim), codes(dim, metric) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal(0, spread);
    for (float& value : values) value = normal(random);
    code(metric);
  }
  void code(Metric metric) {
    Cancel cancel;
    codes = quant::NibbleCodes::of(view(), metric, 1, cancel, "vectors");
  }
  RowsView view() const { return {reinterpret_cast<const std::byte*>(values.data()), n, dim, Dtype::f32}; }
  Base base() const { return {view(), codes}; }

  std::size_t n, dim;
  std::vector<float> values;
  quant::NibbleCodes codes;
};

Links linked(std::size_t degree, const std::vector<Rows>& lists) {
  Links links(degree);
  links.reserve(lists.size());
  links.grow(lists.size());
  for (std::size_t row = 0; row < lists.size(); ++row) links.set(row, lists[row]);
  return links;
}

Rows of(const Links& links, std::size_t row) { return {links.of(row).begin(), links.of(row).end()}; }

bool sound(const Report& report) {
  return report.n_out_of_range + report.n_self_links + report.n_repeated + report.n_after_end == 0;
}

/// Distance to a point of a line, for walks by hand.
struct LineScorer {
  static constexpr std::size_t kMost = 64;
  float query;
  void prefetch(std::uint32_t) const noexcept {}
  void operator()(const std::uint32_t* rows, std::size_t n, float* keys) const noexcept {
    for (std::size_t i = 0; i < n; ++i) keys[i] = std::abs(static_cast<float>(rows[i]) - query);
  }
};

/// Against a sorted list of everything that was pushed.
void test_pool() {
  std::mt19937_64 random(1);
  Pool pool;
  for (const std::size_t capacity : {1u, 2u, 7u, 40u, 3u}) {
    pool.start(capacity);
    std::uint32_t row = 0;
    CHECK(pool.size() == 0 && !pool.expand(row) && pool.worst() == kInfinity);
    std::vector<float> keys;
    std::set<std::uint32_t> expanded;
    for (std::uint32_t next = 0; next < 200; ++next) {
      const auto key = static_cast<float>(random() % 50);
      const std::size_t at = pool.insert(key, next);
      CHECK(at == capacity || (pool.key(at) == key && pool.row(at) == next));
      keys.insert(std::upper_bound(keys.begin(), keys.end(), key), key);
      keys.resize(std::min(keys.size(), capacity));
      CHECK(pool.size() == keys.size());
      for (std::size_t i = 0; i < keys.size(); ++i) CHECK(pool.key(i) == keys[i]);
      if (random() % 3 == 0 && pool.expand(row)) CHECK(expanded.insert(row).second);  // none twice
    }
    while (pool.expand(row)) CHECK(expanded.insert(row).second);
    for (std::size_t i = 0; i < pool.size(); ++i) CHECK(expanded.contains(pool.row(i)));
    CHECK(pool.insert(std::nanf(""), 1) == capacity && pool.insert(kInfinity, 1) == capacity);
  }
  for (const std::size_t capacity : {1u, 8u, 9u, 30u, 40u}) {  // narrowed: as one that was so from the start
    Pool wide, small;
    wide.start(40);
    small.start(capacity);
    std::uint32_t row = 0;
    for (std::uint32_t next = 0; next < 100; ++next) {
      const auto key = static_cast<float>(random() % 1000);
      wide.insert(key, next);
      small.insert(key, next);
      if (next != 50) continue;
      wide.narrow(capacity);
      wide.narrow(40);  // never wider
      CHECK(wide.capacity() == capacity && wide.worst() == small.worst());
    }
    CHECK(wide.size() == small.size());
    for (std::size_t i = 0; i < small.size(); ++i) CHECK(wide.key(i) == small.key(i) && wide.row(i) == small.row(i));
    while (small.expand(row)) {
      std::uint32_t same;
      CHECK(wide.is_open(capacity) && wide.expand(same) && same == row);
    }
    CHECK(!wide.is_open(capacity) && !wide.expand(row));
  }
  for (const std::size_t capacity : {1u, 5u, 30u, 60u, 200u}) {  // widened: as one that was so from the start
    Pool wide, small;
    Scored scored;
    std::array<std::uint32_t, 64> rows{};
    std::array<float, 64> keys{};
    wide.start(capacity);
    small.start(std::min<std::size_t>(capacity, 30));
    for (std::uint32_t next = 0; next < 100; ++next) {
      keys[next % 7] = next == 50 ? std::nanf("") : static_cast<float>(random() % 1000);
      rows[next % 7] = next;
      wide.insert(keys[next % 7], next);
      small.insert(keys[next % 7], next);
      if (next % 7 == 6 || next == 99) scored.add(rows, keys, next % 7 + 1);
    }
    CHECK(scored.size() == 100 && scored[64].row == 64 && scored.first_after(0) == 100);
    std::uint32_t row = 0, same = 0;
    for (int i = 0; i < 4; ++i) {
      CHECK(small.expand(row) == wide.expand(same) && row == same);
      if (small.size() > static_cast<std::size_t>(i)) scored.add_expanded({small.key(small.next() - 1), row});
    }
    small.widen(capacity, scored);
    CHECK(small.size() == wide.size() && small.capacity() == capacity && small.worst() == wide.worst());
    for (std::size_t i = 0; i < wide.size(); ++i)
      CHECK(small.key(i) == wide.key(i) && small.row(i) == wide.row(i) && small.is_expanded(i) == wide.is_expanded(i));
    CHECK(small.expand(row) == wide.expand(same) && row == same);
    CHECK(small.insert(-1, 200) == 0 && small.row(0) == 200);
  }
  pool.start(4);  // what has no place in the order has none in the pool
  CHECK(pool.insert(std::nanf(""), 1) == 4 && pool.insert(kInfinity, 2) == 4 && pool.insert(-kInfinity, 3) == 0);
  CHECK(pool.size() == 1 && pool.row(0) == 3);
}

/// Whatever there is no memory for, the next walk finds it empty and whole.
void test_scored() {
  std::array<std::uint32_t, 64> rows{};
  std::array<float, 64> keys{};
  bool done = false;
  for (long failing = 1; !done; ++failing) {
    Scored scored;
    try {
      allocations::n_until_failure = failing;
      for (int i = 0; i < 20; ++i) scored.add(rows, keys, 50);
      done = true;
    } catch (const std::bad_alloc&) {
    }
    allocations::n_until_failure = 0;
    scored.clear();
    for (int i = 0; i < 40; ++i) scored.add(rows, keys, 64);
    CHECK(scored.size() == 40 * 64);
  }
  Scored scored;  // 3 rows, then 2 once one was expanded, 4 once three were
  CHECK(scored.first_after(0) == 0);
  for (const auto& [n_expanded, n] : {std::pair{0, 3}, {1, 2}, {2, 4}}) {
    for (int i = 0; i < n_expanded; ++i) scored.add_expanded({1, 7});
    scored.add(rows, keys, static_cast<std::size_t>(n));
  }
  CHECK(scored.size() == 9 && scored.first_after(0) == 3 && scored.first_after(1) == 5 && scored.first_after(2) == 5);
  CHECK(scored.first_after(3) == 9);
}

void test_visited_set() {
  VisitedSet visited;
  for (int search = 0; search < 600; ++search) {  // more than there are numbers of searches
    const std::size_t n = 10 + static_cast<std::size_t>(search % 7);
    visited.start(n);
    for (std::size_t row = search % 3; row < n; row += 2) CHECK(visited.insert(row) && !visited.insert(row));
  }
}

void test_links() {
  Links links = linked(4, {{1, 2}, {}, {0, 1, 3, 2}, {0, 4, 1}});
  CHECK(of(links, 3) == Rows{0});  // what is no row ends a list
  links.truncate(3);
  links.reserve(4);
  links.grow(4);
  CHECK(links.size() == 4 && of(links, 0) == Rows({1, 2}) && of(links, 1).empty() && of(links, 2) == Rows({0, 1, 3, 2}));
  const auto reader = links.array().share();
  const std::uint32_t* const seen = links.place(0);
  links.reserve(5);
  links.make_writable();
  links.grow(5);
  links.set(0, Rows{4});
  CHECK(seen[0] == 1 && of(links, 0) == Rows{4} && of(links, 3).empty() && of(links, 4).empty());
  CHECK(inspect(linked(4, {{1, 1}, {1}, {9}}), Rows{0}).n_repeated == 1);
  const Report report = inspect(linked(4, {{1}, {1}, {9}}), Rows{0});
  CHECK(report.n_self_links == 1 && report.n_out_of_range == 1 && report.n_reached == 0);
  CHECK(inspect(linked(4, {{1}, {0}, {0}}), Rows{0}).n_reached == 2);
}

/// Takes back the first state of each row, however often it changed, and when memory ends; new rows are not kept.
/// Of the rows that one links to, the nearest with room link back, those in need first; and a change can be taken back.
void test_support() {
  const Change at_once = [](const std::function<void()>& apply) { apply(); };
  const std::vector<Rows> before{{1, 2, 3, 4}, {5, 6, 7}, {0, 3}, {}, {1}, {6}, {}, {}};
  Links links = linked(4, before);
  Undo undo(before.size(), 4);
  BuildOptions options;
  options.undo = &undo;
  Cancel never;
  const Rows rows{0, 1, 2, 3, 4, 5, 6, 7};
  support(rows, options, links, never, at_once);
  // The last place of 1 goes to 4, which has no other row, so that 3 links back to 0.
  CHECK(of(links, 0) == before[0] && of(links, 1) == Rows({5, 6, 7, 4}) && of(links, 2) == before[2]);
  CHECK(of(links, 3) == Rows({0, 2}) && of(links, 4) == Rows({1}) && of(links, 5) == Rows({6, 1}));
  CHECK(of(links, 6) == Rows({5}) && of(links, 7).empty());
  CHECK(sound(inspect(links, Rows{0})));

  options.fills = true;
  support(rows, options, links, never, at_once);
  CHECK(of(links, 3) == Rows({0, 2}) && of(links, 4) == Rows({1, 0}) && of(links, 6) == Rows({5, 1}));
  undo.take_back(links);
  for (std::size_t row = 0; row < before.size(); ++row) CHECK(of(links, row) == before[row]);
}

void test_undo() {
  const std::vector<Rows> before{{1, 2}, {0}, {0}};
  const auto change = [](Undo& undo, Links& links, int n_rounds) {
    for (int round = 0; round < n_rounds; ++round)
      for (const std::uint32_t row : {0u, 2u, 3u}) {
        undo.keep(links, row);
        links.set(row, Rows{static_cast<std::uint32_t>(round % 3), 3});
      }
  };
  Links links = linked(4, {{1, 2}, {0}, {0}, {}});
  Undo undo(3, 4);
  const std::size_t n_bytes = allocations::n_bytes;
  change(undo, links, 1000);
  CHECK(allocations::n_bytes - n_bytes < 1000 * 3 * 8 + 1000);  // what `Rows` takes, and no entry for each change
  undo.take_back(links);
  for (std::size_t row = 0; row < 3; ++row) CHECK(of(links, row) == before[row]);
  CHECK(of(links, 3) == Rows({0, 3}));

  bool done = false;
  for (long failing = 1; !done; ++failing) {
    links = linked(4, {{1, 2}, {0}, {0}, {}});
    Undo short_of_memory(3, 4);
    try {
      allocations::n_until_failure = failing;
      change(short_of_memory, links, 1);
      done = true;
    } catch (const std::bad_alloc&) {
    }
    allocations::n_until_failure = 0;
    short_of_memory.take_back(links);
    for (std::size_t row = 0; row < 3; ++row) CHECK(of(links, row) == before[row]);
  }
}

/// Goes on until 8 are expanded, of which it keeps no more.
struct Doubling {
  std::vector<std::size_t> asked;
  int n_endings = 0;

  std::size_t further(Pool& pool, std::size_t done) {
    asked.push_back(done);
    if (done == 4) pool.narrow(8);
    return done == 0 ? 2 : std::min<std::size_t>(2 * done, 8);
  }
  void ending(const Pool& pool) { n_endings += pool.size() > 0; }
};

/// On a line with links to both sides, and one long link.
void test_walk() {
  std::vector<Rows> lists(100);
  for (std::uint32_t row = 0; row < 100; ++row) {
    if (row) lists[row].push_back(row - 1);
    if (row < 99) lists[row].push_back(row + 1);
  }
  lists[0].push_back(70);
  const Links links = linked(3, lists);
  Workspace work;
  for (const std::size_t ef : {1u, 2u, 5u, 200u}) {
    const std::size_t n_scored = walk(links, Rows{0}, LineScorer{60.25f}, ef, work).n_scored;
    CHECK(work.pool.size() == std::min<std::size_t>(ef, 100) && work.pool.row(0) == 60);
    for (std::size_t i = 1; i < work.pool.size(); ++i) CHECK(work.pool.key(i - 1) <= work.pool.key(i));
    CHECK(ef == 200 ? n_scored == 100 : n_scored < 40);
  }
  Nearest three{3};
  walk(links, Rows{0}, LineScorer{60.25f}, 3, work, [](std::uint32_t row) { return row != 60; }, 0, three);
  for (std::size_t i = 0; i < work.pool.size(); ++i) CHECK(work.pool.row(i) != 60);
  // A walk that has long arrived meets nothing late; one whose every step finds what is nearer, most.
  const auto n_late = [&](float query, std::size_t ef, std::size_t near) {
    Nearest goal{ef};
    walk(links, Rows{0}, LineScorer{query}, ef, work, AcceptAll{}, near, goal);
    return std::ranges::count_if(work.met, [&](const Met& met) { return met.place < near && met.when > late_after(ef); });
  };
  CHECK(n_late(60.25f, 80, 3) == 0);
  CHECK(n_late(30, 4, 1) > 20);
  // A goal is asked how far to go whenever what it wanted is done, and goes on from there.
  Doubling doubling;
  walk(links, Rows{0}, LineScorer{60.25f}, 20, work, AcceptAll{}, 0, doubling);
  CHECK((doubling.asked == std::vector<std::size_t>{0, 2, 4, 8}) && doubling.n_endings > 0);
  for (std::size_t i = 0; i < work.pool.size(); ++i) CHECK(work.pool.is_expanded(i) || i >= 8);
  CHECK(work.pool.size() == 8 && work.pool.row(0) == 60 && work.pool.row(7) == 64);
  // A walk that goes on finds what one would have that went as far from the start. Towards 30.25 it leaves rows behind that it
  // expanded on its way and that belong to the wider pool: none is expanded again.
  for (const float query : {60.25f, 30.25f}) {
    Nearest few{4}, twenty{20};
    const std::size_t n_first = walk(links, Rows{0}, LineScorer{query}, 6, work, AcceptAll{}, 1, few).n_scored;
    const std::size_t n_more = walk_further(links, LineScorer{query}, 90, 20, work, AcceptAll{}).n_scored;
    CHECK(work.scored.size() == n_first + n_more && work.pool.size() == std::min<std::size_t>(90, n_first + n_more));
    std::set<std::uint32_t> expanded;
    for (const Keyed& row : work.scored.expanded()) CHECK(expanded.insert(row.row).second);
    for (std::size_t i = 0; i < work.pool.size(); ++i) CHECK(work.pool.is_expanded(i) == expanded.contains(work.pool.row(i)));
    Workspace other;
    const std::size_t n_at_once = walk(links, Rows{0}, LineScorer{query}, 90, other, AcceptAll{}, 1, twenty).n_scored;
    CHECK(n_first + n_more <= n_at_once);  // a short walk is less often on its way with two rows at a time
    for (std::size_t i = 0; i < 20; ++i)
      CHECK(work.pool.row(i) == other.pool.row(i) && work.pool.is_expanded(i) && other.pool.is_expanded(i));
  }
  walk(links, Rows{}, LineScorer{0}, 3, work);
  CHECK(work.pool.size() == 0);
  walk(links, Rows{99, 99, 0}, LineScorer{99}, 1, work);  // the last place, and an entry twice
  CHECK(work.pool.size() == 1 && work.pool.row(0) == 99);
}

/// RobustPrune in double on decoded rows, in the two passes that Pruner describes.
Rows prune(const Data& data, const float* lift, std::uint32_t row, Rows candidates, std::size_t degree, double alpha) {
  const auto distance = [&](std::uint32_t a, std::uint32_t b) {
    std::vector<float> x(data.dim), y(data.dim);
    data.codes.decode(a, x.data());
    data.codes.decode(b, y.data());
    double total = lift ? (double{lift[a]} - lift[b]) * (double{lift[a]} - lift[b]) : 0;
    for (std::size_t j = 0; j < data.dim; ++j) total += (double{x[j]} - y[j]) * (double{x[j]} - y[j]);
    return total;
  };
  std::sort(candidates.begin(), candidates.end(), [&](auto a, auto b) { return distance(row, a) < distance(row, b); });
  Rows chosen;
  for (const double limit : {1.0, alpha * alpha})
    for (const std::uint32_t c : candidates) {
      if (chosen.size() == degree || std::ranges::find(chosen, c) != chosen.end()) continue;
      const bool hidden =
          std::ranges::any_of(chosen, [&](std::uint32_t nearer) { return distance(row, c) > limit * distance(nearer, c); });
      if (!hidden) chosen.push_back(c);
    }
  return chosen;
}

void test_pruner() {
  std::mt19937_64 random(3);
  std::size_t n_same = 0, n_all = 0;
  for (const std::size_t dim : {1u, 31u, 32u, 33u, 100u, 129u})
    for (const Metric metric : {Metric::l2, Metric::ip, Metric::cosine})
      // Squares of the longest and the shortest do not fit float32.
      for (const float spread : {1.0f, 1e-25f, 1e25f}) {
        if (metric == Metric::cosine && (spread != 1 || dim == 1)) continue;
        const Data data(200, dim, metric, spread);
        std::vector<float> lift(data.n);
        for (float& value : lift) value = spread * static_cast<float>(random() % 1000) / 1000;
        const float* const lifted = metric == Metric::ip ? lift.data() : nullptr;
        Pruner pruner(data.codes, lifted);
        for (const std::size_t n : {0u, 1u, 20u, 63u}) {
          Rows rows(data.n);
          std::iota(rows.begin(), rows.end(), 0u);
          std::shuffle(rows.begin(), rows.end(), random);
          const std::uint32_t row = rows[0];
          const Rows candidates(rows.begin() + 1, rows.begin() + 1 + n);
          const auto found = pruner.choose(row, candidates, 16, 1.2f);
          const Rows chosen(found.begin(), found.end());
          CHECK(chosen.size() <= 16 && (n == 0) == chosen.empty());
          CHECK(std::set<std::uint32_t>(chosen.begin(), chosen.end()).size() == chosen.size());
          for (const std::uint32_t to : chosen) CHECK(std::ranges::find(candidates, to) != candidates.end());
          const Rows expected = prune(data, lifted, row, candidates, 16, 1.2);
          n_all += expected.size();
          for (const std::uint32_t to : expected) n_same += std::ranges::find(chosen, to) != chosen.end();
        }
      }
  CHECK(n_same >= 0.97 * static_cast<double>(n_all));  // the tile cuts -136 to -127
}

/// Whatever finite values there are, distances are comparable; copies of one vector are linked to once.
void test_pruner_extremes() {
  Data data(64, 24, Metric::l2);
  std::mt19937_64 random(4);
  for (std::size_t row = 0; row < data.n; ++row) {
    const float scale = std::pow(10.0f, static_cast<float>(random() % 76) - 38);
    for (std::size_t j = 0; j < data.dim; ++j) data.values[row * data.dim + j] *= scale / 8;
  }
  data.code(Metric::l2);
  std::vector<float> lift(data.n);
  for (float& value : lift) value = random() % 2 ? std::numeric_limits<float>::max() : 0.0f;
  Rows candidates(63);
  std::iota(candidates.begin(), candidates.end(), 1u);
  for (const float* lifted : {static_cast<const float*>(nullptr), static_cast<const float*>(lift.data())}) {
    const auto chosen = Pruner(data.codes, lifted).choose(0, candidates, 32, 1.2f);
    CHECK(!chosen.empty() && chosen.size() <= 32);
  }

  Data copies(64, 24, Metric::l2);
  for (std::size_t row = 1; row < copies.n; ++row)
    std::copy_n(copies.values.data(), copies.dim, &copies.values[row * copies.dim]);
  copies.code(Metric::l2);
  CHECK(Pruner(copies.codes, nullptr).choose(0, candidates, 32, 1.2f).size() == 1);
}

/// Zeros have no scale of their own; the keys of rows must be finite and in the order of distances all the same.
void test_scorer_of_zeros() {
  Data data(128, 16, Metric::l2, 1e6f);
  for (std::size_t i = 0; i < data.values.size() / 2; ++i)
    data.values[data.values.size() - 1 - i] = -data.values[i];  // no center
  data.code(Metric::l2);
  const std::vector<float> zeros(data.codes.center());
  const exact::CodedQueries coded({zeros.data(), 1, data.dim}, data.codes);
  const NibbleScorer scorer(data.codes, coded.codes(0), coded[0], data.codes.bias().data());
  Rows rows(64);
  std::iota(rows.begin(), rows.end(), 0u);
  std::array<float, 64> keys;
  scorer(rows.data(), rows.size(), keys.data());
  for (const std::uint32_t row : rows) CHECK(std::isfinite(keys[row]));
  std::sort(rows.begin(), rows.end(), [&](auto a, auto b) { return keys[a] < keys[b]; });
  CHECK(std::is_sorted(rows.begin(), rows.end(), [&](auto a, auto b) { return data.codes.bias()[a] < data.codes.bias()[b]; }));
}

struct Built {
  Built(const Data& data, std::size_t degree, std::size_t ef, std::size_t n_threads) : links(degree) {
    links.reserve(data.n);
    links.grow(data.n);
    Rows order(data.n);
    std::iota(order.begin(), order.end(), 0u);
    Cancel cancel;
    const BuildOptions options{.ef = ef, .n_threads = n_threads};
    graph::link(data.base(), order, options, links, entrance, workspaces, cancel, [](const auto& apply) { apply(); });
    mend(data.base(), options, links, entrance, workspaces, cancel);
  }
  Links links;
  Entrance entrance;
  Workspaces workspaces;
};

void test_link() {
  for (const std::size_t dim : {1u, 40u})
    for (const std::size_t ef : {1u, 40u}) {
      const Data data(1500, dim, Metric::l2);
      const Built one(data, 8, ef, 1), two(data, 8, ef, 2);
      const Report report = inspect(one.links, one.entrance.starts());
      CHECK(sound(report) && report.n_reached >= 0.999 * static_cast<double>(data.n));
      CHECK(std::ranges::equal(one.links.array().span(), two.links.array().span()));
    }
}

/// Rows that nothing leads to are linked, without harm to others; however many copies there are.
void test_mend() {
  Data data(300, 32, Metric::l2);
  for (std::size_t row = 100; row < 200; ++row) std::copy_n(data.values.data(), data.dim, &data.values[row * data.dim]);
  data.code(Metric::l2);
  for (const std::size_t ef : {1u, 3u, 50u}) {
    std::vector<Rows> lists(data.n);
    for (std::uint32_t row = 0; row < 100; ++row)
      lists[row] = {(row + 1) % 100, (row + 2) % 100, (row + 3) % 100, (row + 4) % 100};
    for (std::uint32_t row = 100; row < data.n; ++row) lists[row] = {(row + 1) % 300};
    Links links = linked(4, lists);
    Entrance entrance;
    entrance.set_starts({0});
    Workspaces workspaces;
    Cancel cancel;
    Undo undo(data.n, 4);
    mend(data.base(), {.ef = ef, .undo = &undo}, links, entrance, workspaces, cancel);
    const Report report = inspect(links, entrance.starts());
    CHECK(sound(report) && report.n_reached == data.n);
    undo.take_back(links);
    for (std::size_t row = 0; row < data.n; ++row) CHECK(of(links, row) == lists[row]);
  }
  Links none(4);
  Entrance entrance;
  Workspaces workspaces;
  Cancel cancel;
  const Data empty(0, 32, Metric::l2);
  mend(empty.base(), {}, none, entrance, workspaces, cancel);
}

void test_relink() {
  const Data data(6, 8, Metric::l2);
  Links links = linked(4, {{1, 2}, {0, 3}, {4}, {0}, {5, 1, 2}, {}});
  Bitmap gone(6);
  gone.set(2);
  gone.set(4);
  Cancel cancel;
  relink(data.base(), gone, {}, links, cancel);
  CHECK(of(links, 0) == Rows{1});  // 2 led to 4 only, which is gone too
  CHECK(of(links, 1) == Rows({0, 3}) && of(links, 3) == Rows{0} && of(links, 5).empty());
  CHECK(of(links, 2).empty() && of(links, 4).empty());

  links = linked(4, {{2}, {0}, {0, 1, 3, 4}, {}, {}, {}});
  gone = Bitmap(6);
  gone.set(2);
  relink(data.base(), gone, {}, links, cancel);
  const Rows heirs = of(links, 0);
  CHECK(!heirs.empty() && std::ranges::all_of(heirs, [](auto to) { return to == 1 || to == 3 || to == 4; }));
}

void test_renumbered() {
  Entrance entrance;
  entrance.set_starts({3, 0});
  Entrance::Layer layer;
  layer.rows = {1, 3, 4};
  layer.links = linked(Entrance::kLayerDegree, {{1, 2}, {0}, {1, 0}});
  layer.starts = {1, 2};
  entrance.set_layer(layer);
  const Entrance left = entrance.renumbered(Rows{kNone, 0, 1, kNone, 2});
  CHECK(left.starts().empty() && left.layer().rows == Rows({0, 2}) && left.layer().starts == Rows{1});
  CHECK(of(left.layer().links, 0) == Rows{1} && of(left.layer().links, 1) == Rows{0});
  CHECK(entrance.renumbered(Rows{0, 1, kNone, kNone, kNone}).layer().rows.empty());
}

void test_choose_ef() {
  CHECK(choose_ef({}, 10, 0.9) == 0);
  const std::vector<CalibrationPoint> points{{1, 4, 0.75f, 0.125f}, {1, 8, 1, 0.125f}, {10, 10, 0.5f, 0},
                                             {10, 20, 0.75f, 0},    {10, 40, 1, 0},    {100, 100, 0.75f, 0},
                                             {100, 200, 0.875f, 0}};
  CHECK(choose_ef(points, 10, 0.75) == 20 && choose_ef(points, 10, 0.625) == 14 && choose_ef(points, 10, 0.1) == 10);
  CHECK(choose_ef(points, 10, 1.0) == 40 && choose_ef(points, 100, 0.9) == 0 && choose_ef(points, 50, 0.9) == 0);
  // A quarter is missed by 20, a sixteenth by 80: between them an eighth by 40.
  CHECK(choose_ef({{10, 20, 0.75f, 0}, {10, 80, 0.9375f, 0}}, 10, 0.875) == 40);
  // All were found by 30, as far as could be seen: that is no reason for a walk that is hardly longer than 20.
  CHECK(choose_ef({{10, 20, 0.9f, 0}, {10, 30, 1, 0}}, 10, 0.99) == 29);
  CHECK(choose_ef({{10, 20, 0.75f, 0.875f}, {10, 30, 1, 0.03125f}}, 10, 0.95) == 30);  // with an error as large as itself
  CHECK(choose_ef(points, 1, 0.9) == 0 && choose_ef(points, 1, 0.875) == 8);           // less its error
  CHECK(choose_ef(points, 10, std::nan("")) == 0 && choose_ef(points, 10, 1.1) == 0);
  for (const double recall : {0.5, 0.7, 0.85}) {
    std::size_t before = 0;
    for (const std::size_t k : {1u, 2u, 5u, 10u, 11u, 60u, 100u, 101u, 5000u}) {
      const std::size_t ef = choose_ef(points, k, recall);
      CHECK(ef >= before);
      before = ef;
    }
  }
  CHECK(choose_ef({{1, 4, 0.75f, 0}}, 7, 0.75) == 28);                            // no other k: in proportion
  CHECK(choose_ef({{10, 40, 0.75f, 0}, {100, 80, 0.75f, 0}}, 300, 0.75) == 240);  // beyond what was measured: no less
  // Walks were too short for 1000: what fewer need is taken to grow as if twice the longest were not.
  const std::vector<CalibrationPoint> far{{100, 80, 0.75f, 0}, {1000, 2000, 0.25f, 0}, {1000, 4000, 0.5f, 0}};
  CHECK(choose_ef(far, 100, 0.75) == 80 && choose_ef(far, 200, 0.75) == 320 && choose_ef(far, 200, 0.8) == 0);
  CHECK(choose_ef(far, 700, 0.75) == 3920 && choose_ef(far, 720, 0.75) == 0 && choose_ef(far, 1000, 0.75) == 0);
  CHECK(choose_ef(far, 2000, 0.75) == 0 && choose_ef(far, 1000, 0.5) == 4000);
  const std::vector<CalibrationPoint> hard{{100, 2000, 0.75f, 0}, {1000, 2000, 0.25f, 0}, {1000, 4000, 0.5f, 0}};
  CHECK(choose_ef(hard, 101, 0.75) == 2020 && choose_ef(hard, 200, 0.75) == 4000 && choose_ef(hard, 201, 0.75) == 0);
  CHECK(choose_ef({{1, 4, 0.75f, 0}, {1, 8, 0.5f, 0}}, 1, 0.625) == 4);  // chance may put the larger ef below
}

}  // namespace

int main() {
  test_pool();
  test_visited_set();
  test_links();
  test_support();
  test_undo();
  test_scored();
  test_walk();
  test_pruner();
  test_pruner_extremes();
  test_scorer_of_zeros();
  test_link();
  test_mend();
  test_relink();
  test_renumbered();
  test_choose_ef();
}
