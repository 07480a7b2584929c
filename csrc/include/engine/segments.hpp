#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "engine/bitmap.hpp"
#include "engine/cancel.hpp"
#include "engine/exact_index.hpp"
#include "engine/graph_index.hpp"
#include "engine/matrix_view.hpp"
#include "engine/plan.hpp"
#include "engine/search.hpp"

namespace engine {

/// One of several indexes that are searched as one. A graph among them holds no removed rows of its own.
struct Segment {
  std::variant<const ExactIndex*, const GraphIndex*> index;
  const Bitmap* live;  // the rows that are there, of all; null: all are

  std::size_t dim() const;
  Metric metric() const;
  std::size_t size() const;  // those included that are not
};

/// The nearest rows of all segments; at least one must have some. `options.filter` is over the rows of all, one segment after the
/// other, those included that are not there. `effort.ef` and an executor are for graphs; what is no graph is searched exactly.
SearchStats search(std::span<const Segment> segments, MatrixView queries, std::size_t k, const Effort& effort,
                   const SearchOptions& options, Cancel& cancel, std::int64_t* ids, float* distances);
/// As for ExactIndex.
std::vector<SearchStats> search_each(std::span<const Segment> segments, MatrixView queries, std::size_t k, const Effort& effort,
                                     std::span<const Bitmap* const> filters, std::size_t n_threads, Cancel& cancel,
                                     std::int64_t* ids, float* distances);

}  // namespace engine
