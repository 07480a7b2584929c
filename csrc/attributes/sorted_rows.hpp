#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "attributes/row_set.hpp"

namespace engine::attributes {

/// The rows of a column of numbers by their values, without those that are NULL.
///
/// Forty steps keep the set of all rows before them, so that a slice of any length is the difference of two of those sets and
/// of no more than a fortieth of the rows.
class SortedRows {
 public:
  template <class T>
  SortedRows(std::span<const T> values, const RowSet& nulls) : n_rows_(values.size()) {
    std::vector<std::pair<T, std::uint32_t>> pairs;
    pairs.reserve(n_rows_);
    for (std::size_t row = 0; row < n_rows_; ++row)
      if (!nulls.test(row)) pairs.emplace_back(values[row], static_cast<std::uint32_t>(row));
    std::sort(pairs.begin(), pairs.end());
    rows_.reserve(pairs.size());
    for (const auto& pair : pairs) rows_.push_back(pair.second);
    step_ = std::max<std::size_t>(rows_.size() / kSteps, 1024);
    RowSet before(n_rows_);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (i && i % step_ == 0) before_.push_back(before);
      before.toggle(rows_[i]);
    }
  }

  std::size_t n_rows() const noexcept { return n_rows_; }
  std::size_t size() const noexcept { return rows_.size(); }
  std::size_t nbytes() const noexcept {
    return rows_.capacity() * sizeof(rows_[0]) + before_.size() * (sizeof(RowSet) + (n_rows_ + 63) / 64 * 8);
  }

  /// How many rows come before all those for which `is_before(row)` is false.
  template <class IsBefore>
  std::size_t position(IsBefore&& is_before) const {
    return static_cast<std::size_t>(std::partition_point(rows_.begin(), rows_.end(), is_before) - rows_.begin());
  }

  /// Adds the rows from position `begin` to `end`, which `found` does not have yet; leaves its count alone.
  void add_to(RowSet& found, std::size_t begin, std::size_t end) const noexcept {
    if (end - begin <= step_) {
      toggle(found, begin, end);
    } else {
      toggle_before(found, begin);
      toggle_before(found, end);
    }
  }

 private:
  static constexpr std::size_t kSteps = 40;

  void toggle(RowSet& found, std::size_t begin, std::size_t end) const noexcept {
    for (std::size_t i = begin; i < end; ++i) found.toggle(rows_[i]);
  }
  /// All rows before `position`: those of the nearest step, and what lies between.
  void toggle_before(RowSet& found, std::size_t position) const noexcept {
    const std::size_t nearest = std::min((position + step_ / 2) / step_, before_.size());
    if (nearest) found ^= before_[nearest - 1];
    toggle(found, std::min(position, nearest * step_), std::max(position, nearest * step_));
  }

  std::size_t n_rows_;
  std::size_t step_;
  std::vector<std::uint32_t> rows_;
  std::vector<RowSet> before_;
};

}  // namespace engine::attributes
