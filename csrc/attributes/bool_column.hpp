#pragma once
#include "attributes/column.hpp"

namespace engine::attributes {

/// The rows that are true and those that are NULL.
class BoolColumn final : public Column {
 public:
  using Column::Column;

  std::size_t size() const noexcept override { return size_; }
  std::size_t nbytes() const noexcept override { return trues_.nbytes() + nulls_.nbytes(); }

  void append(std::size_t n, const Cells& cells) override {
    reserve(size_ + n, cells);
    for (std::size_t i = 0; i < n; ++i) write(size_ + i, i, cells);
    size_ += n;
  }
  void set(std::span<const std::int64_t> rows, const Cells& cells) override {
    reserve(size_, cells);
    for (std::size_t i = 0; i < rows.size(); ++i) write(static_cast<std::size_t>(rows[i]), i, cells);
  }
  void drop(std::size_t row) noexcept override {
    const std::size_t last = size_ - 1;
    if (row != last) {
      trues_.put(row, trues_.test(last));
      nulls_.put(row, nulls_.test(last));
    }
    truncate(last);
  }
  void truncate(std::size_t n) noexcept override {
    for (; size_ > n; --size_) {
      trues_.put(size_ - 1, false);
      nulls_.put(size_ - 1, false);
    }
  }
  Taken take(std::span<const std::int64_t> rows) const override {
    std::vector<std::uint8_t> values, nulls;
    for (const std::int64_t row : rows) {
      values.push_back(trues_.test(row));
      nulls.push_back(nulls_.test(row));
    }
    return {std::move(values), std::move(nulls)};
  }

  std::size_t n_nulls() const noexcept override { return nulls_.count(); }
  Bitmap nulls() const override { return nulls_.over(size_); }
  Bitmap equal(std::span<const Value> any_of) const override {
    const auto [yes, no] = asked(any_of);
    if (!yes && !no) return Bitmap(size_);
    Bitmap trues = trues_.over(size_);
    return !no ? trues : yes ? ~nulls() : ~(nulls_.count() ? trues | nulls() : trues);
  }
  std::size_t count_equal(std::span<const Value> any_of) const override {
    const auto [yes, no] = asked(any_of);
    return yes * trues_.count() + no * (size_ - trues_.count() - nulls_.count());
  }

 private:
  static std::pair<bool, bool> asked(std::span<const Value> any_of) {
    bool yes = false, no = false;
    for (const Value& value : any_of) (std::get<bool>(value) ? yes : no) = true;
    return {yes, no};
  }
  void reserve(std::size_t n_rows, const Cells& cells) {
    trues_.reserve(n_rows);
    if (!given(cells) || !cells.nulls.empty()) nulls_.reserve(n_rows);
  }
  static const std::span<const bool>* given(const Cells& cells) noexcept {
    return std::get_if<std::span<const bool>>(&cells.values);
  }
  void write(std::size_t row, std::size_t i, const Cells& cells) noexcept {
    const auto* const values = given(cells);
    const bool null = !values || (!cells.nulls.empty() && cells.nulls[i]);
    nulls_.put(row, null);
    trues_.put(row, !null && (*values)[i]);
  }

  std::size_t size_ = 0;
  RowSet trues_, nulls_;
};

}  // namespace engine::attributes
