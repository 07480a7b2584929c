#include "engine/segments.hpp"

#include <algorithm>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "engine/error.hpp"
#include "exact/exact_search.hpp"
#include "index/search_each.hpp"
#include "util/merge.hpp"

namespace engine {
namespace {

/// `a`, or "a/b" where b is none of its parts.
std::string_view joined(std::string_view a, std::string_view b) {
  const std::string parts = '/' + std::string(a) + '/', part = '/' + std::string(b) + '/';
  if (parts.find(part) != std::string::npos) return a;
  static std::mutex mutex;
  static std::set<std::string> known;  // as many as there are ways to search, about
  std::lock_guard lock(mutex);
  return *known.insert(std::string(a) + part.substr(0, part.size() - 1)).first;
}

/// As engine.types.together.
SearchStats together(SearchStats all, const SearchStats& each) {
  all.strategy = joined(all.strategy, each.strategy);
  all.executor = joined(all.executor, each.executor);
  all.n_scored += each.n_scored;
  all.n_rescored += each.n_rescored;
  all.seconds += each.seconds;
  all.n_fallbacks += each.n_fallbacks;
  return all;
}

/// What one segment found: `k` places for each query.
struct Found {
  std::size_t k;
  std::vector<std::int64_t> ids;
  std::vector<float> distances;
};

SearchStats search_one(const Segment& segment, MatrixView queries, std::size_t k, const Effort& effort, SearchOptions options,
                       Cancel& cancel, std::int64_t* ids, float* distances) {
  options.live = segment.live;
  if (const auto* const exact = std::get_if<const ExactIndex*>(&segment.index))
    return (*exact)->search(queries, k, options, cancel, ids, distances);
  return std::get<const GraphIndex*>(segment.index)->search(queries, k, effort, options, cancel, ids, distances);
}

}  // namespace

std::size_t Segment::dim() const {
  return std::visit([](const auto* each) { return each->dim(); }, index);
}

Metric Segment::metric() const {
  return std::visit([](const auto* each) { return each->metric(); }, index);
}

std::size_t Segment::size() const {
  if (const auto* const exact = std::get_if<const ExactIndex*>(&index)) return (*exact)->size();
  const GraphIndex& graph = *std::get<const GraphIndex*>(index);
  return graph.size() + graph.n_dead();
}

SearchStats search(std::span<const Segment> segments, MatrixView queries, std::size_t k, const Effort& effort,
                   const SearchOptions& options, Cancel& cancel, std::int64_t* ids, float* distances) {
  std::vector<std::size_t> sizes;
  for (const Segment& segment : segments) sizes.push_back(segment.size());
  const auto n_live_of = [&](std::size_t s) { return segments[s].live ? segments[s].live->count() : sizes[s]; };
  std::size_t n_rows = 0, n_live = 0;
  for (std::size_t s = 0; s < sizes.size(); ++s) n_rows += sizes[s], n_live += n_live_of(s);
  if (n_live == 0) throw Error(ErrorCode::not_built, "there are no vectors to search: add some first");
  if (segments.size() == 1) return search_one(segments[0], queries, k, effort, options, cancel, ids, distances);
  if (options.filter) check_fits(*options.filter, n_rows);
  exact::check(segments[0].dim(), segments[0].metric(), queries);  // where nothing passes nobody else does

  std::vector<Found> found;
  SearchStats stats{.strategy = "plain"};  // of none that pass
  double n_passed = 0;
  for (std::size_t s = 0, start = 0; s < sizes.size(); start += sizes[s++]) {
    std::optional<Bitmap> rows;
    if (options.filter) rows = options.filter->slice(start, start + sizes[s]);
    if ((rows ? rows->count() : n_live_of(s)) == 0) continue;
    Found& own = found.emplace_back(std::min(k, sizes[s]));
    own.ids.resize(queries.n_rows * own.k);
    own.distances.resize(own.ids.size());
    SearchOptions own_options = options;
    own_options.filter = rows ? &*rows : nullptr;
    const SearchStats each =
        search_one(segments[s], queries, own.k, effort, own_options, cancel, own.ids.data(), own.distances.data());
    n_passed += each.selectivity * static_cast<double>(n_live_of(s));
    stats = found.size() == 1 ? each : together(stats, each);
  }
  std::vector<Hits> lists(found.size());
  for (std::size_t q = 0; q < queries.n_rows; ++q) {
    std::ranges::transform(found, lists.begin(), [q](const Found& own) {
      return Hits{own.ids.data() + q * own.k, own.distances.data() + q * own.k, own.k};
    });
    merge_hits(lists, k, ids + q * k, distances + q * k);
  }
  stats.selectivity = n_passed / static_cast<double>(n_live);
  return stats;
}

std::vector<SearchStats> search_each(std::span<const Segment> segments, MatrixView queries, std::size_t k, const Effort& effort,
                                     std::span<const Bitmap* const> filters, std::size_t n_threads, Cancel& cancel,
                                     std::int64_t* ids, float* distances) {
  exact::check(segments[0].dim(), segments[0].metric(), queries);
  return search_each(queries, k, filters, n_threads, cancel, ids, distances,
                     [&](MatrixView own, const SearchOptions& options, std::int64_t* own_ids, float* own_distances) {
                       return search(segments, own, k, effort, options, cancel, own_ids, own_distances);
                     });
}

}  // namespace engine
