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
#include "graph/visited_set.hpp"

namespace engine::graph {

/// What one thread needs for walks, kept from one to the next.
struct Workspace {
  VisitedSet visited;
  Pool pool;
  std::vector<std::uint32_t> entered;         // see Entrance
  std::vector<std::uint32_t> seeds, bridges;  // see walk_within
  std::vector<std::uint32_t> late;            // see Walked
  Lookup lookup;
  Pool found;
};

/// Rows expanded at a time: while the codes of one's neighbours are on their way, those of the other's are asked for.
inline constexpr int kTogether = 2;
/// Rows this close to being expanded have their links asked for, when they come in and whenever others are scored.
inline constexpr std::size_t kSoon = 6;

/// Every row counts.
struct AcceptAll {
  constexpr bool operator()(std::uint32_t) const noexcept { return true; }
};

/// Nothing to do when a walk is about to end.
struct Nothing {
  constexpr void operator()(const Pool&) const noexcept {}
};

/// What a walk came to. Of rows that were among the `near` nearest when they were met, `n_late` were so in its second half, and
/// are in `work.late`: where those are many, it would find more.
struct Walked {
  std::size_t n_scored = 0, n_late = 0;
};

/// One walk as it goes: rows that are met are scored a few at a time and take their places in `work.pool`.
template <class Scorer>
class Frontier {
 public:
  Frontier(const Links& links, const Scorer& scorer, std::size_t ef, std::size_t n_found, std::size_t near, Workspace& work)
      : links_(links), scorer_(scorer), visited_(work.visited), pool_(work.pool), late_(work.late), ef_(ef), near_(near) {
    visited_.start(links.size());
    pool_.start(std::max(ef, n_found));
    late_.clear();
  }

  /// True the first time.
  [[gnu::always_inline]] bool visit(std::uint32_t row) noexcept { return visited_.insert(row); }
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
    for (; first != last; ++first) {
      rows_[n] = *first;
      n += static_cast<std::size_t>(visited_.insert(*first)) & static_cast<std::size_t>(accept(*first));
    }
    for (; n_ < n; ++n_) scorer_.prefetch(rows_[n_]);
  }
  void score() {
    const std::size_t soon = std::min(pool_.next() + kSoon, pool_.size());
    for (std::size_t i = pool_.next(); i < soon; ++i) links_.prefetch(pool_.row(i));
    scorer_(rows_.data(), n_, keys_.data());
    const bool is_late = 2 * n_expanded_ > ef_;
    nearest_ = pool_.size() ? pool_.row(0) : kNone;
    for (std::size_t i = 0; i < n_; ++i) {
      const std::size_t place = pool_.insert(keys_[i], rows_[i]);
      if (place < pool_.next() + kSoon) links_.prefetch(rows_[i]);
      if (is_late && place < near_) late_.push_back(rows_[i]);
    }
    walked_.n_scored += n_;
    walked_.n_late = late_.size();
    n_ = 0;
  }
  /// Calls `expand(row)` for the nearest row of the pool that was not expanded yet, two at a time, until there is none or
  /// `stop(walked)` says so; returns whether there was none. Before rows are scored that could be the last, as
  /// those before brought none that is nearest, calls `ending(pool)`.
  template <class Expand, class Stop, class Ending = Nothing>
  bool run(Expand expand, Stop stop, Ending ending = {}) {
    for (std::uint32_t row; pool_.expand(row, ef_);) {
      int together = 1;
      do {
        expand(row);
        ++n_expanded_;
      } while (together++ < kTogether && pool_.expand(row, ef_));
      if (!pool_.is_open(ef_) && pool_.row(0) == nearest_) ending(pool_);
      score();
      if (stop(walked_)) return false;
    }
    return true;
  }
  const Walked& walked() const noexcept { return walked_; }

 private:
  const Links& links_;
  const Scorer& scorer_;
  VisitedSet& visited_;
  Pool& pool_;
  std::vector<std::uint32_t>& late_;
  const std::size_t ef_, near_;
  std::array<std::uint32_t, Scorer::kMost> rows_;
  std::array<float, Scorer::kMost> keys_;
  std::size_t n_ = 0, n_expanded_ = 0;
  std::uint32_t nearest_ = kNone;  // before the last rows were scored
  Walked walked_;
};

/// Walks from `entries` towards the query until the `ef` nearest rows seen have all been expanded; they are then in
/// `work.pool`, nearest first, and where `n_found` is more, as many of those seen. Best-first search over one sorted pool. Rows
/// that `accept` refuses are as if they were not there. When it may be about to end, `ending` sees the pool, where most of what
/// is found is by then.
template <class Scorer, class Accept = AcceptAll, class Ending = Nothing>
Walked walk(const Links& links, std::span<const std::uint32_t> entries, const Scorer& scorer, std::size_t ef, Workspace& work,
            Accept accept = {}, std::size_t near = 0, std::size_t n_found = 0, Ending ending = {}) {
  Frontier<Scorer> frontier(links, scorer, ef, n_found, near, work);
  const std::size_t n_rows = links.size();
  for (std::size_t i = 0; i < entries.size(); i += Scorer::kMost) {
    const auto some = entries.subspan(i, std::min(Scorer::kMost, entries.size() - i));
    frontier.meet(some.data(), some.data() + some.size(), accept);
  }
  frontier.score();
  frontier.run(
      [&](std::uint32_t row) {
        const std::uint32_t *const first = links.place(row), *last = first;
        while (last != links.place(row + 1) && *last < n_rows) ++last;
        frontier.meet(first, last, accept);
      },
      [](const Walked&) { return false; }, ending);
  return frontier.walked();
}

}  // namespace engine::graph
