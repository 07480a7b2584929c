// Attributes: Python values as cells and back, no policy.
#include <map>
#include <optional>

#include <pybind11/stl.h>

#include "arrays.hpp"
#include "direct.hpp"
#include "engine/attributes.hpp"
#include "given_predicate.hpp"

namespace engine::bindings {
namespace {

/// `value` as errors show it.
std::string shown(py::handle value) {
  constexpr std::size_t kMost = 80;
  const std::string text = py::str(py::reinterpret_steal<py::object>(PyObject_ASCII(value.ptr())));
  return text.size() <= kMost ? text : text.substr(0, kMost) + "...";
}

/// What is wrong with `value`, which stands at `where`.
[[noreturn]] void refuse(const std::string& where, py::handle value, const std::string& expected) {
  PyErr_Clear();
  invalid(where + " is " + shown(value) + ", expected " + expected);
}

std::string place(const std::string& where, std::size_t i) { return where + "[" + std::to_string(i) + "]"; }

/// Points into `value`.
std::string_view as_text(py::handle value, const std::string& where) {
  if (!PyUnicode_Check(value.ptr())) refuse(where, value, "a str");
  Py_ssize_t size;
  const char* const text = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
  if (!text && PyErr_ExceptionMatches(PyExc_MemoryError)) throw py::error_already_set();
  if (!text) refuse(where, value, "text that UTF-8 can hold");
  return {text, static_cast<std::size_t>(size)};
}

std::int64_t as_integer(py::handle value, const std::string& where) {
  if (PyBool_Check(value.ptr()) || !PyIndex_Check(value.ptr())) refuse(where, value, "an int");
  const long long number = PyLong_AsLongLong(py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr())).ptr());
  if (number == -1 && PyErr_Occurred()) refuse(where, value, "a number that int64 can hold");
  return number;
}

double as_float(py::handle value, const std::string& where) {
  if (!PyFloat_Check(value.ptr())) refuse(where, value, "a float");
  return PyFloat_AS_DOUBLE(value.ptr());
}

bool as_bool(py::handle value, const std::string& where) {
  if (!PyBool_Check(value.ptr())) refuse(where, value, "True or False");
  return value.ptr() == Py_True;
}

/// A copy of the references, which nobody changes while strings in it are read without the GIL.
py::tuple as_tuple(py::handle values, const std::string& where, const std::string& expected) {
  if (PyUnicode_Check(values.ptr()) || PyBytes_Check(values.ptr()) || !PyObject_HasAttrString(values.ptr(), "__len__"))
    refuse(where, values, expected);
  return py::tuple(py::reinterpret_borrow<py::object>(values));
}

/// Cells and what they point into.
class Given {
 public:
  Given(const std::string& name, ColumnType type, py::handle data) : where_("data of '" + name + "'") {
    py::object values = py::reinterpret_borrow<py::object>(data), nulls = py::none();
    if (py::isinstance<py::tuple>(data)) {
      if (py::len(data) != 2) refuse(where_, data, "values or (values, nulls)");
      values = data[py::int_(0)];
      nulls = data[py::int_(1)];
    }
    if (!nulls.is_none()) {
      if (!py::isinstance<py::array>(nulls) || py::reinterpret_borrow<py::array>(nulls).dtype().kind() != 'b')
        refuse("nulls of '" + name + "'", nulls, "a bool array or None");
      nulls_ = MaskArray::ensure(nulls);
      cells.nulls = flat(nulls_, "nulls");
    }
    switch (type) {
      case ColumnType::keyword:
        take_texts(values);
        break;
      case ColumnType::float64:
        take(values, 'f', doubles_, as_float);
        break;
      case ColumnType::boolean:
        take(values, 'b', bools_, as_bool);
        break;
      case ColumnType::keywords:
        take_sets(values);
        break;
      default:
        take(values, 'i', integers_, as_integer);
    }
  }
  Given(const Given&) = delete;

