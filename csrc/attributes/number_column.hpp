#pragma once
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "attributes/column.hpp"
#include "attributes/lazy.hpp"
#include "attributes/sorted_rows.hpp"
#include "util/sort_rows.hpp"

namespace engine::attributes {

/// int64, float64 or timestamp: values, and the rows sorted by them.
template <class T>
class NumberColumn final : public CellColumn<T> {
  using Base = CellColumn<T>;
  using Base::cells_, Base::nulls_, Base::has_value;
  using Index = SortedRows<T>;

 public:
  using Base::Base, Base::size;

  std::size_t nbytes() const noexcept override { return Base::nbytes() + index_.nbytes(); }

  Taken take(std::span<const std::int64_t> rows) const override {
    std::vector<T> values(rows.size());
    std::vector<std::uint8_t> nulls(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      values[i] = cells_[rows[i]];
      nulls[i] = !has_value(rows[i]);
    }
    return {std::move(values), std::move(nulls)};
  }

  Bitmap equal(std::span<const Value> any_of) const override {
    const std::vector<T> values = distinct(any_of);
    const Index& index = sorted();
    std::vector<Slice> slices;
    slices.reserve(values.size());
    for (const T value : values) slices.push_back(slice(index, Limits(value)));
    return rows_of(index, slices, [&](std::size_t row) { return is_among(row, values); });
  }
  std::size_t count_equal(std::span<const Value> any_of) const override {
    const std::vector<T> values = distinct(any_of);
    const Index& index = sorted();
    std::size_t count = 0;
    for (const T value : values) count += slice(index, Limits(value)).length;
    return index_.corrected(
        count, size(), [&](T key) { return std::binary_search(values.begin(), values.end(), key); },
        [&](std::size_t row) { return is_among(row, values); });
  }

  Bitmap between(const Range& range) const override {
    const Limits limits(range);
    const Index& index = sorted();
    const Slice found = slice(index, limits);
    return rows_of(index, {&found, 1}, [&](std::size_t row) { return has_value(row) && limits.hold(cells_[row]); });
  }
  std::size_t count_between(const Range& range) const override {
    const Limits limits(range);
    return index_.corrected(
        slice(sorted(), limits).length, size(), [&](T key) { return limits.hold(key); },
        [&](std::size_t row) { return has_value(row) && limits.hold(cells_[row]); });
  }

 private:
  struct Limits {
    explicit Limits(T value) : lo(value), hi(value) {}
    explicit Limits(const Range& range) : lo_open(range.lo_open), hi_open(range.hi_open) {
      if (range.lo) lo = std::get<T>(*range.lo);
      if (range.hi) hi = std::get<T>(*range.hi);
    }
    bool is_below(T value) const noexcept { return lo && (lo_open ? value <= *lo : value < *lo); }
    bool is_above(T value) const noexcept { return hi && (hi_open ? value >= *hi : value > *hi); }
    bool hold(T value) const noexcept { return !is_below(value) && !is_above(value); }

    std::optional<T> lo, hi;
    bool lo_open = false, hi_open = false;
  };

  /// Of the sorted rows.
  struct Slice {
    std::size_t begin, length;
  };

  const Index& sorted() const {
    return index_.get([&] { return Index(cells_, nulls_); });
  }
  Slice slice(const Index& index, const Limits& limits) const {
    const auto value_of = [&](std::uint32_t row) {
      const std::optional<T>* const before = index_.was(row);
      return before ? **before : cells_[row];
    };
    const std::size_t begin = limits.lo ? index.position([&](T value) { return limits.is_below(value); }, value_of) : 0,
                      end = limits.hi ? index.position([&](T value) { return !limits.is_above(value); }, value_of) : index.size();
    return {begin, std::max(begin, end) - begin};
  }
  /// The rows of slices that have none in common; `now(row)` is whether a row belongs there today.
  template <class Now>
  Bitmap rows_of(const Index& index, std::span<const Slice> slices, Now&& now) const {
    const std::size_t n_rows = index_.n_rows(size());
    std::size_t count = 0;
    for (const Slice& each : slices) count += each.length;
    if (Bitmap::is_few(count, n_rows)) {
      std::vector<std::uint32_t> rows;
      rows.reserve(count);
      for (const Slice& each : slices) {
        const auto held = index.rows(each.begin, each.length);
        rows.insert(rows.end(), held.begin(), held.end());
      }
      sort_rows(rows);
      return index_.corrected(Bitmap::from_ascending(n_rows, std::move(rows)), size(), now);
    }
    RowSet found(n_rows);
    for (const Slice& each : slices) index.add_to(found, each.begin, each.begin + each.length);
    found.set_count(count);
    return index_.corrected(std::move(found).over(n_rows), size(), now);
  }
  static std::vector<T> distinct(std::span<const Value> any_of) {
    std::vector<T> values;
    values.reserve(any_of.size());
    for (const Value& value : any_of)
      if (const T number = std::get<T>(value); number == number) values.push_back(number);  // nothing equals NaN
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
  }
  bool is_among(std::size_t row, const std::vector<T>& values) const {
    return has_value(row) && std::binary_search(values.begin(), values.end(), cells_[row]);
  }

  typename Base::Encoded encode(std::size_t n, const Cells& cells) override {
    typename Base::Encoded made = Base::blank(n, cells);
    if (const auto* const given = std::get_if<std::span<const T>>(&cells.values)) {
      for (std::size_t i = 0; i < n; ++i) {
        if (made.is_null(i)) continue;
        made.cells[i] = (*given)[i];
        if constexpr (std::is_floating_point_v<T>) {
          if (!std::isnan(made.cells[i])) continue;
          made.cells[i] = 0;
          made.set_null(i);
        }
      }
    }
    return made;
  }
  void note(std::size_t row, bool known) noexcept override {
    index_.note(row, known ? std::optional<T>(cells_[row]) : std::nullopt);
  }

  Lazy<Index, T> index_;
};

}  // namespace engine::attributes
