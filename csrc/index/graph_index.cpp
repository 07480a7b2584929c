#include "engine/graph_index.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "exact/exact_distance.hpp"
#include "exact/exact_search.hpp"
#include "graph/builder.hpp"
#include "graph/filtered_walk.hpp"
#include "graph/neighbour_codes.hpp"
#include "graph/neighbour_walk.hpp"
#include "graph/pruner.hpp"
#include "graph/scorer.hpp"
#include "index/allowed.hpp"
#include "index/calibration.hpp"
#include "index/store.hpp"
#include "plan/planner.hpp"
#include "util/fair_mutex.hpp"
#include "util/rounding.hpp"
#include "util/thread_pool.hpp"
#include "util/topk.hpp"

namespace engine {
namespace {

/// Up to here all rows are looked at: faster than a walk, and exact.
constexpr std::size_t kSmall = 1000;
/// Queries of a block, coded together.
constexpr std::size_t kBlock = 16;
/// Rows that pass from which a walk among them starts, beside those near the query.
constexpr std::size_t kSeeds = 32;
/// Rows held out to calibrate, at most a twentieth of all.
constexpr std::size_t kHeldOut = 400;
/// Codes of few dims say too little to walk by, and a scan of so short rows is fast.
constexpr std::size_t kFewDims = 8;
/// Rows of other lengths would leave the range of float32 when squared: no walks then.
constexpr float kShortest = 1e-15f, kLongest = 1e15f;

constexpr std::size_t kMostRows = graph::Pool::kExpanded;

}  // namespace

struct GraphIndex::State : Store {
  State(std::size_t dim, Metric metric, Dtype dtype, GraphParams params)
      : Store(dim, metric, dtype), params(params), links(params.degree), dead(0) {
    gone = &dead;
  }

  const GraphParams params;
  graph::Links links;
  graph::Entrance entrance;
  std::optional<graph::NeighbourCodes> neighbours;  // layout fast: what walks go by, while they fit the links
  Bitmap dead;                                      // of the visible rows
  std::size_t n_visible = 0;                        // an add under way has stored more
  std::vector<CalibrationPoint> calibration;
  std::size_t n_changed = 0;   // rows added and removed since it was measured
  std::size_t n_unmended = 0;  // rows added since all were known to be within reach
  float longest = 0;           // row, as coded
  std::vector<float> lift;     // ip: see graph::Base; empty until rows are linked
  double most_squared = 0;     // ip: the longest row when that began
  mutable graph::Workspaces workspaces;
  std::mutex writing;  // one change at a time; it takes `mutex` only where searches must not look
  mutable FairMutex mutex;

  std::size_t n_live() const noexcept { return n_visible - dead.count(); }
  exact::Corpus visible() const noexcept { return {view(n_visible), metric, &codes, ids.data()}; }
  graph::Base base() const noexcept { return {view(size()), codes, metric == Metric::ip ? lift.data() : nullptr}; }
  graph::BuildOptions options(std::size_t n_threads) const noexcept {
    return {.ef = params.ef_construction, .n_threads = n_threads};
  }

  std::size_t row_of_live(std::int64_t id) const {
    const std::size_t row = row_of(id);
    if (row >= n_visible) invalid("ids holds " + std::to_string(id) + ", which is not in the index");
    return row;
  }

  SearchStats exactly(MatrixView queries, std::size_t k, SearchOptions options, const Bitmap* rows, Cancel& cancel,
                      std::int64_t* found, float* distances) const {
    options.filter = rows;
    return exact::search(visible(), queries, k, options, cancel, found, distances);
  }

  /// Whether walks find anything: where not, searches are exact.
  bool walkable() const noexcept { return dim >= kFewDims && longest >= kShortest && longest <= kLongest; }

  /// Rows whose order by 4-bit codes is taken for good enough to contain the nearest `k`: the others are not looked at in full.
  static std::size_t n_looked_at(std::size_t k, std::size_t ef) noexcept { return k + 2 + ef / 8; }

  /// Walks for a block of queries; each leaves the nearest rows it met, `ef` or `n_found` of them, for
  /// `emit(q, scorer, pool, work)`.
  template <class Emit, class Accept = graph::AcceptAll>
  std::size_t walk(MatrixView queries, std::size_t ef, std::size_t n_found, Emit emit, Accept accept = {}) const {
    const exact::CodedQueries coded(queries, codes, 127);
    const graph::Workspaces::Lease lease(workspaces);
    const float* const bias = codes.bias().empty() ? nullptr : codes.bias().data();
    std::size_t n_scored = 0;
    for (std::size_t q = 0; q < queries.n_rows; ++q) {
      const graph::NibbleScorer scorer(codes, coded.for_scan(q), coded[q], bias);
      const auto entries = entrance.rows_for(scorer, *lease);
      if (neighbours) {
        neighbours->prepare(queries.row(q), coded[q].scale, (*lease).lookup);
        n_scored += graph::walk(*neighbours, entries, scorer, (*lease).lookup, ef, n_found, *lease, accept);
        emit(q, scorer, (*lease).found, *lease);
      } else {
        n_scored += graph::walk(links, entries, scorer, ef, *lease, accept);
        emit(q, scorer, (*lease).pool, *lease);
      }
    }
    return n_scored;
  }

