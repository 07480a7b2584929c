#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace engine::attributes {

/// Which of `values` make up a longest strictly rising subsequence: in O(n) if all do, else O(n log n).
inline std::vector<bool> longest_rising(std::span<const std::uint32_t> values) {
  if (std::is_sorted(values.begin(), values.end(), std::less_equal<>())) return std::vector<bool>(values.size(), true);
  constexpr std::uint32_t kNone = 0xffff'ffff;
  // Of the rising subsequences of each length so far: the lowest value that one ends with, and its place.
  std::vector<std::uint32_t> lowest, places;
  std::vector<std::uint32_t> before(values.size());
  for (std::uint32_t i = 0; i < values.size(); ++i) {
    const auto length = static_cast<std::size_t>(std::lower_bound(lowest.begin(), lowest.end(), values[i]) - lowest.begin());
    before[i] = length ? places[length - 1] : kNone;
    if (length == lowest.size()) {
      lowest.push_back(values[i]);
      places.push_back(i);
    } else {
      lowest[length] = values[i];
      places[length] = i;
    }
  }
  std::vector<bool> rising(values.size());
  for (std::uint32_t i = places.back(); i != kNone; i = before[i]) rising[i] = true;
  return rising;
}

}  // namespace engine::attributes
