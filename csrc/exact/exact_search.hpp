#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/bitmap.hpp"
#include "engine/cancel.hpp"
#include "engine/matrix_view.hpp"
#include "engine/search.hpp"
#include "quant/nibble_codes.hpp"

namespace engine::exact {

/// What is searched: full vectors, their codes (null: none yet), their ids (null: row numbers).
struct Corpus {
  RowsView rows;
  Metric metric;
  const quant::NibbleCodes* codes = nullptr;
  const std::int64_t* ids = nullptr;
};

/// Refuses queries that do not fit, are not finite, or zero under cosine. Writes the squared lengths of the queries where they
/// are asked for.
void check(std::size_t dim, Metric metric, MatrixView queries, double* squared = nullptr);
/// And an empty corpus.
void check(const Corpus& corpus, MatrixView queries, double* squared = nullptr);

/// The `k` nearest rows of each query, written to `ids` and `distances` (n_queries x k). Every strategy gives the same answer.
SearchStats search(const Corpus& corpus, MatrixView queries, std::size_t k, const SearchOptions& options, Cancel& cancel,
                   std::int64_t* ids, float* distances);

/// All rows at a distance of at most `radius`.
RangeHits search_range(const Corpus& corpus, MatrixView queries, double radius, const SearchOptions& options, Cancel& cancel);

}  // namespace engine::exact