  /// Rows around a query that say how many pass there: enough that none of them does by chance alone is unlikely.
  static std::size_t n_around(double share) noexcept { return static_cast<std::size_t>(std::max(16.0, 5 / share)); }

  /// Walks among the rows that pass, from `seeds` and from the nearest rows of all, which a walk left in `pool`; what it met is
  /// then in `work.pool`. Returns whether that is enough. It is not where none of those nearest rows passes: what does lies all
  /// around such a hole of the filter, beyond the reach of a walk. Nor is it what the budget ended, what ran out of links, and
  /// where more than the odd one of the k nearest was met late.
  bool walk_on(const graph::NibbleScorer& scorer, const graph::Pool& pool, std::size_t k, const Plan& plan, const Allowed& passes,
               std::span<const std::uint32_t> seeds, graph::Workspace& work, std::size_t& n_scored) const {
    const double share = static_cast<double>(passes.count()) / static_cast<double>(links.size());
    const std::size_t n_near = std::min(pool.size(), n_around(share));
    work.seeds.assign(seeds.begin(), seeds.end());
    std::size_t n_passed = 0;
    for (std::size_t i = 0; i < n_near; ++i) {
      n_passed += passes(pool.row(i));
      work.seeds.push_back(pool.row(i));
    }
    if (n_passed == 0) return false;
    // The fewer pass around the query, the more room, beyond what is chance.
    const double expected = share * static_cast<double>(n_near);
    const double room = std::max(1.0, expected / (static_cast<double>(n_passed) + std::sqrt(expected)));
    const auto ef = static_cast<std::size_t>(static_cast<double>(std::max(plan.ef_within, k)) * room);
    const graph::Filtered met = graph::walk_within(links, work.seeds, scorer, k, ef, plan.budget, work, std::cref(passes));
    n_scored += met.n_scored;
    return met.within_budget && met.n_late <= k / 8 && work.pool.size() == std::min(ef, passes.count());
  }

  /// The k nearest by their full vectors of those among the first `n_seen` of a pool that pass; `n_rescored` counts these.
  template <class Passes>
  std::vector<Hit> rescore(const float* query, const graph::Pool& pool, std::size_t k, std::size_t n_seen, const Passes& passes,
                           std::size_t& n_rescored) const {
    const exact::ExactDistance exact(view(size()), metric, query);
    std::vector<std::uint32_t> rows;
    for (std::size_t i = 0; i < std::min(pool.size(), n_seen); ++i) {
      if (!passes(pool.row(i))) continue;
      exact.prefetch(pool.row(i));
      rows.push_back(pool.row(i));
    }
    n_rescored += rows.size();
    TopK<Hit> hits(std::min(k, rows.size()));
    for (const std::uint32_t row : rows) hits.push({exact::order_key(exact(row)), ids[row]});
    return hits.take_sorted();
  }

  /// Without a filter every row counts, and a walk is a sweep that need not look far; rows that are dead, or that an add has yet
  /// to show, take places in it.
  Plan plan(std::size_t k, const Effort& effort, const Bitmap* filter, std::size_t n_queries) const {
    const std::size_t n_live = this->n_live(), n_linked = links.size();
    // The k nearest that pass are others for every filter than those measured: half of what may be missed is kept in reserve.
    const double recall = filter ? 1 - (1 - effort.recall) / 2 : effort.recall;
    const auto ef_of = [&](std::size_t n) {
      const std::size_t ef = std::min(effort.ef, n_linked);
      return ef ? std::max(ef, ef * n / k) : ef_for(n, recall);
    };
    plan::Facts facts{.n_rows = n_linked, .n_allowed = filter ? filter->count() : n_live, .k = std::min(k, n_live)};
    facts.n_queries = n_queries;
    facts.dim = dim;
    facts.is_fast = neighbours.has_value();
    if (walkable()) {
      facts.ef = ef_of(k);
      facts.ef_sweep = ef_of(plan::n_nearest(facts));
    }
    if (filter) return plan::make_plan(facts, effort.executor);
    if (effort.executor == Executor::sweep || effort.executor == Executor::in_filter)
      invalid("executor is given without a filter, expected 'auto' or 'exact'");
    Plan plan;
    if (effort.executor == Executor::exact || facts.ef == 0 || n_live <= kSmall || std::max(facts.ef, k) >= n_live ||
        n_linked > 4 * n_live)
      return plan;
    const auto with_others = [&](std::size_t n) { return std::min(n_linked, (n * n_linked + n_live - 1) / n_live); };
    plan.executor = Executor::sweep;
    plan.n_nearest = with_others(facts.k);
    plan.ef = with_others(facts.ef);
    return plan;
  }

