#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <mutex>
#include <random>
#include <ranges>

#include "exact/exact_distance.hpp"
#include "exact/exact_search.hpp"
#include "graph/filtered_walk.hpp"
#include "graph/neighbour_walk.hpp"
#include "graph/scorer.hpp"
#include "index/calibration.hpp"
#include "index/graph_state.hpp"
#include "index/sweep.hpp"
#include "plan/planner.hpp"
#include "util/thread_pool.hpp"

namespace engine {
namespace {

/// Queries of a block, coded together.
constexpr std::size_t kBlock = 16;
/// Rows that pass from which a walk among them starts, beside those near the query.
constexpr std::size_t kSeeds = 32;
/// Rows held out to calibrate: so many, but at most a twentieth of all, and up to kMostHeldOut of a fiftieth.
constexpr std::size_t kHeldOut = 400, kMostHeldOut = 2000;
/// As many of them are asked for by walks of one `ef` as together expand so many rows, but kHeldOut at least, and kHeldOutFar
/// where k is beyond kNearK.
constexpr std::size_t kHeldOutExpanded = 200'000, kHeldOutFar = 100;
/// Codes of few dims say too little to walk by, and a scan of so short rows is fast.
constexpr std::size_t kFewDims = 8;
/// Rows of other lengths would leave the range of float32 when squared: no walks then.
constexpr float kShortest = 1e-15f, kLongest = 1e15f;

/// How many of the nearest `n` of a pool pass.
std::size_t n_passing(const graph::Pool& pool, std::size_t n, const Allowed& passes) {
  std::size_t n_passed = 0;
  for (std::size_t i = 0; i < std::min(pool.size(), n); ++i) n_passed += passes(pool.row(i));
  return n_passed;
}

/// Of the nearest `k`, one in eight may be met late by a walk that is trusted.
bool has_settled(std::size_t n_late, std::size_t k) noexcept { return n_late <= k / 8; }

/// Rows around a query that say how many pass there: enough that none of them does by chance alone is unlikely.
std::size_t n_around(double share) noexcept { return static_cast<std::size_t>(std::max(16.0, 5 / share)); }

void write(const std::vector<Hit>& hits, std::size_t k, std::int64_t* found, float* distances) {
  for (std::size_t i = 0; i < hits.size(); ++i) {
    found[i] = hits[i].id;
    distances[i] = exact::returned_distance(hits[i].distance);
  }
  std::fill(found + hits.size(), found + k, std::int64_t{-1});
  std::fill(distances + hits.size(), distances + k, std::numeric_limits<float>::infinity());
}

}  // namespace

/// Where a walk for one query ended.
struct GraphIndex::State::End {
  const graph::NibbleScorer& scorer;
  const graph::Pool& pool;  // the nearest rows it met
  graph::Workspace& work;

  /// How many of those that were among the `near` nearest came in late; 0 where codes of the neighbours led the walk, as few
  /// steps say little.
  std::size_t n_late(std::size_t near, std::size_t ef) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        work.met, [&](const graph::Met& met) { return met.place < near && met.when > graph::late_after(ef); }));
  }
};

bool GraphIndex::State::walkable() const noexcept { return dim >= kFewDims && longest >= kShortest && longest <= kLongest; }

std::size_t GraphIndex::State::ef_for(std::size_t k, double recall) const {
  return walkable() ? choose_ef(calibration, k, recall) : 0;
}

std::size_t GraphIndex::State::ef_near(std::size_t k, double recall) const {
  const std::size_t ef = ef_for(std::min(k, kNearK), recall);
  return ef * std::max(k, kNearK) / kNearK;
}

template <class Emit, class Accept, class Goal>
std::size_t GraphIndex::State::walk(MatrixView queries, std::size_t ef, std::size_t n_found, Emit emit, const Accept& accept,
                                    std::size_t near, Goal& goal) const {
  const exact::CodedQueries coded(queries, codes);
  const graph::Workspaces::Lease lease(workspaces);
  graph::Workspace& work = *lease;
  const float* const bias = codes.bias().empty() ? nullptr : codes.bias().data();
  std::size_t n_scored = 0;
  for (std::size_t q = 0; q < queries.n_rows; ++q) {
    const graph::NibbleScorer scorer(codes, coded.codes(q), coded[q], bias);
    if (neighbours) neighbours->prepare(queries.row(q), coded[q].scale, work.lookup);
    n_scored += walk_one(scorer, ef, n_found, accept, near, goal, work).n_scored;
    emit(q, End{scorer, neighbours ? work.found : work.pool, work});
  }
  return n_scored;
}

