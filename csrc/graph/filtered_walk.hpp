#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "graph/links.hpp"
#include "graph/searcher.hpp"

namespace engine::graph {

/// What a walk among the rows that pass a filter came to.
struct Filtered : Walked {
  std::size_t n_steps = 0;  // rows that failed and led on
  bool within_budget = true;
};

/// Walks among the rows that `passes` lets through, from those of `seeds`, until the nearest `ef` seen have been expanded; they
/// are then in `work.pool`. Where less than half of a row's
/// neighbours pass, those that fail are steps: what passes among *their* neighbours counts as the row's own (Patel et al. 2024,
/// "ACORN"), until as many are known as a row can have links. Each is such a step once. Gives up when more than `budget` rows
/// were scored or such steps, which take about as long.
template <class Scorer, class Passes>
Filtered walk_within(const Links& links, std::span<const std::uint32_t> seeds, const Scorer& scorer, std::size_t near,
                     std::size_t ef, std::size_t budget, Workspace& work, Passes passes) {
  Frontier<Scorer> frontier(links, scorer, ef, near, false, work);
  const std::size_t n_rows = links.size(), degree = links.degree();
  std::size_t n_steps = 0;
  const auto meet = [&](std::uint32_t row) {
    if (frontier.visit(row)) frontier.add(row);
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
      if (!frontier.visit(bridge)) continue;
      ++n_steps;
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
    else if (frontier.visit(row))
      expand(row);
  }
  frontier.score();
  Nearest goal{ef};
  const bool ended = frontier.run(true, expand, [&](const Walked& walked) { return walked.n_scored + n_steps > budget; }, goal);
  return {frontier.walked(), n_steps, ended};
}

}  // namespace engine::graph