  /// A query for which a sweep finds too little is walked for among the rows that pass, and searched exactly where that does.
  SearchStats by_walks(MatrixView queries, std::size_t k, const Plan& plan, const SearchOptions& options, const Allowed& passes,
                       Cancel& cancel, std::int64_t* found, float* distances) const {
    exact::check(visible(), queries);
    const auto started = std::chrono::steady_clock::now();
    const std::size_t reachable = std::min(k, passes.count());
    const bool sweeps = plan.executor == Executor::sweep;
    const double share = static_cast<double>(passes.count()) / static_cast<double>(links.size());
    const std::size_t ef = !sweeps ? n_around(share) : neighbours ? plan.ef : std::max(plan.ef, plan.n_nearest);
    const auto n_seen_of = [](std::size_t n_places, std::size_t n_nearest, std::size_t pool) {
      return pool >= n_places ? n_places : std::min(n_places, n_looked_at(n_nearest, pool));
    };
    const std::size_t n_seen = sweeps ? n_seen_of(links.size(), plan.n_nearest, ef) : ef;
    const std::size_t n_seen_within = n_seen_of(passes.count(), reachable, plan.ef_within);
    const std::vector<std::uint32_t> seeds = plan.ef_within ? passes.sample(kSeeds) : std::vector<std::uint32_t>{};

    SearchStats stats;
    stats.strategy = "graph";
    std::vector<std::uint8_t> is_open(queries.n_rows);
    // A pool that finds the nearest `n_nearest` rows says little about those that pass only beyond.
    const auto is_near = [&](const graph::Pool& pool) {
      if (!options.filter) return true;
      std::size_t n_passed = 0;
      for (std::size_t i = 0; i < std::min(pool.size(), plan.n_nearest); ++i) n_passed += passes(pool.row(i));
      return n_passed >= reachable;
    };
    std::mutex mutex;
    parallel_for((queries.n_rows + kBlock - 1) / kBlock, options.n_threads, [&](std::size_t b) {
      cancel.check();
      const MatrixView own{queries.row(b * kBlock), std::min(kBlock, queries.n_rows - b * kBlock), queries.dim};
      std::size_t n_rescored = 0, n_more = 0;
      const std::size_t n_scored =
          walk(own, ef, n_seen,
               [&](std::size_t q, const graph::NibbleScorer& scorer, const graph::Pool& pool, graph::Workspace& work) {
                 std::vector<Hit> hits;
                 if (sweeps && is_near(pool))
                   hits = rescore(own.row(q), pool, reachable, n_seen, passes, n_rescored);
                 else if (plan.ef_within && walk_on(scorer, pool, reachable, plan, passes, seeds, work, n_more))
                   hits = rescore(own.row(q), work.pool, reachable, n_seen_within, passes, n_rescored);
                 q += b * kBlock;
                 is_open[q] = hits.size() < reachable;
                 if (!is_open[q]) write(hits, k, found + q * k, distances + q * k);
               });
      std::lock_guard guard(mutex);
      stats.n_scored += n_scored + n_more;
      stats.n_rescored += n_rescored;
    });
    fall_back(queries, k, is_open, options, passes, cancel, found, distances, stats);
    stats.executor = sweeps ? "sweep" : "in_filter";
    stats.selectivity = static_cast<double>(passes.count()) / static_cast<double>(n_live());
    stats.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return stats;
  }

  static void write(const std::vector<Hit>& hits, std::size_t k, std::int64_t* found, float* distances) {
    for (std::size_t i = 0; i < hits.size(); ++i) {
      found[i] = hits[i].id;
      distances[i] = exact::returned_distance(hits[i].distance);
    }
    std::fill(found + hits.size(), found + k, std::int64_t{-1});
    std::fill(distances + hits.size(), distances + k, std::numeric_limits<float>::infinity());
  }

  /// Answers the open queries, together.
  void fall_back(MatrixView queries, std::size_t k, const std::vector<std::uint8_t>& is_open, const SearchOptions& options,
                 const Allowed& passes, Cancel& cancel, std::int64_t* found, float* distances, SearchStats& stats) const {
    std::vector<std::size_t> open;
    std::vector<float> vectors;
    for (std::size_t q = 0; q < queries.n_rows; ++q) {
      if (!is_open[q]) continue;
      open.push_back(q);
      vectors.insert(vectors.end(), queries.row(q), queries.row(q) + dim);
    }
    if (open.empty()) return;
    std::vector<std::int64_t> own_found(open.size() * k);
    std::vector<float> own_distances(open.size() * k);
    const SearchStats own =
        exactly({vectors.data(), open.size(), dim}, k, options, passes.rows(), cancel, own_found.data(), own_distances.data());
    for (std::size_t i = 0; i < open.size(); ++i) {
      std::copy_n(own_found.data() + i * k, k, found + open[i] * k);
      std::copy_n(own_distances.data() + i * k, k, distances + open[i] * k);
    }
    stats.n_scored += own.n_scored;
    stats.n_rescored += own.n_rescored;
    stats.n_fallbacks = open.size();
  }

  /// Notes the lengths of rows from `first` on.
  void note_lengths(std::size_t first) {
    for (std::size_t row = first; row < size(); ++row) longest = std::max(longest, second_bound(codes.bound8()[row]));
    if (metric != Metric::ip) return;
    constexpr double kLargest = std::numeric_limits<float>::max();
    const std::vector<float> zero(dim);
    std::vector<float> vector(dim);
    const auto squared = [&](std::size_t row) {
      double unused, norm;
      quant::read_row(view(size()), row, vector.data());
      kernels::active().dot_norm[0](zero.data(), vector.data(), dim, &unused, &norm);
      return norm;
    };
    double most = 0;
    for (std::size_t row = lift.size(); row < size(); ++row) most = std::max(most, squared(row));
    if (lift.empty()) {
      most_squared = most;
    } else if (most > most_squared) {  // all are lifted anew, with some room
      most_squared = 1.2 * most;
      lift.clear();
    }
    lift.reserve(size());
    for (std::size_t row = lift.size(); row < size(); ++row)
      lift.push_back(static_cast<float>(std::min(std::sqrt(std::max(0.0, most_squared - squared(row))), kLargest)));
  }

