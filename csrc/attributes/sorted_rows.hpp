#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "attributes/row_set.hpp"

namespace engine::attributes {

/// The rows of a column of numbers by their values, those of one value ascending, without those that are NULL.
///
/// Where values are few it is known where the rows of each begin; otherwise the value of every 64th row is, so that a value is
/// sought among neighbours in memory. Forty steps or so keep the set of all rows before them: a slice of any length is the
/// difference of two of those sets and of the rows between its ends and theirs, a fortieth of all at most for each. Where values
/// are few, steps are where the rows of one begin.
template <class T>
class SortedRows {
 public:
  SortedRows(std::span<const T> values, const RowSet& nulls) : n_rows_(values.size()) {
    std::vector<std::pair<T, std::uint32_t>> pairs;
    pairs.reserve(n_rows_);
    for (std::size_t row = 0; row < n_rows_; ++row)
      if (!nulls.test(row)) pairs.emplace_back(values[row], static_cast<std::uint32_t>(row));
    std::sort(pairs.begin(), pairs.end());
    rows_.reserve(pairs.size());
    for (const auto& pair : pairs) rows_.push_back(pair.second);
    mark(pairs);
    choose_steps();
    RowSet before(n_rows_);
    std::size_t i = 0;
    for (const std::uint32_t step : steps_) {
      for (; i < step; ++i) before.toggle(rows_[i]);
      before_.push_back(before);
    }
  }

  std::size_t n_rows() const noexcept { return n_rows_; }
  std::size_t size() const noexcept { return rows_.size(); }
  std::size_t nbytes() const noexcept {
    return rows_.capacity() * sizeof(rows_[0]) + marked_.capacity() * sizeof(T) + starts_.capacity() * sizeof(starts_[0]) +
           steps_.capacity() * sizeof(steps_[0]) + before_.size() * (sizeof(RowSet) + n_words() * 8);
  }
  std::span<const std::uint32_t> rows(std::size_t begin, std::size_t n) const noexcept { return {rows_.data() + begin, n}; }

  /// How many rows come before all those for whose value `is_before` is false; `value_of(row)` is what a row had when this was
  /// made.
  template <class IsBefore, class ValueOf>
  std::size_t position(IsBefore&& is_before, ValueOf&& value_of) const {
    const auto mark = static_cast<std::size_t>(std::partition_point(marked_.begin(), marked_.end(), is_before) - marked_.begin());
    if (!starts_.empty() || mark == 0) return place(mark);
    const auto first = rows_.begin() + static_cast<std::ptrdiff_t>(place(mark - 1)),
               last = rows_.begin() + static_cast<std::ptrdiff_t>(place(mark));
    const auto found = std::partition_point(first, last, [&](std::uint32_t row) { return is_before(value_of(row)); });
    return static_cast<std::size_t>(found - rows_.begin());
  }

  /// Adds the rows from position `begin` to `end`, which `found` does not have yet; leaves its count alone.
  void add_to(RowSet& found, std::size_t begin, std::size_t end) const noexcept {
    const std::size_t first = nearest(begin), last = nearest(end);
    // To go over the words of a set takes as long as to toggle a row for every four of them.
    if (end - begin <= distance(begin, first) + distance(end, last) + n_words() / 2) return toggle(found, begin, end);
    toggle_before(found, begin, first);
    toggle_before(found, end, last);
  }

 private:
  static constexpr std::size_t kSteps = 40, kStride = 64, kShortest = 1024;

  std::size_t n_words() const noexcept { return (n_rows_ + 63) / 64; }
  /// Where the rows of a mark begin.
  std::size_t place(std::size_t mark) const noexcept {
    return mark == marked_.size() ? rows_.size() : starts_.empty() ? mark * kStride : starts_[mark];
  }
  void mark(std::span<const std::pair<T, std::uint32_t>> pairs) {
    std::vector<std::uint32_t> starts;
    for (std::size_t i = 0; i < pairs.size() && starts.size() <= pairs.size() / kStride; ++i)
      if (i == 0 || pairs[i - 1].first < pairs[i].first) starts.push_back(static_cast<std::uint32_t>(i));
    if (starts.size() <= pairs.size() / kStride) {
      starts_ = std::move(starts);
      starts_.shrink_to_fit();
      for (const std::uint32_t start : starts_) marked_.push_back(pairs[start].first);
    } else {
      for (std::size_t i = 0; i < pairs.size(); i += kStride) marked_.push_back(pairs[i].first);
    }
    marked_.shrink_to_fit();
  }
  void choose_steps() {
    const std::size_t step = std::max(rows_.size() / kSteps, kShortest);
    for (std::size_t position = step; position < rows_.size(); position += step) {
      std::size_t chosen = position;
      if (!starts_.empty()) {
        const auto next = std::ranges::lower_bound(starts_, position);
        chosen = next == starts_.end() ? rows_.size() : *next;
        if (next != starts_.begin() && position - *(next - 1) < chosen - position) chosen = *(next - 1);
        if (chosen == 0 || chosen == rows_.size() || (chosen > position ? chosen - position : position - chosen) > step / 2)
          continue;
      }
      if (steps_.empty() || steps_.back() < chosen) steps_.push_back(static_cast<std::uint32_t>(chosen));
    }
    // The rows of the last value, where they are many, have no step but the end.
    if (rows_.size() - (steps_.empty() ? 0 : steps_.back()) > step) steps_.push_back(static_cast<std::uint32_t>(rows_.size()));
  }

  /// How many steps the nearest set has: 0 is that of no rows.
  std::size_t nearest(std::size_t position) const noexcept {
    const auto next = static_cast<std::size_t>(std::ranges::lower_bound(steps_, position) - steps_.begin());
    return next < steps_.size() && distance(position, next + 1) < distance(position, next) ? next + 1 : next;
  }
  std::size_t distance(std::size_t position, std::size_t n_steps) const noexcept {
    const std::size_t step = n_steps ? steps_[n_steps - 1] : 0;
    return position > step ? position - step : step - position;
  }
  void toggle(RowSet& found, std::size_t begin, std::size_t end) const noexcept {
    for (std::size_t i = begin; i < end; ++i) found.toggle(rows_[i]);
  }
  /// All rows before `position`: those of so many steps, and what lies between.
  void toggle_before(RowSet& found, std::size_t position, std::size_t n_steps) const noexcept {
    if (n_steps) found ^= before_[n_steps - 1];
    const std::size_t step = n_steps ? steps_[n_steps - 1] : 0;
    toggle(found, std::min(position, step), std::max(position, step));
  }

  std::size_t n_rows_;
  std::vector<std::uint32_t> rows_;
  std::vector<T> marked_;              // values of some rows, ascending
  std::vector<std::uint32_t> starts_;  // and their positions: where each value begins; or none, and it is every 64th
  std::vector<std::uint32_t> steps_;
  std::vector<RowSet> before_;
};

}  // namespace engine::attributes
