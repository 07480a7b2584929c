// engine.Bitmap.
#include <pybind11/operators.h>

#include "arrays.hpp"
#include "engine/bitmap.hpp"

namespace engine::bindings {

namespace {

MaskArray as_mask(const py::object& mask) {
  if (py::hasattr(mask, "filled") && py::hasattr(mask, "mask")) invalid("mask is a masked array; fill it first");
  const py::array array = py::array::ensure(mask);
  if (!array || array.dtype().kind() != 'b') {
    PyErr_Clear();
    invalid("mask has dtype " + (array ? kind_of(array) : "object") + ", expected bool");
  }
  return MaskArray::ensure(array);
}

}  // namespace

void bind_filter(py::module_& module) {
  py::class_<Bitmap, std::shared_ptr<Bitmap>>(
      module, "Bitmap", R"(A set of rows, listed or a bit each: the cheapest form of a filter to keep and to combine.

Parameters
----------
mask : array_like, shape (n_rows,), bool
    True where the row is allowed.

Notes
-----
``&``, ``|``, ``^`` and ``~`` combine bitmaps of the same length; ``len`` is the number of rows, `count` of those allowed.

Examples
--------
>>> import numpy as np, engine
>>> even = engine.Bitmap(np.arange(6) % 2 == 0)
>>> (even & engine.Bitmap.from_rows(6, [0, 1, 2])).rows().tolist()
[0, 2]
)")
      .def(py::init([](const py::object& mask) { return Bitmap::from_mask(flat(as_mask(mask), "mask")); }), py::arg("mask"))
      .def_static(
          "from_rows",
          [](std::int64_t n, const py::object& rows) {
            if (n < 0 || static_cast<std::size_t>(n) > kMaxRows)
              invalid("n is " + std::to_string(n) + ", expected 0 to " + std::to_string(kMaxRows));
            return Bitmap::from_rows(static_cast<std::size_t>(n), flat(as_rows(rows), "rows"));
          },
          py::arg("n"), py::arg("rows"), "The bitmap over `n` rows that holds `rows` (integers).")
      .def("__len__", &Bitmap::size)
      .def("count", &Bitmap::count, "Number of rows allowed.")
      .def_property_readonly("nbytes", &Bitmap::nbytes, "Bytes of memory.")
      .def(
          "to_mask",
          [](const Bitmap& bitmap) {
            MaskArray mask(static_cast<py::ssize_t>(bitmap.size()));
            bool* const values = mask.mutable_data();
            std::fill_n(values, bitmap.size(), false);
            bitmap.for_each([&](std::size_t row) { values[row] = true; });
            return mask;
          },
          "Shape (n_rows,) bool.")
      .def(
          "rows",
          [](const Bitmap& bitmap) {
            std::vector<std::int64_t> rows;
            rows.reserve(bitmap.count());
            bitmap.for_each([&](std::size_t row) { rows.push_back(static_cast<std::int64_t>(row)); });
            return to_array(std::move(rows));
          },
          "The rows allowed, ascending, int64.")
      .def("slice", &Bitmap::slice, py::arg("begin"), py::arg("end"), "The rows from `begin` to `end`, counted from 0.")
      .def("compress", &Bitmap::compress, py::arg("rows"),
           "Over the members of the bitmap `rows`, counted from 0: those of them that are allowed here.")
      .def("spread", &Bitmap::spread, py::arg("rows"),
           "The reverse of `compress`: over as many rows as the bitmap `rows`, only members of which are allowed.")
      .def(py::self & py::self)
      .def(py::self | py::self)
      .def(py::self ^ py::self)
      .def(~py::self)
      .def(py::self == py::self)
      .def("__repr__", [](const Bitmap& bitmap) {
        return "Bitmap(" + std::to_string(bitmap.count()) + " of " + std::to_string(bitmap.size()) + " rows)";
      });
}

}  // namespace engine::bindings
