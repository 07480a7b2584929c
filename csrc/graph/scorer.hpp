#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "exact/prepared_queries.hpp"
#include "kernels/table.hpp"
#include "quant/nibble_codes.hpp"
#include "util/prefetch.hpp"

namespace engine::graph {

/// Keys of rows for one coded query from the 4-bit codes: smaller is closer, comparable within one query only.
/// key = extra * factor - <code, z> * scale; `extra` is |w|^2 / 2 under l2, or what makes inner products a distance in a build.
class NibbleScorer {
 public:
  static constexpr std::size_t kMost = kernels::kTileRows;  // rows in one call

  /// `query` as scans take it, and what was prepared with it; `extra` counts `weight` times.
  NibbleScorer(const quant::NibbleCodes& codes, const std::int8_t* query, const exact::PreparedQuery& prepared,
               const float* extra, float weight = 1)
      : codes_(codes), query_(query), start_(-8 * prepared.sum), extra_(extra), factor_(weight * inverse(prepared.scale)) {}

  [[gnu::always_inline]] void prefetch(std::uint32_t row) const noexcept {
    engine::prefetch(codes_.high() + row * codes_.row_bytes(), codes_.row_bytes());
    engine::prefetch(codes_.scale4().data() + row);
  }

  void operator()(const std::uint32_t* rows, std::size_t n, float* keys) const noexcept {
    if (n == 0) return;
    std::array<std::int32_t, kMost> dots;
    kernels_.dot_nibbles(codes_.high(), codes_.row_bytes(), rows, n, 0, query_, dots.data());
    const float* const scale = codes_.scale4().data();
    for (std::size_t i = 0; i < n; ++i) keys[i] = -static_cast<float>(dots[i] + start_) * scale[rows[i]];
    if (extra_)
      for (std::size_t i = 0; i < n; ++i) keys[i] += extra_[rows[i]] * factor_;
  }

 private:
  /// Zeros have the least scale there is, by which the keys of long rows would be infinite; but all their products are 0.
  static float inverse(double scale) noexcept { return scale > 1e-30 ? static_cast<float>(1 / scale) : 1; }

  const quant::NibbleCodes& codes_;
  const std::int8_t* query_;
  std::int32_t start_;
  const float* extra_;
  float factor_;
  const kernels::Table& kernels_ = kernels::active();
};

}  // namespace engine::graph
