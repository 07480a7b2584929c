#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "engine/graph_index.hpp"
#include "graph/builder.hpp"
#include "graph/neighbour_codes.hpp"
#include "graph/scorer.hpp"
#include "graph/searcher.hpp"
#include "index/allowed.hpp"
#include "index/store.hpp"
#include "util/fair_mutex.hpp"
#include "util/topk.hpp"

namespace engine {

/// Up to here all rows are looked at: faster than a walk, and exact.
inline constexpr std::size_t kSmall = 1000;

/// What a graph keeps. Locks are taken by GraphIndex, but for `link`, which lets searches go on.
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
    return {.ef = params.ef_construction, .fills = params.layout == Layout::fast, .n_threads = n_threads};
  }

  std::size_t row_of_live(std::int64_t id) const {
    const std::size_t row = row_of(id);
    if (row >= n_visible) invalid("ids holds " + std::to_string(id) + ", which is not in the index");
    return row;
  }

  // graph_walks.cpp

  /// Where nothing filters every row counts, and a walk is a sweep that need not look far; the odd row that is dead, or that an
  /// add has yet to show, takes a place in it.
  Plan plan(std::size_t k, const Effort& effort, const Allowed& passes, std::size_t n_queries, bool explain = false) const;
  SearchStats search(MatrixView queries, std::size_t k, const Effort& effort, const SearchOptions& options, Cancel& cancel,
                     std::int64_t* found, float* distances) const;
  SearchStats exactly(MatrixView queries, std::size_t k, SearchOptions options, const Bitmap* rows, Cancel& cancel,
                      std::int64_t* found, float* distances) const;
  /// A query for which a sweep finds too little is swept or walked for further, and searched exactly where that finds too little
  /// or is likely to.
  SearchStats by_walks(MatrixView queries, std::size_t k, const Plan& plan, const SearchOptions& options, const Allowed& passes,
                       Cancel& cancel, std::int64_t* found, float* distances) const;
  /// By what was measured; 0 where nothing reached the recall.
  std::size_t ef_for(std::size_t k, double recall) const;
  /// The same up to kNearK, beyond in proportion: where clusters end more is needed, and a walk tells by what it meets late.
  std::size_t ef_near(std::size_t k, double recall) const;
  /// Measures what walks find of live rows, as if those were not there.
  std::vector<CalibrationPoint> measure(std::size_t n_threads, Cancel& cancel) const;

  // graph_changes.cpp

  /// Notes the lengths of rows from `first` on.
  void note_lengths(std::size_t first);
  /// Links the rows from `first` on, which are stored.
  void link(std::size_t first, std::size_t n_threads, Cancel& cancel);
  /// Takes back rows from `n_rows` on, which nothing links to.
  void unlink(std::size_t n_rows) noexcept;
  /// Drops dead rows. What can fail comes first.
  void compact(std::size_t n_threads, Cancel& cancel);
  /// After a change that dropped them. Without, walks go by the links until the next change.
  void restore_neighbours(std::size_t n_threads);

  // What those are made of

  struct End;
  /// Whether whatever a walk meets is a result.
  bool all_pass(const Allowed& passes) const noexcept { return !passes.filters() && passes.count() == links.size(); }
  /// Whether walks find anything: where not, searches are exact.
  bool walkable() const noexcept;
  /// Walks for a block of queries; each leaves the nearest rows it met, `ef` or `n_found` of them, for `emit(q, end)`, or what
  /// `goal` made of that.
  template <class Emit, class Accept, class Goal>
  std::size_t walk(MatrixView queries, std::size_t ef, std::size_t n_found, Emit emit, const Accept& accept, std::size_t near,
                   Goal& goal) const;
  /// One of those.
  template <class Accept, class Goal>
  graph::Walked walk_one(const graph::NibbleScorer& scorer, std::size_t ef, std::size_t n_found, const Accept& accept,
                         std::size_t near, Goal& goal, graph::Workspace& work) const;
  /// Walks among the rows that pass, from a sample of them and from the nearest rows of all, which a walk left in `pool`; what it
  /// met is then in `work.pool`. Returns whether that is enough. It is not where none of those nearest rows passes: what does
  /// lies all around such a hole of the filter, beyond the reach of a walk. Nor is it what the budget ended, what ran out of
  /// links, and where more than the odd one of the k nearest was met late. Takes more room where the walk before had not
  /// `settled`.
  bool walk_on(const End& end, std::size_t k, const Plan& plan, const Allowed& passes, bool settled, std::size_t& n_scored) const;
  /// The pool of a sweep that finds the nearest `n` rows.
  std::size_t ef_to_sweep(std::size_t n, const Plan& plan) const;
  /// The same up to the k-th that passes, as far as the share of those in a pool says; 0 where it has too few rows for that.
  std::size_t ef_needed(const graph::Pool& pool, std::size_t k, const Plan& plan, const Allowed& passes) const;
  /// Sweeps on with larger pools, until `k` of the nearest rows in one pass; `n_passed` of the nearest `n` did in a sweep over
  /// `ef`. Returns how many of the nearest in the pool of `end` are to be looked at; 0 where that would cost more than half of an
  /// exact search, or is dear and likely to be in vain. `is_hole` becomes whether what passes is beyond the reach of any walk:
  /// the last of them found too few, or the pool says that far more would be needed.
  std::size_t sweep_on(const End& end, std::size_t k, const Plan& plan, const Allowed& passes, std::size_t n, std::size_t ef,
                       std::size_t n_passed, std::size_t& n_scored, bool& is_hole) const;
  /// The k nearest by their full vectors of those among the first `n_seen` of a pool that pass; `n_rescored` counts these.
  template <class Passes>
  std::vector<Hit> rescore(const float* query, const graph::Pool& pool, std::size_t k, std::size_t n_seen, const Passes& passes,
                           std::size_t& n_rescored) const;
  /// Answers the open queries, together.
  void fall_back(MatrixView queries, std::size_t k, const std::vector<std::uint8_t>& is_open, const SearchOptions& options,
                 const Allowed& passes, Cancel& cancel, std::int64_t* found, float* distances, SearchStats& stats) const;

  /// What is beside each row, for all `links`; nothing where the layout is plain.
  std::optional<graph::NeighbourCodes> code_neighbours(std::size_t n_threads, Cancel& cancel) const;
  /// Of a sample of rows, in the mean.
  float typical_length() const;
  /// The largest inner products are mostly those of long rows.
  void start_at_longest(const graph::Change& change);
  void settle(std::optional<std::vector<CalibrationPoint>> points) noexcept;
};

}  // namespace engine
