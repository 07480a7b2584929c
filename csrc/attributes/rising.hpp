#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace engine::attributes {

/// Which of `values` make up a longest rising subsequence: in O(n) steps if all do, else O(n log n).
inline std::vector<bool> longest_rising(std::span<const std::uint32_t> values) {
  constexpr std::uint32_t kNone = 0xffff'ffff;
  std::vector<std::uint32_t> lowest_end;  // of the rising subsequences of each length: where it ends
  std::vector<std::uint32_t> before(values.size());
  for (std::uint32_t i = 0; i < values.size(); ++i) {
    const bool is_longer = lowest_end.empty() || values[lowest_end.back()] < values[i];
    const auto place = is_longer ? lowest_end.end()
                                 : std::partition_point(lowest_end.begin(), lowest_end.end(),
                                                        [&](std::uint32_t end) { return values[end] < values[i]; });
    before[i] = place == lowest_end.begin() ? kNone : *(place - 1);
    if (is_longer)
      lowest_end.push_back(i);
    else
      *place = i;
  }
  std::vector<bool> rising(values.size());
  for (std::uint32_t i = lowest_end.empty() ? kNone : lowest_end.back(); i != kNone; i = before[i]) rising[i] = true;
  return rising;
}

}  // namespace engine::attributes
