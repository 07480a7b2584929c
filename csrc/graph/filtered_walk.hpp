#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "graph/links.hpp"
#include "graph/searcher.hpp"

namespace engine::graph {

/// What a walk among the rows that pass a filter came to.
struct Filtered {
  std::size_t n_scored = 0;
  std::size_t n_steps = 0;  // rows that failed and led on
  std::size_t n_late = 0;   // of the `k` nearest, those met in the second half of the walk
  bool within_budget = true;
};

/// Walks among the rows that `passes` lets through, from those of `seeds`, until the nearest `ef` seen have been expanded; they
/// are then in `work.pool`. What it met late of the `k` nearest says whether it would find more. Where less than half of a row's
/// neighbours pass, those that fail are steps: what passes among *their* neighbours counts as the row's own (Patel et al. 2024,
/// "ACORN"), until as many are known as a row can have links. Each is such a step once. Gives up when more than `budget` rows
/// were scored or such steps, which take about as long.
template <class Scorer, class Passes>
Filtered walk_within(const Links& links, std::span<const std::uint32_t> seeds, const Scorer& scorer, std::size_t k,
                     std::size_t ef, std::size_t budget, Workspace& work, Passes passes) {
  VisitedSet& visited = work.visited;
  Pool& pool = work.pool;
  const std::size_t n_rows = links.size(), degree = links.degree();
  visited.start(n_rows);
  pool.start(ef);
  std::array<std::uint32_t, Scorer::kMost> rows;
  std::array<float, Scorer::kMost> keys;
  std::size_t n = 0, n_expanded = 0;
  Filtered result;
  const auto score = [&] {
    scorer(rows.data(), n, keys.data());
    const bool is_late = 2 * n_expanded > ef;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t place = pool.insert(keys[i], rows[i]);
      if (place < pool.next() + kSoon) links.prefetch(rows[i]);
      result.n_late += is_late && place < k;
    }
    result.n_scored += n;
    n = 0;
  };
  const auto meet = [&](std::uint32_t row) {
    if (!visited.insert(row)) return;
    scorer.prefetch(row);
    rows[n++] = row;
    if (n == rows.size()) score();
  };
  const auto expand = [&](std::uint32_t row) {
    const auto neighbours = links.of(row);
    work.bridges.clear();
    std::size_t n_passed = 0;
    for (const std::uint32_t to : neighbours) {
      if (!passes(to)) {
        work.bridges.push_back(to);
        continue;
      }
      meet(to);
      ++n_passed;
    }
    if (2 * n_passed >= neighbours.size()) return;
    for (const std::uint32_t bridge : work.bridges) links.prefetch(bridge);
    for (const std::uint32_t bridge : work.bridges) {
      if (n_passed >= degree) break;
      if (!visited.insert(bridge)) continue;
      ++result.n_steps;
      for (const std::uint32_t* to = links.place(bridge); to != links.place(bridge + 1) && *to < n_rows; ++to) {
        if (!passes(*to)) continue;
        meet(*to);
        ++n_passed;
      }
    }
  };

  for (const std::uint32_t row : seeds) {
    if (passes(row))
      meet(row);
    else if (visited.insert(row))
      expand(row);
  }
  score();
  for (std::uint32_t row; pool.expand(row);) {
    int together = 1;
    do {
      expand(row);
      ++n_expanded;
    } while (together++ < kTogether && pool.expand(row));
    score();
    if (result.n_scored + result.n_steps > budget) {
      result.within_budget = false;
      break;
    }
  }
  return result;
}

}  // namespace engine::graph
