#pragma once
// Predicates as a caller gave them, for the rows of columns: engine/filters is left what this does not take. A question for rare
// values is over in a microsecond, and looking at it in Python took ten where a search had just filled the caches.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <pybind11/gil_safe_call_once.h>

#include "engine/attributes.hpp"
#include "given.hpp"

namespace engine::bindings {

/// The classes of engine.filters and the names of their attributes; found once.
struct PredicateTypes {
  py::object is_in, between, contains, is_null, group;
  py::str column{"column"}, negated{"negated"}, values{"values"}, null{"null"}, mode{"mode"}, lo{"lo"}, hi{"hi"},
      lo_open{"lo_open"}, hi_open{"hi_open"}, op{"op"}, terms{"terms"};

  static const PredicateTypes& get() {
    PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<PredicateTypes> storage;
    return storage
        .call_once_and_store_result([] {
          const auto leaves = py::module_::import("engine.filters.leaves"),
                     tree = py::module_::import("engine.filters.predicate");
          PredicateTypes found{leaves.attr("IsIn"), leaves.attr("Between"), leaves.attr("Contains"), leaves.attr("IsNull"),
                               tree.attr("Group")};
          for (py::str* name : {&found.column, &found.negated, &found.values, &found.null, &found.mode, &found.lo, &found.hi,
                                &found.lo_open, &found.hi_open, &found.op, &found.terms}) {
            PyObject* interned = name->release().ptr();
            PyUnicode_InternInPlace(&interned);
            *name = py::reinterpret_steal<py::str>(interned);
          }
          return found;
        })
        .get_stored();
  }
};

inline std::optional<SetMode> find_mode(std::string_view name) {
  if (name == "any") return SetMode::any;
  if (name == "all") return SetMode::all;
  if (name == "exact") return SetMode::exact;
  return std::nullopt;
}

inline std::optional<bool> given_bool(py::handle value) {
  if (!PyBool_Check(value.ptr())) return std::nullopt;
  return value.ptr() == Py_True;
}

/// A number or text by its own type.
inline std::optional<Value> given_value(py::handle value) {
  if (const auto truth = given_bool(value)) return *truth;
  if (const auto text = given_text(value)) return *text;
  if (PyFloat_CheckExact(value.ptr())) return PyFloat_AS_DOUBLE(value.ptr());
  if (!PyLong_CheckExact(value.ptr())) return std::nullopt;
  int overflow = 0;
  const std::int64_t number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  return overflow ? std::nullopt : std::optional<Value>(number);
}

/// The value as a column of `type` holds it, where that is plain; times are for Python to read.
inline bool as_held(Value& value, ColumnType type) {
  constexpr std::int64_t kExact = std::int64_t{1} << 53;  // as float64
  const auto* const number = std::get_if<std::int64_t>(&value);
  if (type == ColumnType::float64 && number && -kExact <= *number && *number <= kExact) value = static_cast<double>(*number);
  switch (type) {
    case ColumnType::keyword:
      return std::holds_alternative<std::string_view>(value);
    case ColumnType::int64:
      return std::holds_alternative<std::int64_t>(value);
    case ColumnType::float64:
      return std::holds_alternative<double>(value) && !std::isnan(std::get<double>(value));
    case ColumnType::boolean:
      return std::holds_alternative<bool>(value);
    default:
      return false;
  }
}

/// One question, or some for different columns (but for the two ends of a range), that are plainly right; they point into the
/// predicate.
class GivenPredicate {
 public:
  GivenPredicate() { held_.reserve(16); }

  /// False where it is none of these.
  bool take(py::handle predicate) {
    const auto* const type = Py_TYPE(predicate.ptr());
    if (!is(type, types_.group)) return take_leaf(predicate, type);
    const auto op = given_text(get(predicate, types_.op));
    if (!op || (*op != "and" && *op != "or")) return false;
    all_ = *op == "and";
    return take_terms(predicate, *op, 0);
  }
  /// The rows for which it is true, or null where a value is not of the type of its column. Does not need the GIL.
  std::shared_ptr<const Bitmap> rows(const Attributes& attributes) {
    for (Question& question : questions_) {
      const std::optional<ColumnType> type = attributes.type(question.column);
      if (!type || !fits(question, *type)) return nullptr;
    }
    return attributes.rows(questions_, all_);
  }

 private:
  static constexpr std::size_t kMostTerms = 8;  // more are worth a canonical form, which merges what it can

  static bool is(const PyTypeObject* type, const py::object& expected) {
    return type == reinterpret_cast<PyTypeObject*>(expected.ptr());
  }
  /// Kept, so that nothing goes while it is pointed at.
  py::handle get(py::handle object, const py::str& name) {
    held_.push_back(py::getattr(object, name));
    return held_.back();
  }

