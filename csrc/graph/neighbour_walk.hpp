#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "graph/neighbour_codes.hpp"
#include "graph/scorer.hpp"
#include "graph/searcher.hpp"

namespace engine::graph {

/// Rows beyond the nearest `ef` that a walk keeps in mind: nearly all of the nearest rows are seen long before it would pay to
/// look at their neighbours.
inline constexpr std::size_t kSpare = 16;

/// Like the other `walk`, by the codes beside each row: rows come into the pool by what the row that led to them estimates, and
/// the nearest `ef` of them are expanded, the next chosen and asked for before the present one is looked at. All that are still
/// in the pool then, at least `n_found`, get keys of their own, which are those of `scorer` times Lookup::unit; the nearest
/// `n_found` are in `work.found`. A row that drops out of the pool may come back by another's estimate. Returns how many rows
/// were scored by themselves.
template <class Accept = AcceptAll>
std::size_t walk(const NeighbourCodes& codes, std::span<const std::uint32_t> entries, const NibbleScorer& scorer,
                 const Lookup& lookup, std::size_t ef, std::size_t n_found, Workspace& work, Accept accept = {}) {
  VisitedSet& visited = work.visited;
  Pool& pool = work.pool;
  const kernels::Table& kernels = kernels::active();
  visited.start(codes.size());
  pool.start(std::max(ef, n_found + kSpare));
  std::array<std::uint32_t, NibbleScorer::kMost> rows;
  std::array<float, NibbleScorer::kMost> keys;
  std::size_t n_scored = 0;
  const auto insert = [&](std::uint32_t row, float key) {
    if (!visited.insert(row)) return;
    std::uint32_t dropped = kNone;
    const std::size_t place = pool.insert(key, row, dropped);
    if (dropped != kNone) visited.erase(dropped);
    if (place < pool.next() + kSoon) scorer.prefetch(row);
  };
  const auto score = [&](std::uint32_t row) {
    float key;
    scorer(&row, 1, &key);
    ++n_scored;
    return key * lookup.unit();
  };
  struct Chosen {
    std::uint32_t row;
    float key;
  };
  const auto choose = [&](Chosen& chosen) {
    if (!pool.expand(chosen.row, ef)) return false;
    for (std::size_t i = pool.next(); i < std::min(pool.next() + 2, pool.size()); ++i) scorer.prefetch(pool.row(i));
    codes.prefetch(chosen.row);
    chosen.key = score(chosen.row);
    pool.correct(chosen.key);
    work.found.insert(chosen.key, chosen.row);
    return true;
  };
  const auto expand = [&](const Chosen& chosen) {
    float keys[NeighbourCodes::kLanes];
    for (std::size_t i = 0; i < codes.n_parts(); ++i) {
      const NeighbourCodes::Part& part = codes.part(chosen.row, i);
      std::uint32_t nearer = kernels.estimate(part.codes(), codes.n_pairs(), lookup.tables(), part.shift, part.factor,
                                              lookup.terms(chosen.key, pool.worst()), keys);
      for (; nearer; nearer &= nearer - 1) {
        const int lane = std::countr_zero(nearer);
        if (keys[lane] < pool.worst() && part.rows[lane] < codes.size() && accept(part.rows[lane]))
          insert(part.rows[lane], keys[lane]);
      }
    }
  };

  // Most entries are far away: the nearest few are enough.
  Pool& entered = work.found;
  entered.start(kEntered);
  for (std::size_t first = 0; first < entries.size(); first += rows.size()) {
    const auto some = entries.subspan(first, std::min(rows.size(), entries.size() - first));
    scorer(some.data(), some.size(), keys.data());
    n_scored += some.size();
    for (std::size_t i = 0; i < some.size(); ++i)
      if (accept(some[i])) entered.insert(keys[i] * lookup.unit(), some[i]);
  }
  for (std::size_t i = 0; i < entered.size(); ++i) insert(entered.row(i), entered.key(i));
  work.found.start(n_found);
  Chosen present, next;
  for (bool any = choose(present); any;) {
    const bool more = choose(next);
    expand(present);
    any = more || choose(next);
    present = next;
  }
  // What was not worth a look at its neighbours may still be among the nearest.
  std::size_t n = 0;
  const auto settle = [&] {
    scorer(rows.data(), n, keys.data());
    n_scored += n;
    for (std::size_t i = 0; i < n; ++i) work.found.insert(keys[i] * lookup.unit(), rows[i]);
    n = 0;
  };
  for (std::size_t i = 0; i < pool.size(); ++i) {
    if (pool.is_expanded(i)) continue;
    scorer.prefetch(pool.row(i));
    rows[n++] = pool.row(i);
    if (n == rows.size()) settle();
  }
  settle();
  return n_scored;
}

}  // namespace engine::graph
