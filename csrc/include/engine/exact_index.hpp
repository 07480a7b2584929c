#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/bitmap.hpp"
#include "engine/cancel.hpp"
#include "engine/matrix_view.hpp"
#include "engine/part.hpp"
#include "engine/search.hpp"

namespace engine {

/// Vectors under ids, their codes, and certified exact search over them. Any number of threads may search at a time; a change
/// waits for the searches under way. Every method leaves the index as it was when it throws.
class ExactIndex {
 public:
  ExactIndex(std::size_t dim, Metric metric, Dtype dtype);
  ~ExactIndex();
  ExactIndex(ExactIndex&&) noexcept;

  std::size_t dim() const noexcept;
  Metric metric() const noexcept;
  Dtype dtype() const noexcept;
  std::size_t size() const;
  /// All memory held, and the part of it that is not vectors.
  std::size_t nbytes() const;
  std::size_t overhead_nbytes() const;
  std::vector<std::int64_t> ids() const;

  /// `ids` empty: they go on from the largest ever used. Returns the ids.
  std::vector<std::int64_t> add(MatrixView vectors, std::span<const std::int64_t> ids, std::size_t n_threads, Cancel& cancel);
  /// The last rows take the places of those removed. An unknown or repeated id is an error.
  void remove(std::span<const std::int64_t> ids);
  /// Rows of `ids`, as floats, to `vectors`.
  void get(std::span<const std::int64_t> ids, float* vectors) const;
  /// The row of each of `ids`, -1 where there is none.
  std::vector<std::int64_t> find(std::span<const std::int64_t> ids) const;
  /// The set of rows with these ids.
  Bitmap rows_of(std::span<const std::int64_t> ids) const;

  SearchStats search(MatrixView queries, std::size_t k, const SearchOptions& options, Cancel& cancel, std::int64_t* ids,
                     float* distances) const;
  /// With a filter for each query, null: none. What was done for each group of queries that share one, the same object.
  std::vector<SearchStats> search_each(MatrixView queries, std::size_t k, std::span<const Bitmap* const> filters,
                                       std::size_t n_threads, Cancel& cancel, std::int64_t* ids, float* distances) const;
  RangeHits range_search(MatrixView queries, double radius, const SearchOptions& options, Cancel& cancel) const;

  std::vector<Part> parts() const;
  std::int64_t next_id() const;
  /// An index over stored parts, which are checked for their sizes and borrowed until the first change. Whatever the values are,
  /// no method reads outside of them.
  static ExactIndex from_parts(std::size_t dim, Metric metric, Dtype dtype, std::int64_t next_id, const std::vector<Part>& parts);
  /// Refuses stored values that cannot be: ids that are negative or there twice.
  void check() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The `k` nearest rows of `vectors` without an index: ids are row numbers.
SearchStats topk(MatrixView queries, RowsView vectors, Metric metric, std::size_t k, const SearchOptions& options, Cancel& cancel,
                 std::int64_t* ids, float* distances);

}  // namespace engine
