#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "graph/links.hpp"
#include "graph/lookup.hpp"
#include "graph/pool.hpp"
#include "graph/scored.hpp"
#include "graph/visited_set.hpp"

namespace engine::graph {

/// The place in the pool at which a row came in, and how many had been expanded by then.
struct Met {
  std::uint32_t place, when;
};

/// Rows that come in when more have been expanded are late for a walk over `ef` rows: where many of those that it looks for are,
/// it would find more.
inline std::size_t late_after(std::size_t ef) noexcept { return ef / 2; }

/// What one thread needs for walks, kept from one to the next.
struct Workspace {
  VisitedSet visited;
  Pool pool;
  std::vector<std::uint32_t> entered;         // see Entrance
  std::vector<std::uint32_t> seeds, bridges;  // see walk_within
  std::vector<Met> met;                       // see Met
  Scored scored;                              // see walk_further
  Lookup lookup;
  Pool found;
};

/// Rows expanded at a time: while the codes of one's neighbours are on their way, those of the other's are asked for.
inline constexpr int kTogether = 2;
/// Rows this close to being expanded have their links asked for, when they come in and whenever others are scored.
inline constexpr std::size_t kSoon = 6;

/// Rows chosen from many for a walk to start from: they are near the query.
inline constexpr std::size_t kEntered = 8;

/// Every row counts.
struct AcceptAll {
  constexpr bool operator()(std::uint32_t) const noexcept { return true; }
};

/// What a walk is for: here the nearest rows that it finds by expanding `ef`.
struct Nearest {
  std::size_t ef;

  /// The nearest `done` rows of the pool have been expanded, 0 at first: how many are to be. May narrow the pool.
  std::size_t further(Pool&, std::size_t) const noexcept { return ef; }
  /// The rows that are scored next may be the last: most of what is found is in the pool.
  void ending(const Pool&) const noexcept {}
};

/// What a walk came to.
struct Walked {
  std::size_t n_scored = 0;
};

/// One walk as it goes: rows that are met are scored a few at a time and take their places in `work.pool`.
template <class Scorer>
class Frontier {
 public:
  /// With a pool of `capacity` rows; notes those that come in among the `near` nearest, and all that it scores if it `keeps`
  /// them.
  Frontier(const Links& links, const Scorer& scorer, std::size_t capacity, std::size_t near, bool keeps, Workspace& work)
      : links_(links), scorer_(scorer), work_(work), near_(near), keeps_(keeps) {
    work.visited.start(links.size());
    pool_.start(capacity);
    work.met.clear();
    work.scored.clear();
  }
  /// Goes on where the last one ended that kept what it scored, with a wider pool.
  Frontier(const Links& links, const Scorer& scorer, std::size_t capacity, Workspace& work)
      : links_(links),
        scorer_(scorer),
        work_(work),
        near_(0),
        keeps_(true),
        n_expanded_(static_cast<std::uint32_t>(work.scored.expanded().size())) {
    pool_.widen(capacity, work.scored);
  }

