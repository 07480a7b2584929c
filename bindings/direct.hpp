#pragma once
// Methods that Python calls without pybind11's dispatcher, and objects found without its tables: these are half a microsecond of
// a search that takes five (docs/decisions/0018).
#include <cstddef>
#include <string>
#include <typeinfo>
#include <utility>

#include "arrays.hpp"

namespace engine::bindings {

/// The T that `object` holds; null where it is none, or where its constructor did not run.
template <class T>
T* held(py::handle object) {
  static auto* const type = reinterpret_cast<PyTypeObject*>(py::type::of<T>().ptr());
  if (!PyObject_TypeCheck(object.ptr(), type)) return nullptr;
  // A derived class may hold others beside it: those are looked up.
  const auto* const which = Py_IS_TYPE(object.ptr(), type) ? nullptr : py::detail::get_type_info(typeid(T));
  return static_cast<T*>(reinterpret_cast<py::detail::instance*>(object.ptr())->get_value_and_holder(which).value_ptr());
}

/// What Python calls for `kFunction(object, arguments...)`.
template <auto kFunction>
struct Direct;

template <class T, class... Arguments, py::object (*kFunction)(const T&, Arguments...)>
struct Direct<kFunction> {
  static PyObject* call(PyObject* self, PyObject* const* arguments, Py_ssize_t n) noexcept {
    try {
      if (n != sizeof...(Arguments))
        throw py::type_error(std::to_string(n) + " arguments, expected " + std::to_string(sizeof...(Arguments)));
      const T* const object = held<T>(self);
      if (!object) throw py::type_error("the object was not made by its constructor");
      return [&]<std::size_t... i>(std::index_sequence<i...>) {
        return kFunction(*object, Arguments(arguments[i])...).release().ptr();
      }(std::index_sequence_for<Arguments...>());
    } catch (py::error_already_set& error) {
      error.restore();
    } catch (...) {
      py::detail::try_translate_exceptions();
    }
    return nullptr;
  }
};

/// A method whose arguments have no names; `doc` begins with its signature, as pybind11's do.
template <auto kFunction>
void def_direct(py::handle type, const char* name, const char* doc) {
  static PyMethodDef method{name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&Direct<kFunction>::call)),
                            METH_FASTCALL, doc};
  type.attr(name) = made(PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &method));
}

}  // namespace engine::bindings