  /// Of a walk for `k` rows. What is beside a row finds some that the walk never looked at.
  std::size_t least_ef(std::size_t k) const noexcept { return params.layout == Layout::fast ? (k + 1) / 2 : k; }

  /// By what was measured; 0 where nothing reached the recall.
  std::size_t ef_for(std::size_t k, double recall) const {
    const std::size_t ef = walkable() ? choose_ef(calibration, k, recall) : 0;
    return ef ? std::max(ef, least_ef(k)) : 0;
  }

  /// Measures what walks find of live rows, as if those were not there.
  std::vector<CalibrationPoint> measure(std::size_t n_threads, Cancel& cancel) const {
    Bitmap hidden = dead;
    hidden.resize(size());
    std::vector<std::uint32_t> live, queries;
    (~hidden).for_each([&](std::size_t row) { live.push_back(static_cast<std::uint32_t>(row)); });
    std::sample(live.begin(), live.end(), std::back_inserter(queries), std::min(kHeldOut, live.size() / 20),
                std::mt19937_64(params.seed + live.size()));
    for (const std::uint32_t row : queries) hidden.set(row);
    const Bitmap others = ~hidden;
    Bitmap held(size());
    for (const std::uint32_t row : queries) held.set(row);
    const auto accept = [&held](std::uint32_t row) { return !held.test(row); };
    std::vector<float> vectors(queries.size() * dim);
    for (std::size_t i = 0; i < queries.size(); ++i) quant::read_row(view(size()), queries[i], vectors.data() + i * dim);
    const MatrixView given{vectors.data(), queries.size(), dim};
    const std::size_t most = std::min(kCalibratedK[2], others.count());
    std::vector<std::int64_t> nearest(given.n_rows * most);
    std::vector<float> unused(nearest.size());
    exact::search(corpus(), given, most, {.filter = &others, .n_threads = n_threads}, cancel, nearest.data(), unused.data());

    std::vector<CalibrationPoint> points;
    std::vector<std::size_t> wanted;  // measured until nearly all are found
    for (const std::size_t k : kCalibratedK)
      if (k <= most) wanted.push_back(k);
    for (const std::size_t ef : kCalibratedEf) {
      if (ef >= others.count() || wanted.empty()) break;
      const auto end = std::find_if(wanted.begin(), wanted.end(), [&](std::size_t k) { return ef < least_ef(k); });
      const std::vector<std::size_t> together(wanted.begin(), end);  // by one walk
      if (together.empty()) continue;
      std::vector<double> recalls(together.size() * given.n_rows);
      parallel_for((given.n_rows + kBlock - 1) / kBlock, n_threads, [&](std::size_t b) {
        cancel.check();
        const MatrixView own{given.row(b * kBlock), std::min(kBlock, given.n_rows - b * kBlock), dim};
        std::size_t n_rescored = 0;
        walk(
            own, ef, n_looked_at(together.back(), ef),
            [&](std::size_t q, const auto&, const graph::Pool& pool, auto&) {
              const std::int64_t* const right = nearest.data() + (b * kBlock + q) * most;
              for (std::size_t i = 0; i < together.size(); ++i) {
                const std::size_t k = together[i];
                const std::vector<Hit> hits = rescore(own.row(q), pool, k, n_looked_at(k, ef), graph::AcceptAll{}, n_rescored);
                const auto found = std::count_if(
                    hits.begin(), hits.end(), [&](const Hit& hit) { return std::find(right, right + k, hit.id) != right + k; });
                recalls[i * given.n_rows + b * kBlock + q] = static_cast<double>(found) / static_cast<double>(k);
              }
            },
            accept);
      });
      for (std::size_t i = 0; i < together.size(); ++i) {
        points.push_back(summary(together[i], ef, std::span(recalls).subspan(i * given.n_rows, given.n_rows)));
        if (points.back().recall >= 0.9995f) std::erase(wanted, together[i]);
      }
    }
    std::sort(points.begin(), points.end(),
              [](const CalibrationPoint& a, const CalibrationPoint& b) { return std::pair(a.k, a.ef) < std::pair(b.k, b.ef); });
    return points;
  }

  /// What is beside each row, for all `links`; nothing where the layout is plain.
  std::optional<graph::NeighbourCodes> code_neighbours(std::size_t n_threads, Cancel& cancel) const {
    if (params.layout == Layout::plain || !walkable()) return std::nullopt;
    graph::NeighbourCodes coded(metric, params.degree, codes.center(), metric == Metric::ip ? typical_length() : 1);
    coded.grow(size());
    std::vector<std::uint32_t> rows(size());
    std::iota(rows.begin(), rows.end(), 0u);
    coded.refresh(view(size()), links, rows, n_threads, cancel);
    return coded;
  }

  /// After a change that dropped them. Without, walks go by the links until the next change.
  void restore_neighbours(std::size_t n_threads) {
    try {
      Cancel never;
      neighbours = code_neighbours(n_threads, never);
    } catch (const std::bad_alloc&) {
    }
  }

