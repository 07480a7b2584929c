#include "engine/attributes.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <type_traits>

#include "attributes/bool_column.hpp"
#include "attributes/keyword_column.hpp"
#include "attributes/number_column.hpp"
#include "attributes/set_column.hpp"
#include "engine/metric.hpp"
#include "util/fair_mutex.hpp"

namespace engine {
namespace {

using attributes::Column;

constexpr std::array kNames{"keyword", "int64", "float64", "bool", "timestamp", "keywords"};
// The alternatives of Cells and of Value that each type of column takes, and their names.
constexpr std::array<std::size_t, 6> kCells{4, 1, 2, 3, 1, 5};
constexpr std::array<std::size_t, 6> kValue{3, 0, 1, 2, 0, 3};
constexpr std::array kCellNames{"NULL", "int64", "float64", "bool", "keyword", "keywords"};
constexpr std::array kValueNames{"int64", "float64", "bool", "keyword"};

std::size_t at(ColumnType type) noexcept { return static_cast<std::size_t>(type); }

void check_value(const Column& column, const Value& value) {
  if (value.index() != kValue[at(column.type)])
    invalid("the column '" + column.name + "' is " + name_of(column.type) + ", which is not compared with the type " +
            kValueNames[value.index()]);
}

void check_limit(const Column& column, const std::optional<Value>& limit) {
  if (!limit) return;
  check_value(column, *limit);
  if (const double* const number = std::get_if<double>(&*limit); number && *number != *number)
    invalid("a limit of the column '" + column.name + "' is nan, expected a number");
}

void check_limits(const Column& column, const std::optional<Value>& lo, const std::optional<Value>& hi) {
  check_limit(column, lo);
  check_limit(column, hi);
}

void check_cells(const Column& column, std::size_t n, const Cells& cells) {
  const std::string where = "data of '" + column.name + "'";
  if (cells.values.index() && cells.values.index() != kCells[at(column.type)])
    invalid(where + " is " + kCellNames[cells.values.index()] + ", expected " + name_of(column.type));
  if (const auto n_given = cells.size(); n_given && *n_given != n)
    invalid(where + " has length " + std::to_string(*n_given) + ", expected " + std::to_string(n));
  if (!cells.nulls.empty() && cells.nulls.size() != n)
    invalid("nulls of '" + column.name + "' have length " + std::to_string(cells.nulls.size()) + ", expected " +
            std::to_string(n));
}

}  // namespace

const char* name_of(ColumnType type) noexcept { return kNames[at(type)]; }

ColumnType column_type_of(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end())
    invalid("type is '" + std::string(name) + "', expected 'keyword', 'int64', 'float64', 'bool', 'timestamp' or 'keywords'");
  return static_cast<ColumnType>(found - kNames.begin());
}

std::optional<std::size_t> Cells::size() const noexcept {
  return std::visit(
      [](const auto& given) -> std::optional<std::size_t> {
        using Given = std::decay_t<decltype(given)>;
        if constexpr (std::is_same_v<Given, std::monostate>)
          return {};
        else if constexpr (std::is_pointer_v<Given>)
          return given->ends.size();
        else
          return given.size();
      },
      values);
}

std::unique_ptr<Column> attributes::Column::of(const std::string& name, ColumnType type) {
  using namespace attributes;
  switch (type) {
    case ColumnType::keyword:
      return std::make_unique<KeywordColumn>(name, type);
    case ColumnType::float64:
      return std::make_unique<NumberColumn<double>>(name, type);
    case ColumnType::boolean:
      return std::make_unique<BoolColumn>(name, type);
    case ColumnType::keywords:
      return std::make_unique<SetColumn>(name, type);
    default:
      return std::make_unique<NumberColumn<std::int64_t>>(name, type);
  }
}

struct Attributes::State {
  mutable FairMutex mutex;
  std::size_t n_rows = 0;
  std::vector<std::unique_ptr<Column>> columns;