  bool take_terms(py::handle group, std::string_view op, std::size_t depth) {
    const py::handle terms = get(group, types_.terms);
    if (get(group, types_.negated).ptr() != Py_False || depth == kMostTerms || !PyTuple_CheckExact(terms.ptr()) ||
        py::len(terms) == 0)
      return false;
    for (const py::handle term : py::reinterpret_borrow<py::tuple>(terms)) {
      const auto* const type = Py_TYPE(term.ptr());
      if (is(type, types_.group) ? given_text(get(term, types_.op)) != op || !take_terms(term, op, depth + 1)
                                 : !take_leaf(term, type))
        return false;
    }
    return true;
  }

  bool take_leaf(py::handle leaf, const PyTypeObject* type) {
    const bool is_in = is(type, types_.is_in), is_range = is(type, types_.between), is_set = is(type, types_.contains);
    if ((!is_in && !is_range && !is_set && !is(type, types_.is_null)) || questions_.size() == kMostTerms) return false;
    const auto column = given_text(get(leaf, types_.column));
    const auto negated = given_bool(get(leaf, types_.negated));
    if (!column || !negated) return false;
    Question question{*column, Question::IsNull(), *negated};
    if (is_in ? !take_values(leaf, question) : is_range ? !take_limits(leaf, question) : is_set && !take_members(leaf, question))
      return false;
    const auto same = std::ranges::find(questions_, *column, &Question::column);
    if (same != questions_.end()) return all_ && join(*same, question);
    questions_.push_back(std::move(question));
    return true;
  }
  /// Two limits of one column, as a range is most often asked for.
  static bool join(Question& known, Question& more) {
    auto* const range = std::get_if<Question::Between>(&known.what);
    auto* const limit = std::get_if<Question::Between>(&more.what);
    if (!range || !limit || known.negated || more.negated) return false;
    if (!range->lo) std::swap(*range, *limit);  // whatever comes of it, `known` is not used again where this is false
    if (range->hi || limit->lo) return false;
    range->hi = limit->hi;
    range->hi_open = limit->hi_open;
    return true;
  }
  /// The values of a leaf; none where one is not plain.
  template <class Give>
  auto taken(py::handle leaf, Give give) {
    std::vector<typename std::invoke_result_t<Give, py::handle>::value_type> result;
    const py::handle values = get(leaf, types_.values);
    if (!PyTuple_CheckExact(values.ptr())) return result;
    result.reserve(py::len(values));
    for (const py::handle value : py::reinterpret_borrow<py::tuple>(values)) {
      auto plain = give(value);
      if (!plain) return decltype(result)();
      result.push_back(std::move(*plain));
    }
    return result;
  }
  bool take_values(py::handle leaf, Question& question) {
    auto any_of = taken(leaf, given_value);
    if (any_of.empty() || get(leaf, types_.null).ptr() != Py_False) return false;
    question.what = Question::Equal{std::move(any_of)};
    return true;
  }
  bool take_limits(py::handle leaf, Question& question) {
    const py::handle lo = get(leaf, types_.lo), hi = get(leaf, types_.hi);
    const auto lo_open = given_bool(get(leaf, types_.lo_open)), hi_open = given_bool(get(leaf, types_.hi_open));
    Question::Between range{given_value(lo), given_value(hi), lo_open.value_or(false), hi_open.value_or(false)};
    if (!lo_open || !hi_open || (!range.lo && !lo.is_none()) || (!range.hi && !hi.is_none())) return false;
    if (!range.lo && !range.hi) return false;
    question.what = std::move(range);
    return true;
  }
  bool take_members(py::handle leaf, Question& question) {
    auto members = taken(leaf, given_text);
    const auto name = given_text(get(leaf, types_.mode));
    const auto mode = name ? find_mode(*name) : std::nullopt;
    if (members.empty() || !mode) return false;
    question.what = Question::Contains{std::move(members), *mode};
    return true;
  }
  static bool fits(Question& question, ColumnType type) {
    if (auto* const equal = std::get_if<Question::Equal>(&question.what))
      return std::ranges::all_of(equal->any_of, [&](Value& value) { return as_held(value, type); });
    if (std::holds_alternative<Question::Contains>(question.what)) return type == ColumnType::keywords;
    auto* const range = std::get_if<Question::Between>(&question.what);
    if (!range) return true;
    return (type == ColumnType::int64 || type == ColumnType::float64) && (!range->lo || as_held(*range->lo, type)) &&
           (!range->hi || as_held(*range->hi, type));
  }

  const PredicateTypes& types_ = PredicateTypes::get();
  std::vector<py::object> held_;
  std::vector<Question> questions_;
  bool all_ = true;
};

}  // namespace engine::bindings
