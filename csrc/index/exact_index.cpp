#include "engine/exact_index.hpp"

#include <mutex>
#include <shared_mutex>

#include "exact/exact_search.hpp"
#include "index/allowed.hpp"
#include "index/search_each.hpp"
#include "index/store.hpp"
#include "util/fair_mutex.hpp"

namespace engine {

struct ExactIndex::State : Store {
  using Store::Store;
  mutable FairMutex mutex;
};

ExactIndex::ExactIndex(std::size_t dim, Metric metric, Dtype dtype) : state_(std::make_unique<State>(dim, metric, dtype)) {}
ExactIndex::~ExactIndex() = default;
ExactIndex::ExactIndex(ExactIndex&&) noexcept = default;

std::size_t ExactIndex::dim() const noexcept { return state_->dim; }
Metric ExactIndex::metric() const noexcept { return state_->metric; }
Dtype ExactIndex::dtype() const noexcept { return state_->dtype; }

std::size_t ExactIndex::size() const {
  std::shared_lock lock(state_->mutex);
  return state_->size();
}
std::size_t ExactIndex::overhead_nbytes() const {
  std::shared_lock lock(state_->mutex);
  return state_->overhead_nbytes();
}
std::size_t ExactIndex::nbytes() const {
  std::shared_lock lock(state_->mutex);
  return state_->vectors.nbytes() + state_->overhead_nbytes();
}
std::vector<std::int64_t> ExactIndex::ids() const {
  std::shared_lock lock(state_->mutex);
  return {state_->ids.data(), state_->ids.data() + state_->size()};
}
std::int64_t ExactIndex::next_id() const {
  std::shared_lock lock(state_->mutex);
  return state_->next_id;
}

std::vector<std::int64_t> ExactIndex::add(MatrixView vectors, std::span<const std::int64_t> ids, std::size_t n_threads,
                                          Cancel& cancel) {
  std::unique_lock lock(state_->mutex);
  return state_->append(vectors, ids, n_threads, cancel);
}

void ExactIndex::remove(std::span<const std::int64_t> ids) {
  std::unique_lock lock(state_->mutex);
  state_->rows_of_all(ids);
  state_->make_writable();
  for (const std::int64_t id : ids) {
    const std::size_t row = state_->row_of(id);
    state_->forget(row);
    state_->drop(row);
  }
}

void ExactIndex::get(std::span<const std::int64_t> ids, float* vectors) const {
  std::shared_lock lock(state_->mutex);
  state_->get(ids, vectors);
}

std::vector<std::int64_t> ExactIndex::find(std::span<const std::int64_t> ids) const {
  std::shared_lock lock(state_->mutex);
  return state_->find(ids);
}

Bitmap ExactIndex::rows_of(std::span<const std::int64_t> ids) const {
  std::shared_lock lock(state_->mutex);
  std::vector<std::uint32_t> found;
  found.reserve(ids.size());
  for (const std::int64_t id : ids) found.push_back(static_cast<std::uint32_t>(state_->row_of(id)));
  return Bitmap::from_any(state_->size(), std::move(found));
}

SearchStats ExactIndex::search(MatrixView queries, std::size_t k, const SearchOptions& options, Cancel& cancel, std::int64_t* ids,
                               float* distances) const {
  std::shared_lock lock(state_->mutex);
  const Allowed allowed(options, state_->size(), nullptr);
  SearchOptions own = options;
  own.filter = allowed.rows();
  SearchStats stats = exact::search(state_->corpus(), queries, k, own, cancel, ids, distances);
  stats.selectivity = allowed.share();
  return stats;
}

std::vector<SearchStats> ExactIndex::search_each(MatrixView queries, std::size_t k, std::span<const Bitmap* const> filters,
                                                 std::size_t n_threads, Cancel& cancel, std::int64_t* ids,
                                                 float* distances) const {
  std::shared_lock lock(state_->mutex);
  const exact::Corpus corpus = state_->corpus();
  exact::check(corpus, queries);
  return engine::search_each(queries, k, filters, n_threads, cancel, ids, distances,
                             [&](MatrixView own, const SearchOptions& options, std::int64_t* own_ids, float* own_distances) {
                               return exact::search(corpus, own, k, options, cancel, own_ids, own_distances);
                             });
}

RangeHits ExactIndex::range_search(MatrixView queries, double radius, const SearchOptions& options, Cancel& cancel) const {
  std::shared_lock lock(state_->mutex);
  const Allowed allowed(options, state_->size(), nullptr);
  SearchOptions own = options;
  own.filter = allowed.rows();
  return exact::search_range(state_->corpus(), queries, radius, own, cancel);
}

std::vector<Part> ExactIndex::parts() const {
  std::shared_lock lock(state_->mutex);
  return state_->parts();
}

void ExactIndex::check() const {
  std::shared_lock lock(state_->mutex);
  state_->map_ids();
}

ExactIndex ExactIndex::from_parts(std::size_t dim, Metric metric, Dtype dtype, std::int64_t next_id,
                                  const std::vector<Part>& parts) {
  ExactIndex index(dim, metric, dtype);
  index.state_->take_parts(next_id, parts);
  return index;
}

SearchStats topk(MatrixView queries, RowsView vectors, Metric metric, std::size_t k, const SearchOptions& options, Cancel& cancel,
                 std::int64_t* ids, float* distances) {
  return exact::search({vectors, metric}, queries, k, options, cancel, ids, distances);
}

}  // namespace engine
