#pragma once
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
  Lookup lookup;
  Pool found;
};

/// Rows expanded at a time: while the codes of one's neighbours are on their way, those of the other's are asked for.
inline constexpr int kTogether = 2;
/// A row that comes in this close to being expanded has its links asked for at once.
inline constexpr std::size_t kSoon = 4;

/// Every row counts.
struct AcceptAll {
  constexpr bool operator()(std::uint32_t) const noexcept { return true; }
};

/// What a walk came to. Of the `near` nearest rows, `n_late` were met in its second half: where those are many, it would find
/// more.
struct Walked {
  std::size_t n_scored = 0, n_late = 0;
};

/// Walks from `entries` towards the query until the `ef` nearest rows seen have all been expanded; they are then in
/// `work.pool`, nearest first. Best-first search over one sorted pool. Rows that `accept` refuses
/// are as if they were not there.
template <class Scorer, class Accept = AcceptAll>
Walked walk(const Links& links, std::span<const std::uint32_t> entries, const Scorer& scorer, std::size_t ef, Workspace& work,
            Accept accept = {}, std::size_t near = 0) {
  VisitedSet& visited = work.visited;
  Pool& pool = work.pool;
  const std::size_t n_rows = links.size();
  visited.start(n_rows);
  pool.start(ef);
  std::array<std::uint32_t, Scorer::kMost> rows;
  std::array<float, Scorer::kMost> keys;
  std::size_t n = 0, n_expanded = 0;
  Walked result;
  const auto score = [&] {
    scorer(rows.data(), n, keys.data());
    const bool is_late = 2 * n_expanded > ef;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t place = pool.insert(keys[i], rows[i]);
      if (place < pool.next() + kSoon) links.prefetch(rows[i]);
      result.n_late += is_late && place < near;
    }
    result.n_scored += n;
    n = 0;
  };
  const auto meet = [&](std::uint32_t row) {
    if (!visited.insert(row) || !accept(row)) return;
    scorer.prefetch(row);
    rows[n++] = row;
    if (n == rows.size()) score();
  };

  for (const std::uint32_t row : entries) meet(row);
  score();
  for (std::uint32_t row; pool.expand(row);) {
    int together = 1;
    do {
      for (const std::uint32_t* to = links.place(row); to != links.place(row + 1) && *to < n_rows; ++to) meet(*to);
      ++n_expanded;
    } while (together++ < kTogether && pool.expand(row));
    score();
  }
  return result;
}

}  // namespace engine::graph
