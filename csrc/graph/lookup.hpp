#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/table.hpp"

namespace engine::graph {

/// Tables of one turned query: what the signs of four dims say of <sign, query>. Dims are rounded to steps of which four make
/// 127 at most, so that sums are of bytes.
class Lookup {
 public:
  /// `turned` has a multiple of 16 dims; `unit` is what keys of NibbleScorer for that query are multiplied by.
  void prepare(const float* turned, std::size_t dim, float unit);

  const std::uint8_t* tables() const noexcept { return tables_.data(); }
  kernels::Estimate terms(float base, float worst) const noexcept { return {base, step_, offset_, worst}; }
  float unit() const noexcept { return unit_; }

 private:
  std::vector<std::uint8_t> tables_, sizes_;
  float step_ = 0, offset_ = 0, unit_ = 1;
};

}  // namespace engine::graph
