#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/table.hpp"
#include "quant/nibble_codes.hpp"

namespace engine::graph {

/// Chooses the links of a row among candidates: near ones that are not behind a nearer one (RobustPrune of Vamana, in two
/// passes). All distances among the candidates come from one product of their 8-bit codes.
class Pruner {
 public:
  static constexpr std::size_t kMost = kernels::kTileRows - 1;  // candidates

  /// `lift`: what makes inner products a distance (null: nothing), see Builder.
  Pruner(const quant::NibbleCodes& codes, const float* lift);

  /// The links of `row`, at most `degree` of up to kMost `candidates`, nearest first. With `alpha` > 1 a candidate stays unless
  /// it is that much nearer to a chosen one than to `row`. The result is valid until the next call.
  std::span<const std::uint32_t> choose(std::uint32_t row, std::span<const std::uint32_t> candidates, std::size_t degree,
                                        float alpha);

 private:
  float distance(std::size_t a, std::size_t b) const noexcept;

  const quant::NibbleCodes& codes_;
  const float* lift_;
  const kernels::Table& kernels_ = kernels::active();
  std::vector<std::uint8_t> tile_;
  std::vector<std::int8_t> signed_;
  std::vector<std::int32_t> sums_, dots_;
  std::vector<std::uint64_t> masks_;
  std::vector<kernels::QueryBounds> bounds_;
  std::vector<float> scale_, norm_, lifts_, zero_;
  std::vector<std::uint32_t> rows_, chosen_;
};

}  // namespace engine::graph
