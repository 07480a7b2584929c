#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/cancel.hpp"
#include "engine/matrix_view.hpp"

namespace engine::multivector {

/// Sets of rows, one after the other: set i is rows offsets[i] to offsets[i + 1].
struct Sets {
  MatrixView rows;
  std::span<const std::int64_t> offsets;

  std::size_t size() const { return offsets.size() - 1; }
};

/// to[q * listed.size() + i] = sum over the rows of query q of the largest dot product with a row of item listed[i]. float32
/// sums: each product is within dim * 2^-24 * |x| |y| to first order. No set is empty.
void maxsim(const Sets& queries, const Sets& items, std::span<const std::int64_t> listed, std::size_t n_threads, float* to,
            Cancel& cancel);

}  // namespace engine::multivector
