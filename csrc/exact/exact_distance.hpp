#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/matrix_view.hpp"
#include "kernels/table.hpp"
#include "quant/nibble_codes.hpp"
#include "util/prefetch.hpp"

namespace engine::exact {

/// What results are ordered by: the distance as it is returned, so that equal returned distances are ties. Beyond the range of
/// float32, where the returned value is cut to the largest float, the float64 value goes on to order. NaN, which only rows of a
/// damaged file give, has no place in an order: it comes last.
inline double order_key(double distance) noexcept {
  if (std::abs(distance) <= std::numeric_limits<float>::max()) return static_cast<double>(static_cast<float>(distance)) + 0.0;
  return std::isnan(distance) ? std::numeric_limits<double>::infinity() : distance;
}
inline float returned_distance(double key) noexcept {
  constexpr double kMost = std::numeric_limits<float>::max();
  return static_cast<float>(key > kMost ? kMost : key < -kMost ? -kMost : key);
}

/// Distances of one query in float64 with a fixed order of summation: the same bits for every path, batch, instruction set and
/// number of threads.
class ExactDistance {
 public:
  /// `query_norm` is the squared one, as kernels give it.
  ExactDistance(RowsView rows, Metric metric, const float* query, double query_norm)
      : rows_(rows), metric_(metric), query_(query), query_norm_(query_norm) {}
  ExactDistance(RowsView rows, Metric metric, const float* query)
      : ExactDistance(rows, metric, query, kernels::active().squared_norm[0](query, rows.dim)) {}

  /// NaN or Inf where the row holds NaN or Inf, or is zero under cosine; never for other rows.
  double operator()(std::size_t row) const {
    const void* x = rows_.row(row);
    auto dtype = static_cast<std::size_t>(rows_.dtype);
    if (rows_.dtype == Dtype::i8) {
      decoded_.resize(rows_.dim);
      rows_.codes->decode(row, decoded_.data());
      x = decoded_.data();
      dtype = 0;
    }
    if (metric_ == Metric::l2) return kernels_.squared_l2[dtype](query_, x, rows_.dim);
    double dot, norm;
    kernels_.dot_norm[dtype](query_, x, rows_.dim, &dot, &norm);
    if (metric_ == Metric::ip) return -dot;
    // sqrt(a * a) is a: a row equal to the query is at distance 0, not at one rounding of it.
    const double distance = 1 - dot / std::sqrt(norm * query_norm_);
    if (distance >= 1e-6) return distance < 2 ? distance : 2;
    return std::isfinite(distance) ? close_cosine(row, norm) : distance;
  }

  /// Calls `visit(i)` for n rows that are `row_at(i)`. The memory is asked for a few of them and their `ids` (null: none) ahead,
  /// unless the caches have them: all at once would wait for each other.
  template <class RowAt, class Visit>
  void in_turn(std::size_t n, RowAt row_at, const std::int64_t* ids, bool are_cached, Visit visit) const {
    if (are_cached) {
      for (std::size_t i = 0; i < n; ++i) visit(i);
      return;
    }
    constexpr std::size_t kAhead = 8;
    const auto ask_for = [&](std::size_t row) __attribute__((always_inline)) {
      quant::prefetch(rows_, row);
      if (ids) prefetch(ids + row);
    };
    for (std::size_t i = 0; i < std::min(kAhead, n); ++i) ask_for(row_at(i));
    for (std::size_t i = 0; i < n; ++i) {
      if (i + kAhead < n) ask_for(row_at(i + kAhead));
      visit(i);
    }
  }

 private:
  /// |x / |x| - y / |y||^2 / 2 has no cancellation where 1 - cos has nothing else.
  double close_cosine(std::size_t row, double norm) const {
    decoded_.resize(rows_.dim);
    quant::read_row(rows_, row, decoded_.data());
    const double row_scale = 1 / std::sqrt(norm), query_scale = 1 / std::sqrt(query_norm_);
    std::array<double, 8> totals{};  // each addition waits for the one before
    const auto add = [&](std::size_t i, std::size_t j) {
      const double difference = decoded_[j] * row_scale - query_[j] * query_scale;
      totals[i] += difference * difference;
    };
    std::size_t j = 0;
    for (; j + totals.size() <= rows_.dim; j += totals.size())
      for (std::size_t i = 0; i < totals.size(); ++i) add(i, j + i);
    for (; j < rows_.dim; ++j) add(0, j);
    return std::accumulate(totals.begin(), totals.end(), 0.0) / 2;
  }

  const kernels::Table& kernels_ = kernels::active();
  RowsView rows_;
  Metric metric_;
  const float* query_;
  double query_norm_;                   // squared
  mutable std::vector<float> decoded_;  // a row, where it is not read in place
};

}  // namespace engine::exact