template <class Accept, class Goal>
graph::Walked GraphIndex::State::walk_one(const graph::NibbleScorer& scorer, std::size_t ef, std::size_t n_found,
                                          const Accept& accept, std::size_t near, Goal& goal, graph::Workspace& work) const {
  const auto entries = entrance.rows_for(scorer, ef, work);
  if (!neighbours) return graph::walk(links, entries, scorer, std::max(ef, n_found), work, accept, near, goal);
  work.met.clear();
  work.scored.clear();
  return {graph::walk(*neighbours, entries, scorer, work.lookup, ef, n_found, work, accept)};
}

std::size_t GraphIndex::State::ef_to_sweep(std::size_t n, const Plan& plan) const {
  return plan.recall > 0 ? ef_near(n, plan.recall) : plan.ef * n / plan.n_nearest;
}

std::size_t GraphIndex::State::ef_needed(const graph::Pool& pool, std::size_t k, const Plan& plan, const Allowed& passes) const {
  if (pool.size() < Sweep::kTelling) return 0;
  return ef_to_sweep(static_cast<std::size_t>(n_up_to(k, pool, pool.size(), passes)), plan);
}

std::size_t GraphIndex::State::sweep_on(const End& end, std::size_t k, const Plan& plan, const Allowed& passes, std::size_t n,
                                        std::size_t ef, std::size_t n_passed, std::size_t& n_scored, bool& is_hole) const {
  // Behind a hole of the filter a sweep may miss as many as it meets late.
  const std::size_t most_late = n_passed < k ? k / 32 : k / 8;
  for (std::size_t left = plan.ef_most;; left -= neighbours ? ef : 0) {  // by codes of the neighbours each begins anew
    // Beyond a hole of the filter more pass than around it, but how many more is not known.
    const double room = 1.5 * static_cast<double>(k) / std::max(0.5, static_cast<double>(n_passed));
    n = static_cast<std::size_t>(static_cast<double>(n) * std::clamp(room, 2.0, 6.0));
    const std::size_t wanted = std::max(ef_to_sweep(n, plan), 2 * n);
    if (2 * wanted > plan.ef_most) {  // worth a quarter of an exact search: for those that are likely to find enough
      const std::size_t needed = ef_needed(end.pool, k, plan, passes);
      is_hole |= needed > plan.ef_beyond;
      if (needed > plan.ef_most) return 0;
    }
    if (wanted > left && 3 * ef > left) return 0;
    ef = std::min(wanted, left);
    n = std::min(n, ef / 2);
    const std::size_t n_seen = n_seen_of(links.size(), n, ef);
    if (neighbours) {
      graph::Nearest goal{ef};
      n_scored += walk_one(end.scorer, ef, n_seen, graph::AcceptAll{}, 0, goal, end.work).n_scored;
    } else {
      n_scored += graph::walk_further(links, end.scorer, std::max(ef, n_seen), ef, end.work, graph::AcceptAll{}).n_scored;
    }
    const float reach = end.pool.size() ? end.pool.key(std::min(n, end.pool.size()) - 1) : 0;
    std::vector<std::uint32_t>& late = end.work.bridges;
    late.clear();
    const graph::Scored& scored = end.work.scored;
    for (std::size_t i = scored.first_after(graph::late_after(ef)); i < scored.size(); ++i)
      if (scored[i].key <= reach) late.push_back(scored[i].row);
    n_passed = 0;
    std::size_t n_late = 0, place = 0;
    for (; place < std::min(end.pool.size(), n) && n_passed < k; ++place) {
      if (!passes(end.pool.row(place))) continue;
      ++n_passed;
      n_late += std::ranges::find(late, end.pool.row(place)) != late.end();
    }
    is_hole = n_passed < k;
    if (!is_hole && n_late <= most_late) return n_seen_of(links.size(), place, ef);
  }
}

