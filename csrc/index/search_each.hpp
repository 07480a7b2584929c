#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/bitmap.hpp"
#include "engine/cancel.hpp"
#include "engine/matrix_view.hpp"
#include "engine/search.hpp"
#include "util/thread_pool.hpp"

namespace engine {

/// A filter for each query, null: all rows pass. Queries that share one, the same object, are one call of
/// `search(queries, options, ids, distances)`: many of them on all threads, few beside others. Returns what each call did, in the
/// order of their first queries, and as its seconds an equal share of all.
template <class Search>
std::vector<SearchStats> search_each(MatrixView queries, std::size_t k, std::span<const Bitmap* const> filters,
                                     std::size_t n_threads, Cancel& cancel, std::int64_t* ids, float* distances, Search search) {
  constexpr std::size_t kMany = 32, kFew = 8;
  const auto started = std::chrono::steady_clock::now();
  const std::size_t dim = queries.dim;
  n_threads = std::max<std::size_t>(n_threads, 1);
  std::vector<std::vector<std::size_t>> groups;
  std::unordered_map<const Bitmap*, std::size_t> known;
  for (std::size_t q = 0; q < queries.n_rows; ++q) {
    const auto [group, is_new] = known.try_emplace(filters[q], groups.size());
    if (is_new) groups.emplace_back();
    groups[group->second].push_back(q);
  }
  std::vector<SearchStats> stats(groups.size());
  const auto answer = [&](std::size_t g, std::size_t n_own_threads) {
    cancel.check();
    const std::vector<std::size_t>& own = groups[g];
    const SearchOptions options{filters[own[0]], n_own_threads};
    if (own.size() == 1) {
      stats[g] = search(MatrixView{queries.row(own[0]), 1, dim}, options, ids + own[0] * k, distances + own[0] * k);
      return;
    }
    std::vector<float> vectors(own.size() * dim), own_distances(own.size() * k);
    std::vector<std::int64_t> own_ids(own.size() * k);
    for (std::size_t i = 0; i < own.size(); ++i) std::copy_n(queries.row(own[i]), dim, vectors.data() + i * dim);
    stats[g] = search(MatrixView{vectors.data(), own.size(), dim}, options, own_ids.data(), own_distances.data());
    for (std::size_t i = 0; i < own.size(); ++i) {
      std::copy_n(own_ids.data() + i * k, k, ids + own[i] * k);
      std::copy_n(own_distances.data() + i * k, k, distances + own[i] * k);
    }
  };
  std::vector<std::size_t> small;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].size() < kMany && groups.size() > 1)
      small.push_back(g);
    else
      answer(g, n_threads);
  }
  const std::size_t at_a_time = std::clamp<std::size_t>(small.size() / (4 * n_threads), 1, kFew);  // a search may take 2 us
  const std::size_t n_own_threads = small.empty() ? 1 : (n_threads + small.size() - 1) / small.size();
  parallel_for((small.size() + at_a_time - 1) / at_a_time, n_threads, [&](std::size_t task) {
    for (std::size_t i = task * at_a_time; i < std::min(small.size(), (task + 1) * at_a_time); ++i)
      answer(small[i], n_own_threads);
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  for (SearchStats& each : stats) each.seconds = seconds / static_cast<double>(stats.size());
  return stats;
}

}  // namespace engine
