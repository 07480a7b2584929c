#pragma once
#include <cstddef>
#include <cstdint>

#include "engine/metric.hpp"

namespace engine {

/// A borrowed row-major float32 matrix.
struct MatrixView {
  const float* data = nullptr;
  std::size_t n_rows = 0;
  std::size_t dim = 0;

  const float* row(std::size_t i) const noexcept { return data + i * dim; }
};

namespace quant {
class NibbleCodes;
}

/// Borrowed vectors as they are kept: rows of one dtype, or codes alone (see quant::read_row).
struct RowsView {
  const std::byte* data = nullptr;
  std::size_t n_rows = 0;
  std::size_t dim = 0;
  Dtype dtype = Dtype::f32;
  const quant::NibbleCodes* codes = nullptr;  // where dtype is i8

  std::size_t row_bytes() const noexcept { return dim * size_of(dtype); }
  const std::byte* row(std::size_t i) const noexcept { return data + i * row_bytes(); }
};

}  // namespace engine