  Column* find(std::string_view name) const noexcept {
    const auto found = std::find_if(columns.begin(), columns.end(), [&](const auto& column) { return column->name == name; });
    return found == columns.end() ? nullptr : found->get();
  }
  Column& column(std::string_view name) const {
    if (Column* const found = find(name)) return *found;
    std::string names;
    for (const auto& column : columns) names += (names.empty() ? "" : ", ") + column->name;
    invalid("there is no column '" + std::string(name) + "', expected one of [" + names + "]");
  }
  void check_rows(std::span<const std::int64_t> rows) const {
    for (const std::int64_t row : rows)
      if (row < 0 || static_cast<std::size_t>(row) >= n_rows)
        invalid("rows holds " + std::to_string(row) + ", expected 0 to " + std::to_string(n_rows) + " - 1");
  }
  void check(const Question& question) const {
    const Column& asked = column(question.column);
    if (const auto* const equal = std::get_if<Question::Equal>(&question.what))
      for (const Value& value : equal->any_of) check_value(asked, value);
    if (const auto* const between = std::get_if<Question::Between>(&question.what)) check_limits(asked, between->lo, between->hi);
  }
  Bitmap answer(const Question& question) const {
    const Column& asked = column(question.column);
    Bitmap rows = std::visit(
        [&]<class What>(const What& what) {
          if constexpr (std::is_same_v<What, Question::IsNull>)
            return asked.nulls();
          else if constexpr (std::is_same_v<What, Question::Equal>)
            return asked.equal(what.any_of);
          else if constexpr (std::is_same_v<What, Question::Between>)
            return asked.between(what);
          else
            return asked.contains(what.values, what.mode);
        },
        question.what);
    if (!question.negated) return rows;
    if (asked.n_nulls() && !std::holds_alternative<Question::IsNull>(question.what)) rows |= asked.nulls();
    return ~std::move(rows);
  }
  void truncate(std::size_t n) noexcept {
    for (const auto& column : columns) column->truncate(n);
    n_rows = n;
  }
};

Attributes::Attributes() : state_(std::make_unique<State>()) {}
Attributes::~Attributes() = default;

std::size_t Attributes::size() const {
  std::shared_lock lock(state_->mutex);
  return state_->n_rows;
}

std::optional<ColumnType> Attributes::type(std::string_view name) const {
  std::shared_lock lock(state_->mutex);
  const Column* const column = state_->find(name);
  return column ? std::optional(column->type) : std::nullopt;
}

std::vector<std::pair<std::string, ColumnType>> Attributes::schema() const {
  std::shared_lock lock(state_->mutex);
  std::vector<std::pair<std::string, ColumnType>> schema;
  for (const auto& column : state_->columns) schema.emplace_back(column->name, column->type);
  return schema;
}
std::size_t Attributes::n_columns() const {
  std::shared_lock lock(state_->mutex);
  return state_->columns.size();
}

std::size_t Attributes::nbytes() const {
  std::shared_lock lock(state_->mutex);
  std::size_t bytes = 0;
  for (const auto& column : state_->columns) bytes += column->nbytes();
  return bytes;
}

std::size_t Attributes::nbytes(std::string_view name) const {
  std::shared_lock lock(state_->mutex);
  return state_->column(name).nbytes();
}

void Attributes::add_column(const std::string& name, ColumnType type) {
  std::unique_lock lock(state_->mutex);
  if (name.empty()) invalid("name is empty, expected a name");
  if (state_->find(name)) invalid("there is a column '" + name + "' already");
  std::unique_ptr<Column> column = Column::of(name, type);
  column->append(state_->n_rows, {});
  state_->columns.push_back(std::move(column));
}

void Attributes::append(std::size_t n, const std::map<std::string, Cells, std::less<>>& cells) {
  std::unique_lock lock(state_->mutex);
  for (const auto& [name, given] : cells) check_cells(state_->column(name), n, given);
  const std::size_t n_old = state_->n_rows;
  if (n > kMaxRows - n_old) throw Error(ErrorCode::unsupported, "attributes hold at most " + std::to_string(kMaxRows) + " rows");
  try {
    for (const auto& column : state_->columns) {
      const auto given = cells.find(column->name);
      column->append(n, given == cells.end() ? Cells() : given->second);
    }
  } catch (...) {
    state_->truncate(n_old);
    throw;
  }
  state_->n_rows = n_old + n;
}