bool GraphIndex::State::walk_on(const End& end, std::size_t k, const Plan& plan, const Allowed& passes, bool settled,
                                std::size_t& n_scored) const {
  const double share = static_cast<double>(passes.count()) / static_cast<double>(links.size());
  const std::size_t n_near = std::min(end.pool.size(), n_around(share));
  end.work.seeds = passes.sample(kSeeds);
  std::size_t n_passed = 0;
  for (std::size_t i = 0; i < n_near; ++i) {
    n_passed += passes(end.pool.row(i));
    end.work.seeds.push_back(end.pool.row(i));
  }
  if (n_passed == 0) return false;
  // The fewer pass around the query, beyond what is chance, the more room; and where a sweep did not settle.
  const double expected = share * static_cast<double>(n_near);
  const double room = std::max(settled ? 1.0 : 2.0, expected / (static_cast<double>(n_passed) + std::sqrt(expected)));
  const auto ef = static_cast<std::size_t>(static_cast<double>(std::max(plan.ef_within, k)) * room);
  const graph::Filtered met =
      graph::walk_within(links, end.work.seeds, end.scorer, k, ef, plan.budget, end.work, std::cref(passes));
  n_scored += met.n_scored;
  return met.within_budget && has_settled(end.n_late(k, ef), k) && end.work.pool.size() == std::min(ef, passes.count());
}

template <class Passes>
std::vector<Hit> GraphIndex::State::rescore(const float* query, const graph::Pool& pool, std::size_t k, std::size_t n_seen,
                                            const Passes& passes, std::size_t& n_rescored) const {
  const exact::ExactDistance exact(view(size()), metric, query);
  std::vector<std::uint32_t> rows;
  for (std::size_t i = 0; i < std::min(pool.size(), n_seen); ++i)
    if (passes(pool.row(i))) rows.push_back(pool.row(i));
  n_rescored += rows.size();
  TopK<Hit> hits(std::min(k, rows.size()));
  const auto row_at = [&](std::size_t i) { return rows[i]; };
  exact.in_turn(rows.size(), row_at, ids.data(), false,
                [&](std::size_t i) { hits.push({exact::order_key(exact(rows[i])), ids[rows[i]]}); });
  return hits.take_sorted();
}

Plan GraphIndex::State::plan(std::size_t k, const Effort& effort, const Allowed& passes, std::size_t n_queries,
                             bool explain) const {
  const std::size_t n_live = passes.n_live(), n_linked = links.size();
  const bool is_few = passes.filters() && effort.executor == Executor::automatic && passes.count() <= plan::kFew;
  if (is_few && !explain) return {};  // exact; nobody reads what that costs
  // The k nearest that pass are others for every filter than those measured: a third of a miss is kept in reserve.
  const double recall = passes.filters() ? 1 - (1 - effort.recall) / 1.5 : effort.recall;
  const auto ef_of = [&](std::size_t n) {
    const std::size_t ef = std::min(effort.ef, n_linked);
    return ef ? std::max(ef, ef * n / k) : ef_for(n, recall);
  };
  plan::Facts facts{.n_rows = n_linked, .n_allowed = passes.count(), .k = std::min(k, n_live)};
  facts.n_queries = n_queries;
  facts.dim = dim;
  facts.is_fast = neighbours.has_value();
  if (walkable() && !is_few) {
    facts.ef = ef_of(k);
    if (!all_pass(passes)) facts.ef_sweep = ef_of(plan::n_nearest(facts));
  }
  if (!passes.filters()) {
    if (effort.executor == Executor::sweep || effort.executor == Executor::in_filter)
      invalid("executor is given without a filter, expected 'auto' or 'exact'");
    if (effort.executor == Executor::exact || facts.ef == 0 || n_live <= kSmall || std::max(facts.ef, k) >= n_live) return {};
  }
  Plan plan;
  if (!all_pass(passes)) {
    plan = plan::make_plan(facts, effort.executor);
    if (explain) plan.reason = plan::reason(facts, effort.executor);
  } else {
    plan.executor = Executor::sweep;
    plan.n_nearest = facts.k;
    plan.ef = facts.ef;
  }
  plan.recall = effort.ef ? 0 : recall;
  return plan;
}

SearchStats GraphIndex::State::search(MatrixView queries, std::size_t k, const Effort& effort, const SearchOptions& options,
                                      Cancel& cancel, std::int64_t* found, float* distances) const {
  const Allowed allowed(options, n_visible, &dead);
  const Plan plan = this->plan(k, effort, allowed, queries.n_rows);
  SearchStats stats = plan.executor == Executor::exact ? exactly(queries, k, options, allowed.rows(), cancel, found, distances)
                                                       : by_walks(queries, k, plan, options, allowed, cancel, found, distances);
  stats.selectivity = allowed.share();
  return stats;
}

SearchStats GraphIndex::State::exactly(MatrixView queries, std::size_t k, SearchOptions options, const Bitmap* rows,
                                       Cancel& cancel, std::int64_t* found, float* distances) const {
  options.filter = rows;
  return exact::search(visible(), queries, k, options, cancel, found, distances);
}

