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
#include "engine/plan.hpp"
#include "engine/search.hpp"

namespace engine {

/// fast: codes of neighbours beside each row, for more speed and memory.
enum class Layout { plain, fast };

struct GraphParams {
  std::size_t degree = 32;            // links a row
  std::size_t ef_construction = 200;  // rows that linking one looks at
  std::uint64_t seed = 0;
  Layout layout = Layout::plain;
};

/// What a search with a pool of `ef` rows found of the `k` nearest of queries held out, and the standard error of that mean.
struct CalibrationPoint {
  std::uint32_t k, ef;
  float recall, error;
};

/// See graph::Report; `n_not_beside`: rows beside which other neighbours are coded than they link to.
struct GraphReport {
  std::size_t n_rows, n_links, n_out_of_range, n_self_links, n_repeated, n_after_end, n_reached, n_not_beside;
};

/// Vectors under ids, their codes, and links to near ones: approximate search by walking the links, exact search beside it.
/// Any number of threads may search at a time, while others add: rows of an `add` are seen by none or, at its end, by all
/// searches. Every method leaves the index as it was when it throws.
class GraphIndex {
 public:
  GraphIndex(std::size_t dim, Metric metric, Dtype dtype, GraphParams params);
  ~GraphIndex();
  GraphIndex(GraphIndex&&) noexcept;

  std::size_t dim() const noexcept;
  Metric metric() const noexcept;
  const GraphParams& params() const noexcept;
  std::size_t size() const;
  std::size_t nbytes() const;
  std::size_t overhead_nbytes() const;
  /// In the order of the rows, which is what filters refer to.
  std::vector<std::int64_t> ids() const;
  std::int64_t next_id() const;
  /// Rows removed that still take room.
  std::size_t n_dead() const;
  /// Over the places of all rows: those removed.
  Bitmap dead() const;

  std::vector<std::int64_t> add(MatrixView vectors, std::span<const std::int64_t> ids, std::size_t n_threads, Cancel& cancel);
  /// The rows stay as steps of walks, until a quarter of all is gone and `optimize` follows by itself.
  void remove(std::span<const std::int64_t> ids, std::size_t n_threads, Cancel& cancel);
  /// Drops removed rows: the last rows take their places, and links to them are replaced.
  void optimize(std::size_t n_threads, Cancel& cancel);
  void get(std::span<const std::int64_t> ids, float* vectors) const;
  /// The place of each of `ids` among all rows, -1 where there is none.
  std::vector<std::int64_t> find(std::span<const std::int64_t> ids) const;
  /// Among the rows that live, as in a filter.
  Bitmap rows_of(std::span<const std::int64_t> ids) const;

  /// Walks, or looks at all rows that pass where that is cheaper or `effort` asks for it.
  SearchStats search(MatrixView queries, std::size_t k, const Effort& effort, const SearchOptions& options, Cancel& cancel,
                     std::int64_t* ids, float* distances) const;
  /// As for ExactIndex.
  std::vector<SearchStats> search_each(MatrixView queries, std::size_t k, const Effort& effort,
                                       std::span<const Bitmap* const> filters, std::size_t n_threads, Cancel& cancel,
                                       std::int64_t* ids, float* distances) const;
  /// What `search` would do with `n_queries` queries that share the filter.
  Plan plan(std::size_t k, const Effort& effort, const Bitmap& filter, std::size_t n_queries) const;
  RangeHits range_search(MatrixView queries, double radius, const SearchOptions& options, Cancel& cancel) const;

  /// The smallest `ef` that reached `recall` when it was measured; 0 where none did or nothing was measured.
  std::size_t ef_for(std::size_t k, double recall) const;
  std::vector<CalibrationPoint> calibration() const;
  GraphReport inspect() const;

  std::vector<Part> parts() const;
  /// As for ExactIndex. Links to what is no row are not followed.
  static GraphIndex from_parts(std::size_t dim, Metric metric, Dtype dtype, GraphParams params, std::int64_t next_id,
                               const std::vector<Part>& parts);
  /// Refuses stored values that cannot be: ids as in ExactIndex, links to what is no row.
  void check() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace engine