void Attributes::set(std::string_view name, std::span<const std::int64_t> rows, const Cells& cells) {
  std::unique_lock lock(state_->mutex);
  Column& column = state_->column(name);
  state_->check_rows(rows);
  check_cells(column, rows.size(), cells);
  column.set(rows, cells);
}

void Attributes::drop(std::span<const std::int64_t> rows) {
  std::unique_lock lock(state_->mutex);
  state_->check_rows(rows);
  std::vector<std::int64_t> descending(rows.begin(), rows.end());
  std::sort(descending.begin(), descending.end(), std::greater());
  if (const auto twice = std::adjacent_find(descending.begin(), descending.end()); twice != descending.end())
    invalid("rows holds " + std::to_string(*twice) + " twice");
  for (const auto& column : state_->columns)
    for (const std::int64_t row : descending) column->drop(static_cast<std::size_t>(row));
  state_->n_rows -= rows.size();
}

void Attributes::truncate(std::size_t n) {
  std::unique_lock lock(state_->mutex);
  if (n > state_->n_rows) invalid("n is " + std::to_string(n) + ", expected 0 to " + std::to_string(state_->n_rows));
  state_->truncate(n);
}

Taken Attributes::take(std::string_view name, std::span<const std::int64_t> rows) const {
  std::shared_lock lock(state_->mutex);
  const Column& column = state_->column(name);
  state_->check_rows(rows);
  return column.take(rows);
}

Bitmap Attributes::nulls(std::string_view name) const {
  std::shared_lock lock(state_->mutex);
  return state_->column(name).nulls();
}

Bitmap Attributes::equal(std::string_view name, std::span<const Value> any_of) const {
  std::shared_lock lock(state_->mutex);
  const Column& column = state_->column(name);
  for (const Value& value : any_of) check_value(column, value);
  return column.equal(any_of);
}

std::size_t Attributes::count_equal(std::string_view name, std::span<const Value> any_of) const {
  std::shared_lock lock(state_->mutex);
  const Column& column = state_->column(name);
  for (const Value& value : any_of) check_value(column, value);
  return column.count_equal(any_of);
}

Bitmap Attributes::between(std::string_view name, std::optional<Value> lo, std::optional<Value> hi, bool lo_open,
                           bool hi_open) const {
  std::shared_lock lock(state_->mutex);
  const Column& column = state_->column(name);
  check_limits(column, lo, hi);
  return column.between({lo, hi, lo_open, hi_open});
}

std::size_t Attributes::count_between(std::string_view name, std::optional<Value> lo, std::optional<Value> hi, bool lo_open,
                                      bool hi_open) const {
  std::shared_lock lock(state_->mutex);
  const Column& column = state_->column(name);
  check_limits(column, lo, hi);
  return column.count_between({lo, hi, lo_open, hi_open});
}

Bitmap Attributes::contains(std::string_view name, std::span<const std::string_view> values, SetMode mode) const {
  std::shared_lock lock(state_->mutex);
  return state_->column(name).contains(values, mode);
}

std::shared_ptr<const Bitmap> Attributes::rows(std::span<const Question> questions, bool all) const {
  std::shared_lock lock(state_->mutex);
  if (questions.empty()) invalid("questions is empty, expected at least one");
  for (const Question& question : questions) state_->check(question);  // of all of them, even where the first decides
  const Question& first = questions.front();
  if (const auto* const equal = std::get_if<Question::Equal>(&first.what); equal && questions.size() == 1 && !first.negated)
    return state_->column(first.column).shared_equal(equal->any_of);
  Bitmap rows = state_->answer(first);
  for (const Question& question : questions.subspan(1)) {
    if (rows.count() == (all ? 0 : state_->n_rows)) break;
    if (all)
      rows &= state_->answer(question);
    else
      rows |= state_->answer(question);
  }
  return std::make_shared<const Bitmap>(std::move(rows));
}

}  // namespace engine
