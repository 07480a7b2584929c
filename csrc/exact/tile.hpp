#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "engine/bitmap.hpp"
#include "engine/matrix_view.hpp"
#include "kernels/table.hpp"

namespace engine::exact {

using kernels::kTileRows;

constexpr std::uint64_t first_bits(std::size_t n) noexcept { return n < 64 ? (std::uint64_t{1} << n) - 1 : ~std::uint64_t{0}; }

template <class Visit>
void for_each_bit(std::uint64_t mask, Visit&& visit) {
  for (; mask; mask &= mask - 1) visit(static_cast<std::size_t>(std::countr_zero(mask)));
}

/// Rows to look at. Those a filter allows are gathered into tiles, so that the work falls with their number; a scan, which waits
/// for memory, goes past the others instead where it would have to fetch most of their neighbours anyway.
class RowSet {
 public:
  /// `n_scanning`: queries that share a scan, 0 where tiles are made of the rows.
  RowSet(std::size_t n_rows, const Bitmap* filter, std::size_t n_scanning) : size_(n_rows) {
    if (!filter) return;
    check_fits(*filter, n_rows);
    const std::size_t n_allowed = filter->count();
    // In order the first query takes 0.47 of the time for a row, each further one the same.
    if (n_scanning && n_allowed * (5 * n_scanning + 14) > n_rows * (5 * n_scanning + 4)) {
      mask_ = filter;
      return;
    }
    size_ = n_allowed;
    gathered_ = filter->listed();
    if (gathered_) return;
    own_.resize(size_);
    filter->for_each([next = own_.data()](std::size_t row) mutable { *next++ = static_cast<std::uint32_t>(row); });
    gathered_ = own_;
  }
  RowSet(const RowSet&) = delete;

  std::size_t size() const noexcept { return size_; }
  /// The gathered rows; null where all rows are looked at.
  const std::uint32_t* gathered() const noexcept { return gathered_ ? gathered_->data() : nullptr; }
  /// Which of the `n` rows from `first` on, a multiple of 64, count.
  std::uint64_t present(std::size_t first, std::size_t n) const noexcept {
    return mask_ ? mask_->word(first / 64) & first_bits(n) : first_bits(n);
  }

 private:
  std::size_t size_;
  const Bitmap* mask_ = nullptr;
  std::optional<std::span<const std::uint32_t>> gathered_;
  std::vector<std::uint32_t> own_;
};

inline constexpr std::array<std::uint32_t, kTileRows> kFirstRows = [] {
  std::array<std::uint32_t, kTileRows> rows{};
  std::iota(rows.begin(), rows.end(), 0u);
  return rows;
}();

/// What bounds the distances of up to 64 rows.
struct Terms {
  alignas(64) std::array<float, kTileRows> scale, error, norm, bias;

  kernels::RowBounds bounds(Metric metric, std::size_t n, const std::array<float, kTileRows>& error) const noexcept {
    return {scale.data(), error.data(), metric == Metric::l2 ? bias.data() : nullptr, n};
  }
};

/// Up to 64 rows and what the bounds need of them.
struct Tile {
  std::size_t n = 0;
  std::size_t n_ahead = 0;    // rows listed behind these, which come next
  std::uint64_t present = 0;  // rows that count
  const std::uint32_t* rows = nullptr;
  std::array<std::uint32_t, kTileRows> neighbours;
  Terms terms{};
  alignas(64) std::array<float, kTileRows> error{};  // with the rest of all queries, to screen by
  std::array<std::uint32_t, kTileRows> words{};

  bool contiguous() const noexcept { return rows[n - 1] - rows[0] + 1 == n; }

  void fetch(const RowSet& set, std::size_t first, std::size_t end) {
    n = std::min(kTileRows, end - first);
    present = set.present(first, n);
    if (set.gathered()) {
      rows = set.gathered() + first;
      n_ahead = std::min(kTileRows, end - first - n);
    } else {
      std::iota(neighbours.begin(), neighbours.end(), static_cast<std::uint32_t>(first));
      rows = neighbours.data();
      n_ahead = 0;
    }
  }
  kernels::RowBounds bounds(Metric metric) const noexcept { return terms.bounds(metric, n, error); }
};

}  // namespace engine::exact
