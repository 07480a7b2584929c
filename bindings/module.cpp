#include "arrays.hpp"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled core of nearfield; use the engine package.";
  engine::bindings::bind_errors(module);
  engine::bindings::bind_filter(module);
  engine::bindings::bind_attributes(module);
  engine::bindings::bind_index(module);
  engine::bindings::bind_descent(module);
  engine::bindings::bind_multivector(module);
  engine::bindings::bind_kernels(module);
}