  Cells cells;

 private:
  bool is_null(std::size_t i) const { return i < cells.nulls.size() && cells.nulls[i]; }

  /// An array of the right kind, or values one by one.
  template <class T, class Convert>
  void take(const py::object& values, char kind, py::array_t<T, py::array::c_style>& kept, Convert&& convert) {
    if (py::isinstance<py::array>(values) && py::reinterpret_borrow<py::array>(values).dtype().kind() != 'O') {
      const auto array = py::reinterpret_borrow<py::array>(values);
      if (array.dtype().kind() != kind || array.itemsize() > static_cast<py::ssize_t>(sizeof(T)))
        invalid(where_ + " has dtype " + kind_of(array) + ", expected " + kind_of(kept));
      kept = py::array_t<T, py::array::c_style>::ensure(array);
    } else {
      const py::tuple given = as_tuple(values, where_, "an array or a list");
      kept = py::array_t<T, py::array::c_style>(static_cast<py::ssize_t>(given.size()));
      T* const to = kept.mutable_data();
      for (std::size_t i = 0; i < given.size(); ++i) to[i] = is_null(i) ? T{} : convert(given[i], place(where_, i));
    }
    cells.values = flat(kept, where_.c_str());
  }

  void take_texts(const py::object& values) {
    kept_.push_back(as_tuple(values, where_, "a list of str"));
    const py::tuple& given = kept_.back();
    texts_.resize(given.size());
    for (std::size_t i = 0; i < given.size(); ++i)
      if (!is_null(i)) texts_[i] = as_text(given[i], place(where_, i));
    cells.values = std::span<const std::string_view>(texts_);
  }

  void take_sets(const py::object& values) {
    const py::tuple given = as_tuple(values, where_, "a list of lists of str");
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (!is_null(i)) {
        kept_.push_back(as_tuple(given[i], place(where_, i), "a list of str"));
        for (const py::handle member : kept_.back()) sets_.members.push_back(as_text(member, place(where_, i)));
      }
      sets_.ends.push_back(sets_.members.size());
    }
    cells.values = &sets_;
  }

  std::string where_;
  MaskArray nulls_, bools_;
  IdArray integers_;
  py::array_t<double, py::array::c_style> doubles_;
  std::vector<py::tuple> kept_;
  std::vector<std::string_view> texts_;
  Sets<std::string_view> sets_;
};

Value as_value(py::handle value, const std::string& where) {
  if (PyBool_Check(value.ptr())) return as_bool(value, where);
  if (PyFloat_Check(value.ptr())) return as_float(value, where);
  if (PyUnicode_Check(value.ptr())) return as_text(value, where);
  if (PyIndex_Check(value.ptr())) return as_integer(value, where);
  refuse(where, value, "a str, int, float or bool");
}

std::optional<Value> as_limit(py::handle value, const char* name) {
  if (value.is_none()) return {};
  return as_value(value, name);
}

/// Calls `ask(values)` without the GIL for the values of a sequence, each made by `convert`.
template <class T, class Convert, class Ask>
auto ask_for(const py::object& values, Convert&& convert, Ask&& ask) {
  const py::tuple given = as_tuple(values, "values", "a list");
  std::vector<T> converted;
  converted.reserve(given.size());
  for (std::size_t i = 0; i < given.size(); ++i) converted.push_back(convert(given[i], place("values", i)));
  const py::gil_scoped_release released;
  return ask(std::span<const T>(converted));
}

SetMode mode_of(const std::string& name) {
  if (const auto mode = find_mode(name)) return *mode;
  invalid("mode is '" + name + "', expected 'any', 'all' or 'exact'");
}

py::list to_list(const std::vector<std::string>& texts) {
  py::list list(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) list[i] = py::str(texts[i]);
  return list;
}

