#pragma once
// numpy arrays as the views that the core takes, and back.
#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "engine/cancel.hpp"
#include "engine/error.hpp"
#include "engine/matrix_view.hpp"

namespace engine::bindings {

namespace py = pybind11;

using FloatMatrix = py::array_t<float, py::array::c_style>;
using IdArray = py::array_t<std::int64_t, py::array::c_style>;
using MaskArray = py::array_t<bool, py::array::c_style>;

inline MatrixView view(const FloatMatrix& array, const char* name) {
  if (array.ndim() != 2) invalid(std::string(name) + " has " + std::to_string(array.ndim()) + " dimensions, expected 2");
  return {array.data(), static_cast<std::size_t>(array.shape(0)), static_cast<std::size_t>(array.shape(1))};
}

/// A new reference.
inline py::object made(PyObject* object) {
  if (!object) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

template <class T>
std::span<const T> flat(const py::array_t<T, py::array::c_style>& array, const char* name) {
  if (array.ndim() != 1) invalid(std::string(name) + " has " + std::to_string(array.ndim()) + " dimensions, expected 1");
  return {array.data(), static_cast<std::size_t>(array.size())};
}

inline std::string kind_of(const py::array& array) { return py::str(array.dtype()).cast<std::string>(); }

/// Rows as integers of any kind.
inline IdArray as_rows(const py::object& rows) {
  const py::array array = py::array::ensure(rows);
  if (array && array.size() == 0) return IdArray(0);
  if (!array || (array.dtype().kind() != 'i' && array.dtype().kind() != 'u')) {
    PyErr_Clear();
    invalid("rows has dtype " + (array ? kind_of(array) : "object") + ", expected integers");
  }
  return IdArray::ensure(array.attr("astype")("int64"));
}

/// Not initialised. py::array_t makes vectors of its shape and strides, in half the time of a search of few rows.
template <class T>
py::array_t<T> new_matrix(std::size_t n_rows, std::size_t n_columns) {
  const auto& numpy = py::detail::npy_api::get();
  const std::array shape{static_cast<Py_intptr_t>(n_rows), static_cast<Py_intptr_t>(n_columns)};
  return py::reinterpret_steal<py::array_t<T>>(
      made(numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, py::dtype::of<T>().release().ptr(), 2, shape.data(), nullptr, nullptr,
                                       0, nullptr))
          .release());
}

template <class T>
py::array_t<T> to_array(std::vector<T> values) {
  auto* const held = new std::vector<T>(std::move(values));
  const py::capsule owner(held, [](void* p) { delete static_cast<std::vector<T>*>(p); });
  return py::array_t<T>(static_cast<py::ssize_t>(held->size()), held->data(), owner);
}

/// A getter that may have to wait for a change under way, which must not happen with the GIL held.
template <auto kGetter>
constexpr auto unlocked = [](const auto& object) {
  const py::gil_scoped_release released;
  return (object.*kGetter)();
};

Metric metric_of(const std::string& name);
Dtype dtype_of(const std::string& name);

/// Runs `work(cancel)` without the GIL; it is taken back only to look for signals, at most every 50 ms.
template <class Work>
auto without_gil(Work&& work) {
  Cancel cancel([] {
    const py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  });
  try {
    const py::gil_scoped_release released;
    return work(cancel);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled && PyErr_Occurred()) throw py::error_already_set();
    throw;
  }
}

void bind_attributes(py::module_& module);
void bind_descent(py::module_& module);
void bind_errors(py::module_& module);
void bind_filter(py::module_& module);
void bind_index(py::module_& module);
void bind_kernels(py::module_& module);
void bind_multivector(py::module_& module);

}  // namespace engine::bindings
