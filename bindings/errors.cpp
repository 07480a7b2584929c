// engine::Error as the exceptions of engine/exceptions.py.
#include <exception>

#include "arrays.hpp"

namespace engine::bindings {
namespace {

const char* exception_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::not_built:
      return "NotBuiltError";
    case ErrorCode::corrupt:
      return "CorruptIndexError";
    case ErrorCode::io:
      return "StorageError";
    case ErrorCode::unsupported:
      return "UnsupportedError";
    default:
      return "InvalidArgumentError";
  }
}

}  // namespace

Metric metric_of(const std::string& name) {
  if (name == "cosine") return Metric::cosine;
  if (name == "ip") return Metric::ip;
  if (name == "l2") return Metric::l2;
  invalid("metric is '" + name + "', expected 'cosine', 'ip' or 'l2'");
}

Dtype dtype_of(const std::string& name) {
  if (name == "float32") return Dtype::f32;
  if (name == "float16") return Dtype::f16;
  if (name == "bfloat16") return Dtype::bf16;
  invalid("dtype is '" + name + "', expected 'float32', 'float16' or 'bfloat16'");
}

void bind_errors(py::module_&) {
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) {
        PyErr_SetString(PyExc_KeyboardInterrupt, error.what());
        return;
      }
      const py::object type = py::module_::import("engine.exceptions").attr(exception_of(error.code()));
      PyErr_SetString(type.ptr(), error.what());
    }
  });
}

}  // namespace engine::bindings
