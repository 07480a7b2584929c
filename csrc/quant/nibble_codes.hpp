#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/cancel.hpp"
#include "engine/matrix_view.hpp"
#include "kernels/table.hpp"
#include "util/buffer.hpp"
#include "util/prefetch.hpp"

namespace engine::quant {

/// 8-bit codes kept as two nibble planes, so that one code serves both shapes of search: a scan reads the high plane only,
/// a tile puts both together. Each row keeps the norm of what its code leaves out, rounded up (docs/certified_exact.md).
///
/// What is coded is w = x / |x| - center under cosine and x - center otherwise: any fixed center gives a valid bound,
/// one near the mean gives a tight one.
class NibbleCodes {
 public:
  NibbleCodes(std::size_t dim, Metric metric);

  /// Codes of all `rows`, around their own center. `rows` must be finite, and not zero under cosine: otherwise an
  /// invalid_argument that names `what` and the first bad row.
  static NibbleCodes of(RowsView rows, Metric metric, std::size_t n_threads, Cancel& cancel, const char* what);

  /// Codes `rows`, whose first are those it has, around their own center: all anew where that lies elsewhere than the present
  /// one.
  void follow(RowsView rows, std::size_t n_threads, Cancel& cancel, const char* what);

  /// Copies of some rows' codes.
  NibbleCodes subset(std::span<const std::uint32_t> rows) const;

  /// Codes more rows around the present center; memory comes first, so an exception leaves the codes as they were.
  void extend(RowsView rows, std::size_t n_threads, Cancel& cancel, const char* what);
  void reserve(std::size_t n_rows);
  /// What `remove` needs so that it cannot fail.
  void make_writable();
  /// The last row takes the place of `row`.
  void remove(std::size_t row);

  std::size_t size() const noexcept { return n_rows_; }
  std::size_t dim() const noexcept { return dim_; }
  std::size_t row_bytes() const noexcept { return row_bytes_; }
  Metric metric() const noexcept { return metric_; }
  const std::vector<float>& center() const noexcept { return center_; }
  double center_norm() const noexcept { return center_norm_; }
  const std::uint8_t* high() const noexcept { return high_.data(); }
  const std::uint8_t* low() const noexcept { return low_.data(); }
  std::size_t nbytes() const noexcept;
  /// What the 8-bit code says of a row, as floats; under cosine its length is near 1.
  void decode(std::size_t row, float* to) const noexcept;
  [[gnu::always_inline]] void prefetch(std::size_t row, std::size_t n = 1) const noexcept {
    engine::prefetch(high_.data() + row * row_bytes_, n * row_bytes_);
    engine::prefetch(low_.data() + row * row_bytes_, n * row_bytes_);
  }

  /// Scale and packed (error, norm) of the 4-bit and of the 8-bit code.
  const Buffer<float>& scale4() const noexcept { return scale4_; }
  const Buffer<float>& scale8() const noexcept { return scale8_; }
  const Buffer<std::uint32_t>& bound4() const noexcept { return bound4_; }
  const Buffer<std::uint32_t>& bound8() const noexcept { return bound8_; }
  /// |w|^2 / 2 rounded down; empty unless l2.
  const Buffer<float>& bias() const noexcept { return bias_; }

  /// The parts as they are stored, and codes from stored parts: sizes are checked, values only bound the speed.
  struct Parts {
    std::vector<float> center;
    Buffer<std::uint8_t> high, low;
    Buffer<float> scale4, scale8, bias;
    Buffer<std::uint32_t> bound4, bound8;
  };
  Parts parts() const { return {center_, high_, low_, scale4_, scale8_, bias_, bound4_, bound8_}; }
  static NibbleCodes from_parts(std::size_t dim, Metric metric, std::size_t n_rows, Parts parts);

 private:
  void set_center(std::vector<float> center);

  std::size_t dim_;
  std::size_t row_bytes_;
  Metric metric_;
  std::size_t n_rows_ = 0;
  std::vector<float> center_;
  double center_norm_ = 0;
  Buffer<std::uint8_t> high_, low_;  // kReadAhead bytes longer than the rows
  Buffer<float> scale4_, scale8_, bias_;
  Buffer<std::uint32_t> bound4_, bound8_;
};

/// A row as floats, whatever it is kept as.
inline void read_row(const RowsView& rows, std::size_t row, float* to) {
  if (rows.dtype == Dtype::i8)
    rows.codes->decode(row, to);
  else
    kernels::active().load[static_cast<int>(rows.dtype)](rows.row(row), rows.dim, to);
}

/// Asks the memory for a row that will be needed soon.
[[gnu::always_inline]] inline void prefetch(const RowsView& rows, std::size_t row) noexcept {
  if (rows.dtype == Dtype::i8) return rows.codes->prefetch(row);
  engine::prefetch(rows.row(row), rows.row_bytes());
}

}  // namespace engine::quant
