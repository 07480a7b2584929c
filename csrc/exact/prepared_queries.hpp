#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/matrix_view.hpp"
#include "exact/exact_distance.hpp"
#include "quant/nibble_codes.hpp"

namespace engine::exact {

/// How much of |w| the error of a query may cost, with room for the roundings of the float32 bound (docs/certified_exact.md).
inline double inflated(double rest) noexcept { return rest * (1 + 0x1p-18) + 0x1p-19; }

/// What the bound of docs/certified_exact.md needs of one query. The score it bounds is <w, v>: w the coded row, v the query
/// (divided by its norm under cosine, minus the center under l2). `v` is kept as `scale * z` plus a rest.
struct PreparedQuery {
  Metric metric;
  double scale;          // of the coded query: v ~ scale * z
  double norm;           // |z|, rounded up; of codes at least 1
  double rest;           // |v - scale z| / scale / norm, rounded up
  double shift = 0;      // <center, v>: what centering took from the score
  double squared = 0;    // l2: |v|^2
  double slack = 0;      // rounding of `shift` and `squared`, in units of the score
  double center = 0;     // l2: |center|
  std::int32_t sum = 0;  // of z

  /// Whatever has a distance above this cannot be among results that end at `limit`: covers rounding to float32.
  static double beyond(double limit) noexcept { return limit + std::abs(limit) * 0x1p-22 + 1e-40; }

  /// A row whose upper bound of the score over `scale` is below this has a distance beyond `limit`.
  float threshold(double limit) const noexcept;
  /// What bounds a distance, from scores over `scale` and their errors over `norm`.
  kernels::DistanceBounds bounds() const noexcept {
    const double base = metric == Metric::l2 ? squared : metric == Metric::cosine ? 1 : 0, times = metric == Metric::l2 ? 2 : 1;
    kernels::DistanceBounds bounds{};
    bounds.low = base - times * (shift + slack);
    bounds.high = base - times * (shift - slack);
    bounds.score = -times * scale;
    bounds.error = times * norm * scale * (1 + 0x1p-40);
    bounds.rest = bounds.error * inflated(rest);
    if (metric == Metric::l2) {
      // `bias` is |w|^2 / 2 rounded down. Its other side is half of (|w| (1 + 2^-19) + more)^2, and 2 a b <= a^2 / t + b^2 t.
      const double more = 0x1p-44 * center + 1e-22;
      bounds.high += squared * 0x1p-40 + more * more * 0x1p20;
      bounds.bias_low = 2;
      bounds.bias_high = 2 * (1 + 0x1p-17);
    }
    return bounds;
  }
};

/// A block of queries coded in 8 bits.
class CodedQueries {
 public:
  /// For a scan low and high dims lie apart, each padded to 64 bytes, for tiles side by side.
  enum class Layout { scan, tiles };
  /// `squared`: squared lengths of the queries; null: not known yet.
  CodedQueries(MatrixView queries, const quant::NibbleCodes& codes, Layout layout = Layout::scan,
               const double* squared = nullptr);

  const PreparedQuery& operator[](std::size_t q) const noexcept { return prepared_[q]; }
  const std::int8_t* codes(std::size_t q) const noexcept { return codes_.get() + q * stride_; }
  std::size_t stride() const noexcept { return stride_; }
  double rest() const noexcept { return rest_; }  // the largest of the block

 private:
  std::size_t stride_;
  std::vector<PreparedQuery> prepared_;
  std::unique_ptr<std::int8_t[]> codes_;
  double rest_ = 0;
};

/// The same block as floats, for tiles of uncoded rows (center 0): as they are, or where any is so long or short that float32
/// sums might not hold it, all of unit length.
class FloatQueries {
 public:
  FloatQueries(MatrixView queries, Metric metric, const double* squared);

  const PreparedQuery& operator[](std::size_t q) const noexcept { return prepared_[q]; }
  const float* values(std::size_t q) const noexcept { return (scaled_ ? scaled_.get() : given_) + q * dim_; }
  double rest() const noexcept { return 0x1p-22; }

 private:
  std::size_t dim_;
  const float* given_;
  std::vector<PreparedQuery> prepared_;
  std::unique_ptr<float[]> scaled_;
};

}  // namespace engine::exact
