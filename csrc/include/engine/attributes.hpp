#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/bitmap.hpp"

namespace engine {

/// A timestamp is int64 microseconds since the epoch in UTC; `keywords` is a set of keywords.
enum class ColumnType { keyword, int64, float64, boolean, timestamp, keywords };

const char* name_of(ColumnType type) noexcept;
ColumnType column_type_of(std::string_view name);

/// One value to look for; text is UTF-8.
using Value = std::variant<std::int64_t, double, bool, std::string_view>;

/// Sets of keywords, one after another.
template <class Text>
struct Sets {
  std::vector<std::size_t> ends;  // behind the last member of each
  std::vector<Text> members;
};

/// Values that columns are given, in the type of the column; the first alternative: all are NULL.
struct Cells {
  std::variant<std::monostate, std::span<const std::int64_t>, std::span<const double>, std::span<const bool>,
               std::span<const std::string_view>, const Sets<std::string_view>*>
      values;
  std::span<const bool> nulls = {};  // empty: none is NULL

  /// Unknown where all are NULL.
  std::optional<std::size_t> size() const noexcept;
};

/// Values that columns give back; 0, false or empty where `nulls`.
struct Taken {
  std::variant<std::vector<std::int64_t>, std::vector<double>, std::vector<std::uint8_t>, std::vector<std::string>,
               Sets<std::string>>
      values;
  std::vector<std::uint8_t> nulls;
};

enum class SetMode { any, all, exact };

/// What is asked of one column, by values that whoever asks holds.
struct Question {
  struct IsNull {};
  struct Equal {
    std::vector<Value> any_of;
  };
  struct Between {
    std::optional<Value> lo, hi;  // an open one does not itself count
    bool lo_open, hi_open;
  };
  struct Contains {
    std::vector<std::string_view> values;
    SetMode mode;
  };

  std::string_view column;
  std::variant<IsNull, Equal, Between, Contains> what;
  bool negated = false;  // false where the answer is yes, and unknown where it is
};

/// Typed columns whose cells may be NULL, and the rows that have certain values. NaN is NULL.
///
/// Safe for many threads; changes wait for readers. What fails leaves all columns as they were. What readers need to be fast is
/// made by the first one who asks, and again when many rows have changed since.
class Attributes {
 public:
  Attributes();
  ~Attributes();

  std::size_t size() const;
  /// None where there is no such column.
  std::optional<ColumnType> type(std::string_view name) const;
  /// In the order in which they were added.
  std::vector<std::pair<std::string, ColumnType>> schema() const;
  std::size_t n_columns() const;
  std::size_t nbytes() const;
  std::size_t nbytes(std::string_view name) const;

  /// NULL in the rows that are there.
  void add_column(const std::string& name, ColumnType type);
  /// Columns that are not among `cells` get NULL.
  void append(std::size_t n, const std::map<std::string, Cells, std::less<>>& cells);
  /// Where a row is given twice, the last counts.
  void set(std::string_view name, std::span<const std::int64_t> rows, const Cells& cells);
  /// Drops rows, each named once, from the highest to the lowest: the last row takes the place of each, as in an exact index.
  void drop(std::span<const std::int64_t> rows);
  /// Keeps the first `n` rows.
  void truncate(std::size_t n);

  Taken take(std::string_view name, std::span<const std::int64_t> rows) const;

  // Rows with NULL are in none of these but `nulls`.
  Bitmap nulls(std::string_view name) const;
  Bitmap equal(std::string_view name, std::span<const Value> any_of) const;
  Bitmap between(std::string_view name, std::optional<Value> lo, std::optional<Value> hi, bool lo_open, bool hi_open) const;
  Bitmap contains(std::string_view name, std::span<const std::string_view> values, SetMode mode) const;
  /// The rows for which all of `questions`, at least one, or any, are true. Who asks for a frequent value gets what is kept.
  std::shared_ptr<const Bitmap> rows(std::span<const Question> questions, bool all) const;
  std::size_t count_equal(std::string_view name, std::span<const Value> any_of) const;
  std::size_t count_between(std::string_view name, std::optional<Value> lo, std::optional<Value> hi, bool lo_open,
                            bool hi_open) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace engine
