#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "engine/matrix_view.hpp"
#include "exact/exact_distance.hpp"
#include "quant/nibble_codes.hpp"

namespace engine::exact {

/// Lower and upper bound of a distance.
struct Interval {
  double low, high;
};

/// What the bound of docs/certified_exact.md needs of one query. The score it bounds is <w, v>: w the coded row, v the query
/// (divided by its norm under cosine, minus the center under l2). `v` is kept as `scale * z` plus a rest.
struct PreparedQuery {
  Metric metric;
  double scale;          // of the coded query: v ~ scale * z
  double norm;           // |z|, rounded up, at least 1
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
  /// Bounds of the distance from a score over `scale` and its error.
  Interval distance(double score, double error, double bias) const noexcept {
    const double s = score * scale + shift;
    const double e = error * scale * (1 + 0x1p-40) + slack;
    switch (metric) {
      case Metric::cosine:
        return {1 - s - e, 1 - s + e};
      case Metric::ip:
        return {-s - e, -s + e};
      default: {
        // `bias` is |w|^2 / 2 rounded down; this is its other side.
        const double w = bias < std::numeric_limits<float>::max() ? std::sqrt(2 * bias) * (1 + 0x1p-19) + 0x1p-44 * center + 1e-22
                                                                  : std::numeric_limits<double>::infinity();
        return {squared + 2 * bias - 2 * (s + e), squared * (1 + 0x1p-40) + w * w - 2 * (s - e)};
      }
    }
  }
};

/// A block of queries coded in 8 bits.
class CodedQueries {
 public:
  /// For a scan low and high dims lie apart, each padded to 64 bytes, for tiles side by side.
  enum class Layout { scan, tiles };
  CodedQueries(MatrixView queries, const quant::NibbleCodes& codes, Layout layout = Layout::scan);

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

/// The same block as floats of unit length, for tiles of uncoded rows (center 0).
class FloatQueries {
 public:
  FloatQueries(MatrixView queries, Metric metric);

  const PreparedQuery& operator[](std::size_t q) const noexcept { return prepared_[q]; }
  const float* values(std::size_t q) const noexcept { return values_.get() + q * dim_; }
  double rest() const noexcept { return 0x1p-22; }

 private:
  std::size_t dim_;
  std::vector<PreparedQuery> prepared_;
  std::unique_ptr<float[]> values_;
};

}  // namespace engine::exact
