#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "attributes/grow.hpp"
#include "attributes/row_set.hpp"
#include "engine/attributes.hpp"

namespace engine::attributes {

using Range = Question::Between;

/// What columns of all types do. The owner has checked names, lengths, rows and the types of values, and holds the locks.
class Column {
 public:
  Column(std::string name, ColumnType type) : name(std::move(name)), type(type) {}
  virtual ~Column() = default;
  Column(const Column&) = delete;
  Column& operator=(const Column&) = delete;

  static std::unique_ptr<Column> of(const std::string& name, ColumnType type);

  const std::string name;
  const ColumnType type;

  virtual std::size_t size() const noexcept = 0;
  virtual std::size_t nbytes() const noexcept = 0;
  // What throws changes nothing that can be seen.
  virtual void append(std::size_t n, const Cells& cells) = 0;
  virtual void set(std::span<const std::int64_t> rows, const Cells& cells) = 0;
  virtual void drop(std::size_t row) noexcept = 0;
  virtual void truncate(std::size_t n) noexcept = 0;
  virtual Taken take(std::span<const std::int64_t> rows) const = 0;

  virtual std::size_t n_nulls() const noexcept = 0;
  virtual Bitmap nulls() const = 0;
  virtual Bitmap equal(std::span<const Value>) const { refuse("is compared with no value", "contains"); }
  /// The same; a bitmap that is kept is not copied.
  virtual std::shared_ptr<const Bitmap> shared_equal(std::span<const Value> any_of) const {
    return std::make_shared<const Bitmap>(equal(any_of));
  }
  virtual std::size_t count_equal(std::span<const Value>) const { refuse("is compared with no value", "contains"); }
  virtual Bitmap between(const Range&) const { refuse("has no ranges", "int64, float64 or timestamp"); }
  virtual std::size_t count_between(const Range&) const { refuse("has no ranges", "int64, float64 or timestamp"); }
  virtual Bitmap contains(std::span<const std::string_view>, SetMode) const { refuse("has no members", "keywords"); }

 private:
  [[noreturn]] void refuse(const char* what, const char* expected) const {
    invalid("the column '" + name + "' is " + name_of(type) + ", which " + what + "; expected " + expected);
  }
};

/// A column that keeps one `Cell` a row, T{} where NULL.
template <class Cell>
class CellColumn : public Column {
 public:
  using Column::Column;

  std::size_t size() const noexcept final { return cells_.size(); }
  std::size_t nbytes() const noexcept override { return cells_.capacity() * sizeof(Cell) + nulls_.nbytes(); }

  void append(std::size_t n, const Cells& cells) final {
    const Encoded added = encode(n, cells);
    const std::size_t n_old = size();
    if (added.any_null) nulls_.reserve(n_old + n);
    grow(cells_, n);
    for (std::size_t i = 0; i < n; ++i) {
      note(n_old + i, false);
      cells_.push_back(added.cells[i]);
      if (added.is_null(i)) nulls_.put(n_old + i, true);
    }
  }

  void set(std::span<const std::int64_t> rows, const Cells& cells) final {
    const Encoded given = encode(rows.size(), cells);
    if (given.any_null) nulls_.reserve(size());
    for (std::size_t i = 0; i < rows.size(); ++i) write(static_cast<std::size_t>(rows[i]), given.cells[i], given.is_null(i));
  }

  void drop(std::size_t row) noexcept final {
    const std::size_t last = size() - 1;
    if (row != last) write(row, cells_[last], nulls_.test(last));
    truncate(last);
  }

  void truncate(std::size_t n) noexcept final {
    for (std::size_t row = n; row < size(); ++row) {
      note(row, !nulls_.test(row));
      nulls_.put(row, false);
    }
    cells_.resize(std::min(n, size()));
  }

  std::size_t n_nulls() const noexcept final { return nulls_.count(); }
  Bitmap nulls() const final { return nulls_.over(size()); }

 protected:
  struct Encoded {
    std::vector<Cell> cells;
    std::vector<bool> nulls;
    bool any_null = false;

    bool is_null(std::size_t i) const { return any_null && nulls[i]; }
    void set_null(std::size_t i) {
      if (!any_null) nulls.resize(cells.size());
      nulls[i] = any_null = true;
    }
  };

  /// `n` cells as they are kept. What throws changes nothing that can be seen.
  virtual Encoded encode(std::size_t n, const Cells& cells) = 0;
  /// `row` is about to change; `known`: it is there and is not NULL.
  virtual void note(std::size_t row, bool known) noexcept = 0;

  /// Starts an encoding: T{} everywhere, NULL where `cells` say so.
  static Encoded blank(std::size_t n, const Cells& cells) {
    Encoded made{std::vector<Cell>(n), {}};
    for (std::size_t i = 0; i < n; ++i)
      if (std::holds_alternative<std::monostate>(cells.values) || (!cells.nulls.empty() && cells.nulls[i])) made.set_null(i);
    return made;
  }
  bool has_value(std::size_t row) const noexcept { return !nulls_.test(row); }

  std::vector<Cell> cells_;
  RowSet nulls_;

 private:
  void write(std::size_t row, Cell cell, bool null) noexcept {
    note(row, has_value(row));
    cells_[row] = cell;
    nulls_.put(row, null);
  }
};

}  // namespace engine::attributes
