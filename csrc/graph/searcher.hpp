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

/// Walks from `entries` towards the query until the `ef` nearest rows seen have all been expanded; they are then in
/// `work.pool`, nearest first. Best-first search over one sorted pool. Rows that `accept` refuses
/// are as if they were not there. Returns how many rows were scored.
template <class Scorer, class Accept = AcceptAll>
std::size_t walk(const Links& links, std::span<const std::uint32_t> entries, const Scorer& scorer, std::size_t ef,
                 Workspace& work, Accept accept = {}) {
  VisitedSet& visited = work.visited;
  Pool& pool = work.pool;
  const std::size_t n_rows = links.size();
  visited.start(n_rows);
  pool.start(ef);
  std::array<std::uint32_t, Scorer::kMost> rows;
  std::array<float, Scorer::kMost> keys;
  std::size_t n = 0, n_scored = 0;
  const auto score = [&] {
    scorer(rows.data(), n, keys.data());
    for (std::size_t i = 0; i < n; ++i)
      if (pool.insert(keys[i], rows[i]) < pool.next() + kSoon) links.prefetch(rows[i]);
    n_scored += n;
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
    } while (together++ < kTogether && pool.expand(row));
    score();
  }
  return n_scored;
}

}  // namespace engine::graph
