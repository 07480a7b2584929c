#include "exact/prepared_queries.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "util/rounding.hpp"
#include "util/scratch.hpp"

namespace engine::exact {
float PreparedQuery::threshold(double limit) const noexcept {
  const double distance = beyond(limit);
  const double score = metric == Metric::cosine ? 1 - distance : metric == Metric::ip ? -distance : (squared - distance) / 2;
  const double least = (score - shift - slack - std::abs(score) * 0x1p-40) / scale;
  // Near the end of the float range a term of the bound may overflow: nothing is ruled out there.
  return least < -1e38 ? -std::numeric_limits<float>::infinity() : round_down(least);
}

CodedQueries::CodedQueries(MatrixView queries, const quant::NibbleCodes& codes, Layout layout, const double* squared)
    : prepared_(queries.n_rows) {
  const std::size_t dim = queries.dim, half = codes.row_bytes();
  const std::size_t padded = layout == Layout::scan ? (half + 63) / 64 * 64 : half;
  const int limit = layout == Layout::scan ? 127 : kernels::active().query_limit;
  const Metric metric = codes.metric();
  stride_ = 2 * padded;
  codes_ = std::make_unique_for_overwrite<std::int8_t[]>(queries.n_rows * stride_);
  Scratch<double, 1024> work(dim);
  const float* const center = codes.center().data();
  for (std::size_t q = 0; q < queries.n_rows; ++q) {
    const float* const y = queries.row(q);
    const double length = std::sqrt(squared ? squared[q] : kernels::active().squared_norm[0](y, dim));
    PreparedQuery& query = prepared_[q];
    query.metric = metric;
    query.center = codes.center_norm();
    const double factor = metric == Metric::cosine ? 1 / length : 1, subtracted = metric == Metric::l2 ? 1 : 0;
    std::int8_t* const own = codes_.get() + q * stride_;
    kernels::EncodedQuery code;
    kernels::active().encode_query(y, factor, subtracted, center, dim, limit, work.data(), own, &code);
    query.scale = code.scale;
    query.sum = code.sum;
    std::fill(own + dim, own + 2 * half, std::int8_t{0});
    if (padded > half) {
      std::copy_backward(own + half, own + 2 * half, own + padded + half);
      std::fill(own + half, own + padded, std::int8_t{0});
      std::fill(own + padded + half, own + stride_, std::int8_t{0});
    }

    const double magnitude = metric == Metric::cosine ? 1 : length + (metric == Metric::l2 ? codes.center_norm() : 0);
    query.norm = std::max(1.0, std::sqrt(code.norm) * (1 + 0x1p-30));
    query.rest = (std::sqrt(code.rest) * (1 + 0x1p-30) + 0x1p-44 * magnitude / query.scale) / query.norm * (1 + 0x1p-30);
    rest_ = std::max(rest_, query.rest);
    if (metric == Metric::l2) {
      query.squared = code.squared;
      query.slack = 0x1p-40 * code.squared + 0x1p-44 * magnitude * std::sqrt(code.squared);
    } else {
      query.shift = code.shift;
      query.slack = 0x1p-36 * codes.center_norm() * magnitude + (metric == Metric::cosine ? 0x1p-40 : 0);
    }
  }
}

FloatQueries::FloatQueries(MatrixView queries, Metric metric, const double* squared)
    : dim_(queries.dim), given_(queries.row(0)), prepared_(queries.n_rows) {
  const auto is_usual = [](double x) { return x > 1e-20 && x < 1e20; };
  if (!std::all_of(squared, squared + queries.n_rows, is_usual))
    scaled_ = std::make_unique_for_overwrite<float[]>(queries.n_rows * dim_);
  for (std::size_t q = 0; q < queries.n_rows; ++q) {
    const double length = std::sqrt(squared[q]), least = metric == Metric::cosine ? length : std::max(length, 1e-30);
    const double divisor = scaled_ ? least : 1;
    const double factor = 1 / divisor;  // one rounding in float64 more than a division, within `rest()` like its own
    if (scaled_)
      for (std::size_t j = 0; j < dim_; ++j) scaled_[q * dim_ + j] = static_cast<float>(queries.row(q)[j] * factor);
    PreparedQuery& query = prepared_[q];
    query.metric = metric;
    query.scale = metric == Metric::cosine ? divisor / length : divisor;
    query.norm = (scaled_ ? 1 : length) * (1 + 0x1p-20);
    query.rest = rest();
    if (metric == Metric::l2) query.squared = squared[q];
    query.slack = 0x1p-40 * (metric == Metric::cosine ? 1 : query.squared);
  }
}

}  // namespace engine::exact
