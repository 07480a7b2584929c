#include "graph/pruner.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace engine::graph {

using kernels::kTileRows;

Pruner::Pruner(const quant::NibbleCodes& codes, const float* lift)
    : codes_(codes),
      lift_(lift),
      tile_(2 * codes.row_bytes() * kTileRows),
      signed_((2 * codes.row_bytes() + 63) / 64 * 64 * kTileRows),
      sums_(kTileRows),
      dots_(kTileRows * kTileRows),
      masks_(kTileRows),
      bounds_(kTileRows),
      scale_(kTileRows),
      norm_(kTileRows),
      lifts_(kTileRows),
      zero_(kTileRows) {}

float Pruner::distance(std::size_t a, std::size_t b) const noexcept {
  const float lift = lifts_[a] - lifts_[b];
  return norm_[a] + norm_[b] - 2 * scale_[a] * scale_[b] * static_cast<float>(dots_[a * kTileRows + b]) + lift * lift;
}

std::span<const std::uint32_t> Pruner::choose(std::uint32_t row, std::span<const std::uint32_t> candidates, std::size_t degree,
                                              float alpha) {
  rows_.assign(1, row);
  rows_.insert(rows_.end(), candidates.begin(), candidates.end());
  const std::size_t n = rows_.size(), half = codes_.row_bytes();
  kernels_.pack_codes(codes_.high(), codes_.low(), half, rows_.data(), n, tile_.data());
  kernels_.signed_codes(tile_.data(), half / 2, n, signed_.data(), sums_.data());
  for (std::size_t i = 0; i < n; ++i) {
    bounds_[i] = {-136 * sums_[i], 0, 0, -std::numeric_limits<float>::infinity()};  // nothing is ruled out
    scale_[i] = codes_.scale8()[rows_[i]];
    lifts_[i] = lift_ ? lift_[rows_[i]] : 0;
  }
  kernels_.screen_tile_i8(tile_.data(), half / 2, signed_.data(), signed_.size() / kTileRows, bounds_.data(), n,
                          {zero_.data(), zero_.data(), nullptr}, masks_.data(), dots_.data());
  if (kernels_.query_limit < 127)  // signed codes were halved to fit it
    for (std::size_t i = 0; i < n * kTileRows; ++i) dots_[i] *= 2;
  // Only ratios of distances count: with the largest scale 1, no square of a row's leaves the range of float32.
  float largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max({largest, std::abs(scale_[i]), lifts_[i]});
  if (largest > 0)
    for (std::size_t i = 0; i < n; ++i) {
      scale_[i] /= largest;
      lifts_[i] /= largest;
    }
  for (std::size_t i = 0; i < n; ++i) norm_[i] = scale_[i] * scale_[i] * static_cast<float>(dots_[i * kTileRows + i]);

  std::array<float, kTileRows> away;    // from `row`
  std::array<float, kTileRows> hidden;  // how much nearer to a chosen one
  std::array<std::uint8_t, kTileRows> order;
  for (std::size_t i = 1; i < n; ++i) {
    away[i] = std::max(0.0f, distance(0, i));  // 0 too where codes of a damaged file make it NaN, which nothing could sort
    hidden[i] = 0;
    order[i - 1] = static_cast<std::uint8_t>(i);
  }
  std::sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n - 1),
            [&](std::uint8_t a, std::uint8_t b) { return away[a] != away[b] ? away[a] < away[b] : rows_[a] < rows_[b]; });
  chosen_.clear();
  constexpr float kTaken = std::numeric_limits<float>::infinity();
  for (const float limit : {1.0f, alpha * alpha}) {
    for (std::size_t place = 0; place + 1 < n && chosen_.size() < degree; ++place) {
      const std::size_t c = order[place];
      if (hidden[c] > limit) continue;
      hidden[c] = kTaken;
      chosen_.push_back(rows_[c]);
      for (std::size_t i = 1; i < n; ++i) {
        const float between = distance(c, i);
        // Copies of one vector hide each other: one link to them is enough.
        hidden[i] = std::max(hidden[i], between > 0 ? away[i] / between : kTaken);
      }
    }
    if (alpha <= 1) break;
  }
  return chosen_;
}

}  // namespace engine::graph