  /// True the first time.
  [[gnu::always_inline]] bool visit(std::uint32_t row) noexcept { return work_.visited.insert(row); }
  /// A row that was not visited before.
  [[gnu::always_inline]] void add(std::uint32_t row) {
    scorer_.prefetch(row);
    rows_[n_++] = row;
    if (n_ == rows_.size()) score();
  }
  /// Rows, kMost at most, of which those count that were not visited before and are accepted. Which ones no processor could
  /// predict: nothing branches on it.
  template <class Accept>
  [[gnu::always_inline]] void meet(const std::uint32_t* first, const std::uint32_t* last, const Accept& accept) {
    if (n_ + static_cast<std::size_t>(last - first) > rows_.size()) score();
    std::size_t n = n_;
    const VisitedSet::Marks marks = work_.visited.marks();
    for (; first != last; ++first) {
      rows_[n] = *first;
      n += static_cast<std::size_t>(marks.insert(*first)) & static_cast<std::size_t>(accept(*first));
    }
    for (; n_ < n; ++n_) scorer_.prefetch(rows_[n_]);
  }
  void score() {
    const std::size_t soon = std::min(pool_.next() + kSoon, pool_.size());
    for (std::size_t i = pool_.next(); i < soon; ++i) links_.prefetch(pool_.row(i));
    scorer_(rows_.data(), n_, keys_.data());
    nearest_ = pool_.size() ? pool_.row(0) : kNone;
    if (keeps_) work_.scored.add(rows_, keys_, n_);
    // Most are too far away once the walk is near; which ones is another thing that nothing branches on.
    std::array<std::uint32_t, Scorer::kMost> nearer;
    std::size_t n_nearer = 0;
    const float worst = pool_.worst();
    for (std::size_t i = 0; i < n_; ++i) {
      nearer[n_nearer] = static_cast<std::uint32_t>(i);
      n_nearer += keys_[i] < worst;
    }
    for (std::size_t j = 0; j < n_nearer; ++j) {
      const std::size_t i = nearer[j];
      if (!(keys_[i] < pool_.worst())) continue;
      const std::size_t place = pool_.insert(keys_[i], rows_[i]);
      if (place < pool_.next() + kSoon) links_.prefetch(rows_[i]);
      if (place < std::min(near_, pool_.capacity())) work_.met.push_back({static_cast<std::uint32_t>(place), n_expanded_});
    }
    walked_.n_scored += n_;
    n_ = 0;
  }
  /// Calls `expand(row)` for the nearest row of the pool that was not expanded yet, two at a time, until the `goal` has all that
  /// it wants, or `stop(walked)` says so; returns whether it did not.
  ///
  /// Unless the rows it starts from `are_near` the query, the nearest is expanded alone: a walk on its way leaves the others
  /// behind.
  template <class Expand, class Stop, class Goal>
  bool run(bool are_near, Expand expand, Stop stop, Goal& goal) {
    for (std::size_t done = 0, ef; (ef = goal.further(pool_, done)) > done; done = ef) {
      for (std::uint32_t row; pool_.expand(row, ef);) {
        int together = 1;
        do {
          if (keeps_) work_.scored.add_expanded({pool_.key(pool_.next() - 1), row});
          expand(row);
          ++n_expanded_;
        } while (together++ < kTogether && (are_near || pool_.next() > 1) && pool_.expand(row, ef));
        // A walk that goes on from the nearest row it just met goes on for long.
        if (!pool_.is_open(ef) && pool_.row(0) == nearest_) goal.ending(pool_);
        score();
        if (stop(walked_)) return false;
      }
    }
    return true;
  }
  /// All neighbours of the rows that are expanded, but those that `accept` refuses.
  template <class Accept, class Goal>
  Walked run_to(Goal& goal, bool are_near, const Accept& accept) {
    const std::size_t n_rows = links_.size();
    const auto expand = [&](std::uint32_t row) {
      const std::uint32_t *const first = links_.place(row), *last = first;
      while (last != links_.place(row + 1) && *last < n_rows) ++last;
      meet(first, last, accept);
    };
    run(are_near, expand, [](const Walked&) { return false; }, goal);
    return walked_;
  }
  const Walked& walked() const noexcept { return walked_; }

 private:
  const Links& links_;
  const Scorer& scorer_;
  Workspace& work_;
  Pool& pool_ = work_.pool;
  const std::size_t near_;
  const bool keeps_;
  std::array<std::uint32_t, Scorer::kMost> rows_{};
  std::array<float, Scorer::kMost> keys_{};
  std::size_t n_ = 0;
  std::uint32_t n_expanded_ = 0;
  std::uint32_t nearest_ = kNone;  // before the last rows were scored
  Walked walked_;
};

/// Walks from `entries` towards the query until as many of the nearest rows seen have been expanded as `goal` wants; the nearest
/// `capacity` of those seen are then in `work.pool`, nearest first. Best-first search over one sorted pool. Rows that
/// `accept` refuses are as if they were not there; of those among the nearest `near` when they came in, `work.met` tells when.
/// Unless that is 0, walk_further may follow.
template <class Scorer, class Accept, class Goal>
Walked walk(const Links& links, std::span<const std::uint32_t> entries, const Scorer& scorer, std::size_t capacity,
            Workspace& work, const Accept& accept, std::size_t near, Goal& goal) {
  Frontier<Scorer> frontier(links, scorer, capacity, near, near > 0, work);
  for (std::size_t i = 0; i < entries.size(); i += Scorer::kMost) {
    const auto some = entries.subspan(i, std::min(Scorer::kMost, entries.size() - i));
    frontier.meet(some.data(), some.data() + some.size(), accept);
  }
  frontier.score();
  return frontier.run_to(goal, entries.size() <= kEntered, accept);
}

/// Goes on with the last walk of the same workspace, for more: it finds what one walk would have that went as far from the start.
template <class Scorer, class Accept>
Walked walk_further(const Links& links, const Scorer& scorer, std::size_t capacity, std::size_t ef, Workspace& work,
                    const Accept& accept) {
  Frontier<Scorer> frontier(links, scorer, capacity, work);
  Nearest goal{ef};
  return frontier.run_to(goal, true, accept);
}

/// The `ef` nearest of all rows.
template <class Scorer>
Walked walk(const Links& links, std::span<const std::uint32_t> entries, const Scorer& scorer, std::size_t ef, Workspace& work) {
  Nearest goal{ef};
  return walk(links, entries, scorer, ef, work, AcceptAll{}, 0, goal);
}

}  // namespace engine::graph