  /// Of a sample of rows, in the mean.
  float typical_length() const {
    const std::size_t step = std::max<std::size_t>(size() / 1000, 1);
    const std::vector<float> zero(dim);
    std::vector<float> vector(dim);
    double total = 0, n = 0;
    for (std::size_t row = 0; row < size(); row += step, ++n) {
      double unused, squared;
      quant::read_row(view(size()), row, vector.data());
      kernels::active().dot_norm[0](zero.data(), vector.data(), dim, &unused, &squared);
      total += std::sqrt(squared);
    }
    return static_cast<float>(total / n);
  }

  /// Links the rows from `first` on, which are stored.
  void link(std::size_t first, std::size_t n_threads, Cancel& cancel) {
    const graph::Change change = [this](const std::function<void()>& apply) {
      std::unique_lock lock(mutex);
      apply();
    };
    std::vector<std::uint32_t> order(size() - first);
    std::iota(order.begin(), order.end(), static_cast<std::uint32_t>(first));
    std::shuffle(order.begin(), order.end(), std::mt19937_64(params.seed + first));

    graph::Undo undo(first, params.degree);
    graph::Entrance entered = entrance;
    graph::BuildOptions own = options(n_threads);
    own.undo = &undo;
    std::optional<graph::NeighbourCodes> coded;  // out of the way: searches walk by the links meanwhile
    change([&] { coded = std::exchange(neighbours, std::nullopt); });
    try {
      graph::link(base(), order, own, links, entrance, workspaces, cancel, change);
      if (metric == Metric::ip) start_at_longest(change);
      // Rows that lost their last link to them: looked for whenever one in a hundred is new.
      const std::size_t n_new = n_unmended + order.size();
      const bool mends = n_new * 100 >= size();
      if (mends) change([&] { graph::mend(base(), own, links, entrance, workspaces, cancel); });
      if (coded && coded->center() == codes.center()) {
        coded->grow(size());
        std::vector<std::uint32_t> rows(undo.rows().begin(), undo.rows().end());
        rows.insert(rows.end(), order.begin(), order.end());
        coded->refresh(view(size()), links, rows, n_threads, cancel);
      } else {
        coded = code_neighbours(n_threads, cancel);
      }
      change([&] { neighbours = std::move(coded); });
      std::optional<std::vector<CalibrationPoint>> points;
      const std::size_t n_live = size() - dead.count();
      if (walkable() && n_live > 2 * kSmall && (n_changed + order.size()) * 5 >= n_live) points = measure(n_threads, cancel);
      std::unique_lock lock(mutex);
      n_unmended = mends ? 0 : n_new;
      n_changed += order.size();
      settle(std::move(points));
    } catch (...) {
      std::unique_lock lock(mutex);
      undo.take_back(links);
      entrance = std::move(entered);
      neighbours.reset();
      throw;
    }
  }

  /// The largest inner products are mostly those of long rows.
  void start_at_longest(const graph::Change& change) {
    std::vector<std::uint32_t> rows(size());
    std::iota(rows.begin(), rows.end(), 0u);
    const std::size_t n = std::min(rows.size(), graph::Entrance::kStarts / 2);
    std::partial_sort(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(n), rows.end(),
                      [this](auto a, auto b) { return lift[a] != lift[b] ? lift[a] < lift[b] : a < b; });
    std::vector<std::uint32_t> starts(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(n));
    for (const std::uint32_t row : entrance.starts())
      if (starts.size() < graph::Entrance::kStarts && std::ranges::find(starts, row) == starts.end()) starts.push_back(row);
    change([&] { entrance.set_starts(std::move(starts)); });
  }

  void settle(std::optional<std::vector<CalibrationPoint>> points) noexcept {
    if (!points) return;
    calibration = std::move(*points);
    n_changed = 0;
  }

  /// Takes back rows from `n_rows` on, which nothing links to.
  void unlink(std::size_t n_rows) noexcept {
    links.truncate(n_rows);
    Store::truncate(n_rows);
  }

