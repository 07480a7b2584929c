#pragma once
// engine.types.SearchResult and SearchStats, made without their constructors: in Python these take a third of a small search.
#include <array>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include <pybind11/gil_safe_call_once.h>
#include <structmember.h>

#include "arrays.hpp"
#include "engine/search.hpp"

namespace engine::bindings {

inline const char* name_of(Metric metric) { return metric == Metric::cosine ? "cosine" : metric == Metric::ip ? "ip" : "l2"; }

/// A SearchResult and SearchStats, for stubs to say so.
struct Result : py::object {
  using py::object::object;
};
struct Stats : py::object {
  using py::object::object;
};

/// What results are made of; found once.
struct ResultTypes {
  py::object result, stats;
  std::array<Py_ssize_t, 5> places;  // where a result keeps its attributes

  static const ResultTypes& get() {
    PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<ResultTypes> storage;
    return storage
        .call_once_and_store_result([] {
          const auto types = py::module_::import("engine.types");
          ResultTypes found{types.attr("SearchResult"), types.attr("SearchStats"), {}};
          constexpr const char* kNames[] = {"ids", "distances", "metric", "stats", "attributes"};
          for (std::size_t i = 0; i < found.places.size(); ++i) {
            const py::object slot = found.result.attr(kNames[i]);
            if (!Py_IS_TYPE(slot.ptr(), &PyMemberDescr_Type)) throw py::type_error("SearchResult has no slots");
            found.places[i] = reinterpret_cast<PyMemberDescrObject*>(slot.ptr())->d_member->offset;
          }
          return found;
        })
        .get_stored();
  }
};

/// One object for each literal of the core, and what it keeps for good, found by where that lies; needs the GIL.
inline py::object literal(std::string_view text) {
  using Known = std::vector<std::pair<const char*, py::object>>;
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Known> storage;
  Known& known = storage.call_once_and_store_result([] { return Known(); }).get_stored();
  for (const auto& [where, object] : known)
    if (where == text.data()) return object;
  return known.emplace_back(text.data(), py::str(text)).second;
}

inline Stats to_stats(const SearchStats& stats) {
  const std::array<py::object, 7> fields{literal(stats.strategy),     py::cast(stats.n_scored), py::cast(stats.n_rescored),
                                         py::cast(stats.selectivity), py::cast(stats.seconds),  literal(stats.executor),
                                         py::cast(stats.n_fallbacks)};
  auto* const type = reinterpret_cast<PyTypeObject*>(ResultTypes::get().stats.ptr());
  py::object tuple = made(type->tp_alloc(type, fields.size()));  // of a type derived from it
  for (std::size_t i = 0; i < fields.size(); ++i) PyTuple_SET_ITEM(tuple.ptr(), i, fields[i].inc_ref().ptr());
#if PY_VERSION_HEX >= 0x030E0000
  reinterpret_cast<PyTupleObject*>(tuple.ptr())->ob_hash = -1;  // not known yet, as tuple's own constructor says
#endif
  return py::reinterpret_steal<Stats>(tuple.release());
}

inline Result to_result(py::array ids, py::array distances, Metric metric, const SearchStats& stats) {
  const ResultTypes& types = ResultTypes::get();
  auto* const type = reinterpret_cast<PyTypeObject*>(types.result.ptr());
  std::array<py::object, 5> values{std::move(ids), std::move(distances), literal(name_of(metric)), to_stats(stats), py::dict()};
  py::object result = made(type->tp_alloc(type, 0));
  for (std::size_t i = 0; i < values.size(); ++i)  // past the guard of a frozen class
    *reinterpret_cast<PyObject**>(reinterpret_cast<std::byte*>(result.ptr()) + types.places[i]) = values[i].release().ptr();
  return py::reinterpret_steal<Result>(result.release());
}

}  // namespace engine::bindings

template <>
struct pybind11::detail::handle_type_name<engine::bindings::Result> {
  static constexpr auto name = const_name("engine.types.SearchResult");
};
template <>
struct pybind11::detail::handle_type_name<engine::bindings::Stats> {
  static constexpr auto name = const_name("engine.types.SearchStats");
};
