#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace engine {

/// The least float that is not below `value`; +inf above the range.
inline float round_up(double value) noexcept {
  if (value > std::numeric_limits<float>::max()) return std::numeric_limits<float>::infinity();
  if (value < -std::numeric_limits<float>::max()) return -std::numeric_limits<float>::max();
  const float near = static_cast<float>(value);
  return near < value ? std::nextafter(near, std::numeric_limits<float>::infinity()) : near;
}

/// The largest float that is not above `value`; -inf below the range.
inline float round_down(double value) noexcept { return -round_up(-value); }

/// Two non-negative bounds in one word, each rounded up to bfloat16: the first in the high half.
inline std::uint32_t pack_bounds(double first, double second) noexcept {
  const auto up = [](double value) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(round_up(value));
    return bits / 0x10000 + (bits % 0x10000 != 0);  // never past infinity, whose low half is zero
  };
  return up(first) << 16 | up(second);
}
inline float first_bound(std::uint32_t word) noexcept { return std::bit_cast<float>(word & 0xffff0000u); }
inline float second_bound(std::uint32_t word) noexcept { return std::bit_cast<float>(word << 16); }

}  // namespace engine