  /// Drops dead rows. What can fail comes first.
  void compact(std::size_t n_threads, Cancel& cancel) {
    const std::size_t n_old = n_visible, n_new = n_live();
    if (metric == Metric::ip && lift.size() < n_old) note_lengths(0);  // a loaded index has none yet
    graph::Links kept = links;
    graph::relink(base(), dead, options(n_threads), kept, cancel);
    std::vector<std::uint32_t> at(n_old), now(n_old, graph::kNone), gone;  // old row of a place, place of an old row
    std::iota(at.begin(), at.end(), 0u);
    dead.for_each([&](std::size_t row) { gone.push_back(static_cast<std::uint32_t>(row)); });
    std::reverse(gone.begin(), gone.end());  // so that the last row is never a dead one
    for (std::size_t i = 0; i < gone.size(); ++i) at[gone[i]] = at[n_old - 1 - i];
    for (std::size_t place = 0; place < n_new; ++place) now[at[place]] = static_cast<std::uint32_t>(place);
    graph::Links moved(links.degree());
    moved.reserve(n_new);
    moved.grow(n_new);
    std::vector<std::uint32_t> to;
    for (std::size_t place = 0; place < n_new; ++place) {
      const auto old = kept.of(at[place]);
      to.resize(old.size());
      std::transform(old.begin(), old.end(), to.begin(), [&](std::uint32_t row) { return now[row]; });
      moved.set(place, to);
    }
    graph::Entrance entered = entrance.renumbered(now);
    if (entered.starts().empty() && n_new) entered.set_starts({0});
    std::vector<float> lifted(lift.empty() ? 0 : n_new);
    for (std::size_t place = 0; place < lifted.size(); ++place) lifted[place] = lift[at[place]];
    Bitmap none(n_new);
    make_writable();

    neighbours.reset();
    for (const std::uint32_t row : gone) drop(row);
    links = std::move(moved);
    entrance = std::move(entered);
    lift = std::move(lifted);
    dead = std::move(none);
    n_visible = n_new;
    longest = 0;
    for (std::size_t row = 0; row < n_new; ++row) longest = std::max(longest, second_bound(codes.bound8()[row]));
    if (n_new <= 2 * kSmall) calibration.clear();
    try {
      Cancel never;  // the rows are gone: nothing may fail any more
      graph::mend(base(), options(n_threads), links, entrance, workspaces, never);
    } catch (const std::bad_alloc&) {
      n_unmended = n_new;  // the next add mends
    }
    restore_neighbours(n_threads);
  }
};

GraphIndex::GraphIndex(std::size_t dim, Metric metric, Dtype dtype, GraphParams params)
    : state_(std::make_unique<State>(dim, metric, dtype, params)) {
  if (params.degree < 4 || params.degree > graph::Pruner::kMost)
    invalid("M is " + std::to_string(params.degree) + ", expected 4 to " + std::to_string(graph::Pruner::kMost));
  if (params.ef_construction < 1 || params.ef_construction > 10'000)
    invalid("ef_construction is " + std::to_string(params.ef_construction) + ", expected 1 to 10000");
}
GraphIndex::~GraphIndex() = default;
GraphIndex::GraphIndex(GraphIndex&&) noexcept = default;

std::size_t GraphIndex::dim() const noexcept { return state_->dim; }
const GraphParams& GraphIndex::params() const noexcept { return state_->params; }

std::size_t GraphIndex::size() const {
  std::shared_lock lock(state_->mutex);
  return state_->n_live();
}
std::size_t GraphIndex::n_dead() const {
  std::shared_lock lock(state_->mutex);
  return state_->dead.count();
}
std::size_t GraphIndex::overhead_nbytes() const {
  std::shared_lock lock(state_->mutex);
  return state_->overhead_nbytes() + state_->links.array().nbytes() + state_->entrance.nbytes() +
         state_->lift.size() * sizeof(float) + (state_->neighbours ? state_->neighbours->bytes().nbytes() : 0);
}
std::size_t GraphIndex::nbytes() const {
  const std::size_t overhead = overhead_nbytes();
  std::shared_lock lock(state_->mutex);
  return overhead + state_->vectors.nbytes();
}
std::int64_t GraphIndex::next_id() const {
  std::shared_lock lock(state_->mutex);
  return state_->next_id;
}

std::vector<std::int64_t> GraphIndex::ids() const {
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  std::vector<std::int64_t> live;
  live.reserve(s.n_live());
  for (std::size_t row = 0; row < s.n_visible; ++row)
    if (!s.dead.test(row)) live.push_back(s.ids[row]);
  return live;
}

std::vector<std::int64_t> GraphIndex::add(MatrixView vectors, std::span<const std::int64_t> ids, std::size_t n_threads,
                                          Cancel& cancel) {
  std::lock_guard writing(state_->writing);
  State& s = *state_;
  const std::size_t first = s.size();
  const std::int64_t next = s.next_id;
  const float longest = s.longest;
  std::vector<float> lift = s.lift;
  const double most_squared = s.most_squared;
  const std::size_t n_centered = s.n_centered;
  std::optional<quant::NibbleCodes> codes;  // around the former center, should rows be coded anew
  if (first + vectors.n_rows > kMostRows)
    throw Error(ErrorCode::unsupported, "a graph holds at most " + std::to_string(kMostRows) + " rows");
  std::vector<std::int64_t> added;
  try {
    {
      std::unique_lock lock(s.mutex);
      s.links.reserve(first + vectors.n_rows);
      s.links.make_writable();
      s.dead.reserve(first + vectors.n_rows);
      if (s.codes_anew(vectors.n_rows)) codes = s.codes;
      added = s.append(vectors, ids, n_threads, cancel);
      s.links.grow(s.size());
      s.note_lengths(first);
    }
    s.link(first, n_threads, cancel);
    std::unique_lock lock(s.mutex);
    s.dead.resize(s.size());
    s.n_visible = s.size();
  } catch (...) {
    std::unique_lock lock(s.mutex);
    s.unlink(first);
    s.next_id = next;
    s.longest = longest;
    s.lift = std::move(lift);
    s.most_squared = most_squared;
    if (codes) s.codes = std::move(*codes);
    s.n_centered = n_centered;
    if (!s.neighbours) s.restore_neighbours(n_threads);
    throw;
  }
  return added;
}

void GraphIndex::remove(std::span<const std::int64_t> ids, std::size_t n_threads, Cancel& cancel) {
  std::lock_guard writing(state_->writing);
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  const Bitmap gone = s.rows_of_all(ids);
  gone.for_each([&](std::size_t row) {
    s.forget(row);
    s.dead.set(row);
  });
  try {
    if (s.dead.count() * 4 > s.n_visible) s.compact(n_threads, cancel);
  } catch (...) {
    gone.for_each([&](std::size_t row) {
      s.rows.insert(row, s.ids.span());
      s.dead.reset(row);
    });
    throw;
  }
  s.n_changed += ids.size();
}

void GraphIndex::optimize(std::size_t n_threads, Cancel& cancel) {
  std::lock_guard writing(state_->writing);
  std::unique_lock lock(state_->mutex);
  if (state_->dead.count()) state_->compact(n_threads, cancel);
}

void GraphIndex::get(std::span<const std::int64_t> ids, float* vectors) const {
  std::shared_lock lock(state_->mutex);
  for (const std::int64_t id : ids) state_->row_of_live(id);
  state_->get(ids, vectors);
}

Bitmap GraphIndex::rows_of(std::span<const std::int64_t> ids) const {
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  Bitmap rows(s.n_visible);
  for (const std::int64_t id : ids) rows.set(s.row_of_live(id));
  if (s.dead.count() == 0) return rows;
  Bitmap live(s.n_live());
  std::size_t place = 0;
  (~s.dead).for_each([&](std::size_t row) {
    if (rows.test(row)) live.set(place);
    ++place;
  });
  return live;
}

SearchStats GraphIndex::search(MatrixView queries, std::size_t k, const Effort& effort, const SearchOptions& options,
                               Cancel& cancel, std::int64_t* ids, float* distances) const {
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  if (s.n_live() == 0) throw Error(ErrorCode::not_built, "there are no vectors to search: add some first");
  const Allowed allowed(options.filter, s.dead);
  const Plan plan = s.plan(k, effort, options.filter, queries.n_rows);
  return plan.executor == Executor::exact ? s.exactly(queries, k, options, allowed.rows(), cancel, ids, distances)
                                          : s.by_walks(queries, k, plan, options, allowed, cancel, ids, distances);
}

Plan GraphIndex::plan(std::size_t k, const Effort& effort, const Bitmap& filter, std::size_t n_queries) const {
  std::shared_lock lock(state_->mutex);
  return state_->plan(k, effort, &filter, n_queries);
}

RangeHits GraphIndex::range_search(MatrixView queries, double radius, const SearchOptions& options, Cancel& cancel) const {
  std::shared_lock lock(state_->mutex);
  if (state_->n_live() == 0) throw Error(ErrorCode::not_built, "there are no vectors to search: add some first");
  const Allowed allowed(options.filter, state_->dead);
  SearchOptions own = options;
  own.filter = allowed.rows();
  return exact::search_range(state_->visible(), queries, radius, own, cancel);
}

std::size_t GraphIndex::ef_for(std::size_t k, double recall) const {
  std::shared_lock lock(state_->mutex);
  return state_->ef_for(k, recall);
}
std::vector<CalibrationPoint> GraphIndex::calibration() const {
  std::shared_lock lock(state_->mutex);
  return state_->calibration;
}

GraphReport GraphIndex::inspect() const {
  std::lock_guard writing(state_->writing);  // an add writes the places of its rows while others search
  std::shared_lock lock(state_->mutex);
  const graph::Report r = graph::inspect(state_->links, state_->entrance.starts());
  return {r.n_rows,     r.n_links,     r.n_out_of_range, r.n_self_links,
          r.n_repeated, r.n_after_end, r.n_reached,      state_->neighbours ? state_->neighbours->n_unlike(state_->links) : 0};
}

namespace {

template <class T>
Part copied(const char* name, char kind, std::vector<T> values) {
  const auto held = std::make_shared<std::vector<T>>(std::move(values));
  return {name, kind, sizeof(T), held->data(), held->size(), held};
}

}  // namespace

std::vector<Part> GraphIndex::parts() const {
  std::lock_guard writing(state_->writing);  // not half of an add
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  std::vector<std::uint32_t> dead;
  s.dead.for_each([&](std::size_t row) { dead.push_back(static_cast<std::uint32_t>(row)); });
  std::vector<float> points;
  for (const CalibrationPoint& point : s.calibration)
    points.insert(points.end(), {static_cast<float>(point.k), static_cast<float>(point.ef), point.recall, point.error});
  std::vector<Part> parts = s.Store::parts();
  parts.push_back(part_of("links", 'u', s.links.array()));
  parts.push_back(copied("entries", 'u', s.entrance.starts()));
  parts.push_back(copied("sample", 'u', s.entrance.layer().rows));
  parts.push_back(part_of("sample_links", 'u', s.entrance.layer().links.array()));
  parts.push_back(copied("sample_entries", 'u', s.entrance.layer().starts));
  if (s.neighbours) {
    std::vector<float> origin = s.neighbours->center();
    origin.push_back(s.neighbours->length());
    parts.push_back(part_of("neighbours", 'u', s.neighbours->bytes()));
    parts.push_back(copied("neighbours_origin", 'f', std::move(origin)));
  }
  parts.push_back(copied("dead", 'u', std::move(dead)));
  parts.push_back(copied("calibration", 'f', std::move(points)));
  parts.push_back(copied("changed", 'u', std::vector<std::uint64_t>{s.n_changed}));
  parts.push_back(copied("longest", 'f', std::vector<float>{s.longest}));
  return parts;
}

void GraphIndex::check() const {
  std::lock_guard writing(state_->writing);
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  s.map_ids();
  const auto check_links = [](const char* name, const graph::Links& links) {
    for (const std::uint32_t row : links.array().span())
      if (row >= links.size() && row != graph::kNone)
        throw Error(ErrorCode::corrupt, std::string(name) + " holds " + std::to_string(row) + ", expected a row");
  };
  check_links("links", s.links);
  check_links("sample_links", s.entrance.layer().links);
  if (s.neighbours && !s.neighbours->lead_below(s.links.size()))
    throw Error(ErrorCode::corrupt, "neighbours holds one that is no row");
}

GraphIndex GraphIndex::from_parts(std::size_t dim, Metric metric, Dtype dtype, GraphParams params, std::int64_t next_id,
                                  const std::vector<Part>& parts) {
  GraphIndex index(dim, metric, dtype, params);
  State& s = *index.state_;
  const auto corrupt = [](const std::string& message) { throw Error(ErrorCode::corrupt, message); };
  const Buffer<std::uint32_t> dead = borrow<std::uint32_t>(parts, "dead");
  const std::size_t n = borrow<std::int64_t>(parts, "ids").size();
  s.dead = Bitmap(n);
  for (const std::uint32_t row : dead.span()) {
    if (row >= n || s.dead.test(row)) corrupt("dead holds " + std::to_string(row) + ", which is no row or there twice");
    s.dead.set(row);
  }
  s.take_parts(next_id, parts);
  s.n_visible = n;
  if (n >= kMostRows) corrupt("ids has length " + std::to_string(n) + ", more than a graph can hold");
  const auto links_of = [&](const char* name, std::size_t n_rows, std::size_t degree) {
    Buffer<std::uint32_t> links = borrow<std::uint32_t>(parts, name);
    if (links.size() != n_rows * degree)
      corrupt(std::string(name) + " has length " + std::to_string(links.size()) + ", expected " + std::to_string(n_rows) +
              " rows of " + std::to_string(degree));
    return graph::Links(degree, std::move(links));
  };
  const auto listed = [&](const char* name, std::size_t most) {
    const Buffer<std::uint32_t> rows = borrow<std::uint32_t>(parts, name);
    for (const std::uint32_t row : rows.span())
      if (row >= most) corrupt(std::string(name) + " holds " + std::to_string(row) + ", expected a row");
    return std::vector<std::uint32_t>(rows.span().begin(), rows.span().end());
  };
  s.links = links_of("links", n, params.degree);
  s.entrance.set_starts(listed("entries", n));
  if (n && s.entrance.starts().empty()) corrupt("entries is empty");
  graph::Entrance::Layer layer;
  layer.rows = listed("sample", n);
  layer.links = links_of("sample_links", layer.rows.size(), graph::Entrance::kLayerDegree);
  layer.starts = listed("sample_entries", layer.rows.size());
  if (!layer.rows.empty() && layer.starts.empty()) corrupt("sample_entries is empty");
  s.entrance.set_layer(std::move(layer));
  const Buffer<float> points = borrow<float>(parts, "calibration");
  for (std::size_t i = 0; i + 4 <= points.size(); i += 4) {
    const float* const p = points.data() + i;
    if (!(p[0] >= 1 && p[0] <= 1e6f && p[1] >= 1 && p[1] <= 1e6f && p[2] >= 0 && p[2] <= 1 && p[3] >= 0 && p[3] <= 1))
      corrupt("calibration holds a point that is none");
    s.calibration.push_back({static_cast<std::uint32_t>(p[0]), static_cast<std::uint32_t>(p[1]), p[2], p[3]});
  }
  if (points.size() % 4) corrupt("calibration has length " + std::to_string(points.size()) + ", expected a multiple of 4");
  const Buffer<std::uint64_t> changed = borrow<std::uint64_t>(parts, "changed");
  if (changed.size() != 1) corrupt("changed has length " + std::to_string(changed.size()) + ", expected 1");
  s.n_changed = std::min<std::uint64_t>(changed[0], kMostRows);
  const Buffer<float> longest = borrow<float>(parts, "longest");
  if (longest.size() != 1) corrupt("longest has length " + std::to_string(longest.size()) + ", expected 1");
  s.longest = longest[0];
  const bool are_beside =
      std::ranges::any_of(parts, [](const Part& part) { return std::string_view(part.name) == "neighbours"; });
  if (params.layout == Layout::fast && s.walkable() && !are_beside) s.restore_neighbours(1);  // there was no memory for them
  if (params.layout == Layout::fast && s.walkable() && are_beside) {
    const Buffer<float> origin = borrow<float>(parts, "neighbours_origin");
    if (origin.size() != dim + 1)
      corrupt("neighbours_origin has length " + std::to_string(origin.size()) + ", expected " + std::to_string(dim + 1));
    s.neighbours.emplace(metric, params.degree, std::vector<float>(origin.data(), origin.data() + dim), origin.back());
    Buffer<std::byte> bytes = borrow<std::byte>(parts, "neighbours");
    if (bytes.size() != n * s.neighbours->row_bytes())
      corrupt("neighbours has " + std::to_string(bytes.size()) + " bytes, expected " +
              std::to_string(n * s.neighbours->row_bytes()));
    s.neighbours->set_bytes(std::move(bytes));
  }
  return index;
}

}  // namespace engine