SearchStats GraphIndex::State::by_walks(MatrixView queries, std::size_t k, const Plan& plan, const SearchOptions& options,
                                        const Allowed& passes, Cancel& cancel, std::int64_t* found, float* distances) const {
  exact::check(visible(), queries);
  const auto started = std::chrono::steady_clock::now();
  const std::size_t reachable = std::min(k, passes.count());
  const bool sweeps = plan.executor == Executor::sweep;
  const double share = static_cast<double>(passes.count()) / static_cast<double>(links.size());
  const std::size_t n_seen_within = n_seen_of(passes.count(), reachable, plan.ef_within);

  SearchStats stats;
  stats.strategy = "graph";
  std::vector<std::uint8_t> is_open(queries.n_rows);
  std::mutex mutex;
  parallel_for((queries.n_rows + kBlock - 1) / kBlock, options.n_threads, [&](std::size_t b) {
    cancel.check();
    const MatrixView own{queries.row(b * kBlock), std::min(kBlock, queries.n_rows - b * kBlock), queries.dim};
    std::size_t n_rescored = 0, n_more = 0;
    using Hits = std::vector<Hit>;
    const auto found_within = [&](std::size_t q, const End& end, bool settled) {
      if (!plan.ef_within || !walk_on(end, reachable, plan, passes, settled, n_more)) return Hits{};
      return rescore(own.row(q), end.work.pool, reachable, n_seen_within, passes, n_rescored);
    };
    const auto found_by_sweep = [&](std::size_t q, const End& end, const Sweep& sweep) {
      const auto found_of = [&](std::size_t n_seen) {
        return rescore(own.row(q), end.pool, reachable, n_seen, passes, n_rescored);
      };
      if (all_pass(passes)) return found_of(sweep.n_seen());
      // A pool that finds the nearest `n` rows says little about those that pass only beyond.
      const std::size_t n = sweep.n_nearest();
      std::size_t n_passed = n_passing(end.pool, n, passes);
      const bool settled = !passes.filters() || has_settled(end.n_late(n, sweep.ef()), n);
      if (n_passed >= reachable && settled) return found_of(sweep.n_seen());
      // Of all n nearest as many as of those that it met.
      if (n_passed < reachable) n_passed = std::min(n_passed * n / std::clamp<std::size_t>(end.pool.size(), 1, n), reachable - 1);
      bool is_hole = false;
      const std::size_t ef = sweep.gave_up() ? plan.ef : sweep.ef();
      const std::size_t n_seen = sweep_on(end, reachable, plan, passes, n, ef, n_passed, n_more, is_hole);
      if (n_seen) return found_of(n_seen);
      return is_hole ? Hits{} : found_within(q, end, settled);
    };
    const auto keep = [&](std::size_t q, const Hits& hits) {
      q += b * kBlock;
      is_open[q] = hits.size() < reachable;
      if (!is_open[q]) write(hits, k, found + q * k, distances + q * k);
    };
    constexpr graph::AcceptAll kAll;
    std::size_t n_scored = 0;
    if (sweeps) {
      Sweep sweep(reachable, plan, passes, view(links.size()), n_around(share), passes.filters() && !neighbours);
      const auto answer = [&](std::size_t q, const End& end) { keep(q, found_by_sweep(q, end, sweep)); };
      n_scored = walk(own, plan.ef, sweep.room(), answer, kAll, all_pass(passes) ? 0 : plan.n_nearest, sweep);
    } else {
      graph::Nearest near{n_around(share)};
      const auto answer = [&](std::size_t q, const End& end) {
        keep(q, found_within(q, end, has_settled(end.n_late(reachable, near.ef), reachable)));
      };
      n_scored = walk(own, near.ef, near.ef, answer, kAll, reachable, near);
    }
    std::lock_guard guard(mutex);
    stats.n_scored += n_scored + n_more;
    stats.n_rescored += n_rescored;
  });
  fall_back(queries, k, is_open, options, passes, cancel, found, distances, stats);
  stats.executor = sweeps ? "sweep" : "in_filter";
  stats.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return stats;
}