/// Bytes of 0 and 1.
py::object to_bools(std::vector<std::uint8_t> bytes) { return to_array(std::move(bytes)).attr("view")("bool"); }

struct ToPython {
  py::object operator()(std::vector<std::uint8_t>& values) const { return to_bools(std::move(values)); }
  py::object operator()(std::vector<std::string>& values) const { return to_list(values); }
  py::object operator()(Sets<std::string>& sets) const {
    const py::list members = to_list(sets.members);
    py::list list(sets.ends.size());
    for (std::size_t i = 0; i < sets.ends.size(); ++i) {
      const auto begin = static_cast<Py_ssize_t>(i ? sets.ends[i - 1] : 0), end = static_cast<Py_ssize_t>(sets.ends[i]);
      list[i] = py::tuple(py::reinterpret_steal<py::object>(PyList_GetSlice(members.ptr(), begin, end)));
    }
    return list;
  }
  template <class T>
  py::object operator()(std::vector<T>& values) const {
    return to_array(std::move(values));
  }
};

/// The type of a column that may be unknown, which is then for the core to say.
std::optional<ColumnType> type_of(const std::vector<std::pair<std::string, ColumnType>>& schema, const std::string& name) {
  for (const auto& [known, type] : schema)
    if (known == name) return type;
  return {};
}

/// Names and types, read-only: the same object until there is another column, so that what was derived from it can be kept.
py::object schema_of(const py::object& self) {
  const auto& attributes = self.cast<const Attributes&>();
  const std::size_t n_columns = unlocked<&Attributes::n_columns>(attributes);
  constexpr const char* kKept = "_schema";
  if (const py::object kept = py::getattr(self, kKept, py::none()); !kept.is_none() && py::len(kept) == n_columns) return kept;
  py::dict schema;
  for (const auto& [name, type] : unlocked<&Attributes::schema>(attributes)) schema[py::str(name)] = name_of(type);
  auto shown = py::reinterpret_steal<py::object>(PyDictProxy_New(schema.ptr()));
  if (!shown) throw py::error_already_set();
  self.attr(kKept) = shown;
  return shown;
}

/// Rows for a predicate that is plainly right, else None.
py::object rows_as_given(const Attributes& attributes, py::handle predicate) {
  GivenPredicate given;
  if (!given.take(predicate)) return py::none();
  std::shared_ptr<const Bitmap> rows;
  {
    const py::gil_scoped_release released;
    rows = given.rows(attributes);
  }
  return py::cast(std::const_pointer_cast<Bitmap>(std::move(rows)));  // nothing in Python changes a bitmap
}

}  // namespace

