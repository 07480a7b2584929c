#pragma once
// engine.types.SearchResult and SearchStats, made without their constructors: in Python these take a third of a small search.
#include <array>
#include <utility>

#include <pybind11/gil_safe_call_once.h>

#include "arrays.hpp"
#include "engine/search.hpp"

namespace engine::bindings {

inline py::tuple to_tuple(const SearchStats& stats) {
  return py::make_tuple(stats.strategy, stats.n_scored, stats.n_rescored, stats.selectivity, stats.seconds, stats.executor,
                        stats.n_fallbacks);
}

inline const char* name_of(Metric metric) { return metric == Metric::cosine ? "cosine" : metric == Metric::ip ? "ip" : "l2"; }

/// A SearchResult, for stubs to say so.
class Result : public py::object {
 public:
  using py::object::object;
};

/// What results are made of; found once.
struct ResultTypes {
  py::object result, stats;
  std::array<py::object, 5> names;  // of the attributes of a result

  static const ResultTypes& get() {
    PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<ResultTypes> storage;
    return storage
        .call_once_and_store_result([] {
          const auto types = py::module_::import("engine.types");
          ResultTypes found{types.attr("SearchResult"), types.attr("SearchStats"), {}};
          constexpr const char* kNames[] = {"ids", "distances", "metric", "stats", "attributes"};
          for (std::size_t i = 0; i < found.names.size(); ++i) found.names[i] = made(PyUnicode_InternFromString(kNames[i]));
          return found;
        })
        .get_stored();
  }
  static py::object made(PyObject* object) {
    if (!object) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(object);
  }
};

inline Result to_result(py::array ids, py::array distances, Metric metric, const SearchStats& stats) {
  const ResultTypes& types = ResultTypes::get();
  auto* const type = reinterpret_cast<PyTypeObject*>(types.result.ptr());
  auto* const stats_type = reinterpret_cast<PyTypeObject*>(types.stats.ptr());
  const std::array<py::object, 5> values{
      std::move(ids), std::move(distances), py::str(name_of(metric)),
      ResultTypes::made(PyTuple_Type.tp_new(stats_type, py::make_tuple(to_tuple(stats)).ptr(), nullptr)), py::dict()};
  py::object result = ResultTypes::made(type->tp_alloc(type, 0));
  for (std::size_t i = 0; i < values.size(); ++i)  // past the guard of a frozen class, as its own constructor does
    if (PyObject_GenericSetAttr(result.ptr(), types.names[i].ptr(), values[i].ptr())) throw py::error_already_set();
  return py::reinterpret_steal<Result>(result.release());
}

}  // namespace engine::bindings

template <>
struct pybind11::detail::handle_type_name<engine::bindings::Result> {
  static constexpr auto name = const_name("engine.types.SearchResult");
};