void GraphIndex::State::fall_back(MatrixView queries, std::size_t k, const std::vector<std::uint8_t>& is_open,
                                  const SearchOptions& options, const Allowed& passes, Cancel& cancel, std::int64_t* found,
                                  float* distances, SearchStats& stats) const {
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

std::vector<CalibrationPoint> GraphIndex::State::measure(std::size_t n_threads, Cancel& cancel) const {
  Bitmap hidden = dead;
  hidden.resize(size());
  std::vector<std::uint32_t> live, queries;
  (~hidden).for_each([&](std::size_t row) { live.push_back(static_cast<std::uint32_t>(row)); });
  std::mt19937_64 random(params.seed + live.size());
  const std::size_t n_held = std::max(std::min(kHeldOut, live.size() / 20), std::min(kMostHeldOut, live.size() / 50));
  std::sample(live.begin(), live.end(), std::back_inserter(queries), n_held, random);
  std::shuffle(queries.begin(), queries.end(), random);
  Bitmap held(size());
  for (const std::uint32_t row : queries) held.set(row);
  const Bitmap others = ~held;  // rows that are dead among them: walks meet those too, and searches leave room for them
  const auto accept = [&held](std::uint32_t row) { return !held.test(row); };
  std::vector<float> vectors(n_held * dim);
  for (std::size_t i = 0; i < n_held; ++i) quant::read_row(view(size()), queries[i], vectors.data() + i * dim);
  // How far away the k-th nearest are: whatever is as near is right.
  std::vector<std::vector<float>> limits;  // for each k, of each query
  const auto add_limits = [&](std::size_t n, std::span<const std::size_t> ks) {
    if (ks.empty()) return;
    std::vector<std::int64_t> unused(n * ks.back());
    std::vector<float> distances(n * ks.back());
    exact::search(corpus(), {vectors.data(), n, dim}, ks.back(), {.filter = &others, .n_threads = n_threads}, cancel,
                  unused.data(), distances.data());
    for (const std::size_t k : ks) {
      std::vector<float>& own = limits.emplace_back();
      for (std::size_t q = 0; q < n; ++q) own.push_back(distances[q * ks.back() + k - 1]);
    }
  };
  const std::span<const std::size_t> all(kCalibratedK);
  const auto n_k = static_cast<std::size_t>(std::ranges::count_if(
      all, [&](std::size_t k) { return k <= std::min(others.count(), std::max(kNearK, others.count() / 20)); }));
  const auto n_near = static_cast<std::size_t>(std::ranges::count_if(all.first(n_k), [](std::size_t k) { return k <= kNearK; }));
  add_limits(n_held, all.first(n_near));
  add_limits(std::min(n_held, kHeldOutFar), all.first(n_k).subspan(n_near));

  std::vector<CalibrationPoint> points;
  std::vector<bool> is_done(n_k);  // nearly all were found
  for (const std::size_t ef : kCalibratedEf) {
    std::vector<std::size_t> together;  // by one walk
    for (std::size_t i = 0; i < n_k; ++i)
      if (!is_done[i] && kCalibratedK[i] <= 10 * ef) together.push_back(i);
    if (ef >= others.count()) break;
    if (together.empty()) continue;
    const std::size_t n = std::min(limits[together.front()].size(), std::max(kHeldOut, kHeldOutExpanded / ef));
    std::vector<std::vector<double>> recalls(n_k);
    for (const std::size_t i : together) recalls[i].resize(std::min(n, limits[i].size()));
    parallel_for((n + kBlock - 1) / kBlock, n_threads, [&](std::size_t b) {
      cancel.check();
      const MatrixView own{vectors.data() + b * kBlock * dim, std::min(kBlock, n - b * kBlock), dim};
      std::size_t n_rescored = 0;
      graph::Nearest goal{ef};
      const auto judge = [&](std::size_t q, const End& end) {
        for (const std::size_t i : together) {
          const std::size_t k = kCalibratedK[i], query = b * kBlock + q;
          if (query >= recalls[i].size()) continue;
          const std::vector<Hit> hits = rescore(own.row(q), end.pool, k, n_looked_at(k, ef), graph::AcceptAll{}, n_rescored);
          const auto found = std::ranges::count_if(
              hits, [&](const Hit& hit) { return exact::returned_distance(hit.distance) <= limits[i][query]; });
          recalls[i][query] = static_cast<double>(found) / static_cast<double>(k);
        }
      };
      const auto furthest =
          std::ranges::find_if(together | std::views::reverse, [&](std::size_t i) { return b * kBlock < recalls[i].size(); });
      walk(own, ef, n_looked_at(kCalibratedK[*furthest], ef), judge, accept, 0, goal);
    });
    for (const std::size_t i : together) {
      points.push_back(summary(kCalibratedK[i], ef, recalls[i]));
      is_done[i] = points.back().recall >= 0.9995f;
    }
  }
  std::sort(points.begin(), points.end(),
            [](const CalibrationPoint& a, const CalibrationPoint& b) { return std::pair(a.k, a.ef) < std::pair(b.k, b.ef); });
  return points;
}

}  // namespace engine
