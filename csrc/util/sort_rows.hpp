#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace engine {

/// Sorts row numbers by their digits: no branch is taken wrongly at every other comparison.
inline void sort_rows(std::vector<std::uint32_t>& rows) {
  if (std::ranges::is_sorted(rows)) return;
  constexpr std::size_t kWorth = 32, kMany = 512;
  if (rows.size() < kWorth) {
    std::ranges::sort(rows);
    return;
  }
  constexpr int kMostBits = 11;
  // Of few rows it takes longer to count digits of many values than to go over them once more.
  const int most_bits = rows.size() < kMany ? 8 : kMostBits;
  std::uint32_t any = 0;
  for (const std::uint32_t row : rows) any |= row;
  const int n_bits = std::bit_width(any), n_digits = (n_bits + most_bits - 1) / most_bits;
  const int width = (n_bits + n_digits - 1) / n_digits;
  const std::uint32_t n_values = 1u << width, mask = n_values - 1;
  std::vector<std::uint32_t> sorted(rows.size());
  std::array<std::uint32_t, 1 << kMostBits> places;
  for (int shift = 0; shift < n_bits; shift += width) {
    std::fill_n(places.begin(), n_values, 0u);
    for (const std::uint32_t row : rows) ++places[row >> shift & mask];
    std::uint32_t n_before = 0;
    for (std::uint32_t value = 0; value < n_values; ++value) n_before += std::exchange(places[value], n_before);
    for (const std::uint32_t row : rows) sorted[places[row >> shift & mask]++] = row;
    rows.swap(sorted);
  }
}

}  // namespace engine
