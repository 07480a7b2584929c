#include "quant/rotation.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>

#include "kernels/table.hpp"

namespace engine::quant {

Rotation::Rotation(std::size_t dim) : dim_(dim), padded_((dim + 15) / 16 * 16), order_(std::bit_floor(padded_)) {
  std::mt19937_64 random(20'260'101);  // always the same: stored codes depend on it
  const float scale = 1 / std::sqrt(static_cast<float>(order_));
  for (std::vector<float>& signs : signs_) {
    signs.resize(order_);
    for (float& sign : signs) sign = random() >> 63 ? scale : -scale;
  }
}

void Rotation::apply(const float* from, float* to) const noexcept {
  std::fill(std::copy_n(from, dim_, to), to + padded_, 0.0f);
  for (std::size_t stage = 0; stage < kStages; ++stage) {
    float* const first = stage % 2 ? to + padded_ - order_ : to;
    const float* const signs = signs_[stage].data();
    for (std::size_t j = 0; j < order_; ++j) first[j] *= signs[j];
    kernels::active().hadamard(first, order_);
  }
}

}  // namespace engine::quant