void bind_attributes(py::module_& module) {
  py::class_<Attributes>(module, "Attributes",
                         "Typed columns whose cells may be NULL: what predicates ask. Data is values, or a tuple of values and a "
                         "bool array that is True where they are NULL.",
                         py::dynamic_attr())
      .def(py::init())
      .def("__len__", &Attributes::size, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("schema", &schema_of)
      .def(
          "nbytes",
          [](const Attributes& attributes, const std::optional<std::string>& name) {
            const py::gil_scoped_release released;
            return name ? attributes.nbytes(*name) : attributes.nbytes();
          },
          py::arg("name") = py::none())
      .def(
          "add_column",
          [](Attributes& attributes, const std::string& name, const std::string& type) {
            const py::gil_scoped_release released;
            attributes.add_column(name, column_type_of(type));
          },
          py::arg("name"), py::arg("type"))
      .def(
          "append",
          [](Attributes& attributes, std::size_t n, const py::dict& data) {
            const auto schema = unlocked<&Attributes::schema>(attributes);
            std::map<std::string, std::unique_ptr<Given>> given;
            std::map<std::string, Cells, std::less<>> cells;
            for (const auto& [key, values] : data) {
              const std::string name(as_text(key, "a name in data"));
              if (const auto type = type_of(schema, name)) given[name] = std::make_unique<Given>(name, *type, values);
              cells[name] = given.contains(name) ? given[name]->cells : Cells();
            }
            const py::gil_scoped_release released;
            attributes.append(n, cells);
          },
          py::arg("n"), py::arg("data"))
      .def(
          "set",
          [](Attributes& attributes, const std::string& name, const py::object& rows, const py::object& data) {
            const IdArray kept = as_rows(rows);
            const std::optional<ColumnType> type = type_of(unlocked<&Attributes::schema>(attributes), name);
            const std::unique_ptr<Given> given = type ? std::make_unique<Given>(name, *type, data) : nullptr;
            const auto view = flat(kept, "rows");
            const py::gil_scoped_release released;
            attributes.set(name, view, given ? given->cells : Cells());
          },
          py::arg("name"), py::arg("rows"), py::arg("data"))
      .def(
          "drop",
          [](Attributes& attributes, const py::object& rows) {
            const IdArray kept = as_rows(rows);
            const auto view = flat(kept, "rows");
            const py::gil_scoped_release released;
            attributes.drop(view);
          },
          py::arg("rows"))
      .def("truncate", &Attributes::truncate, py::arg("n"), py::call_guard<py::gil_scoped_release>())
      .def(
          "take",
          [](const Attributes& attributes, const std::string& name, const py::object& rows) {
            const IdArray kept = as_rows(rows);
            const auto view = flat(kept, "rows");
            Taken taken = [&] {
              const py::gil_scoped_release released;
              return attributes.take(name, view);
            }();
            py::object nulls = to_bools(std::move(taken.nulls));
            return py::make_tuple(std::visit(ToPython(), taken.values), std::move(nulls));
          },
          py::arg("name"), py::arg("rows"))
      .def("nulls", &Attributes::nulls, py::arg("name"), py::call_guard<py::gil_scoped_release>())
      .def(
          "equal",
          [](const Attributes& attributes, const std::string& name, const py::object& values) {
            return ask_for<Value>(values, as_value, [&](auto any_of) { return attributes.equal(name, any_of); });
          },
          py::arg("name"), py::arg("values"))
      .def(
          "count_equal",
          [](const Attributes& attributes, const std::string& name, const py::object& values) {
            return ask_for<Value>(values, as_value, [&](auto any_of) { return attributes.count_equal(name, any_of); });
          },
          py::arg("name"), py::arg("values"))
      .def(
          "between",
          [](const Attributes& attributes, const std::string& name, const py::object& lo, const py::object& hi, bool lo_open,
             bool hi_open) {
            const auto low = as_limit(lo, "lo"), high = as_limit(hi, "hi");
            const py::gil_scoped_release released;
            return attributes.between(name, low, high, lo_open, hi_open);
          },
          py::arg("name"), py::arg("lo"), py::arg("hi"), py::arg("lo_open"), py::arg("hi_open"))
      .def(
          "count_between",
          [](const Attributes& attributes, const std::string& name, const py::object& lo, const py::object& hi, bool lo_open,
             bool hi_open) {
            const auto low = as_limit(lo, "lo"), high = as_limit(hi, "hi");
            const py::gil_scoped_release released;
            return attributes.count_between(name, low, high, lo_open, hi_open);
          },
          py::arg("name"), py::arg("lo"), py::arg("hi"), py::arg("lo_open"), py::arg("hi_open"))
      .def(
          "contains",
          [](const Attributes& attributes, const std::string& name, const py::object& values, const std::string& mode) {
            return ask_for<std::string_view>(values, as_text,
                                             [&](auto texts) { return attributes.contains(name, texts, mode_of(mode)); });
          },
          py::arg("name"), py::arg("values"), py::arg("mode"));
  def_direct<&rows_as_given>(module.attr("Attributes"), "rows_as_given",
                             "rows_as_given(self, predicate: object, /) -> Bitmap | None");
}

}  // namespace engine::bindings
