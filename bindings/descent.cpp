// Steps of descent for free embeddings: numpy arrays, changed in place.
#include <array>

#include <pybind11/stl.h>

#include "arrays.hpp"
#include "engine/descent.hpp"

namespace engine::bindings {
namespace {

/// Rows and their moments, all of one shape.
descent::Rows rows_of(FloatMatrix& rows, FloatMatrix& first, FloatMatrix& second, std::size_t dim, const char* name) {
  for (FloatMatrix* const each : {&rows, &first, &second}) {
    const MatrixView seen = view(*each, name);
    if (seen.dim != dim || seen.n_rows != static_cast<std::size_t>(rows.shape(0)))
      invalid(std::string(name) + " or their moments have another shape than the rest");
  }
  return {rows.mutable_data(), first.mutable_data(), second.mutable_data(), static_cast<std::size_t>(rows.shape(0))};
}

}  // namespace

void bind_descent(py::module_& module) {
  module.def(
      "descend",
      [](FloatMatrix queries, FloatMatrix documents, std::array<FloatMatrix, 4> moments, const IdArray& qrels,
         py::array_t<double, py::array::c_style> losses, std::size_t done, double temperature, double lr, bool summed) {
        const std::size_t dim = view(queries, "queries").dim;
        const descent::Rows points = rows_of(queries, moments[0], moments[1], dim, "queries");
        const descent::Rows base = rows_of(documents, moments[2], moments[3], dim, "documents");
        if (qrels.ndim() != 2 || static_cast<std::size_t>(qrels.shape(0)) != points.n)
          invalid("qrels has another shape than (n_queries, k)");
        const std::span<double> to(losses.mutable_data(), static_cast<std::size_t>(losses.size()));
        const std::span<const std::int64_t> relevant(qrels.data(), static_cast<std::size_t>(qrels.size()));
        without_gil([&](Cancel& cancel) {
          descent::descend(points, base, dim, relevant, static_cast<std::size_t>(qrels.shape(1)), to,
                           {done, temperature, lr, summed}, cancel);
        });
      },
      py::arg("queries").noconvert(), py::arg("documents").noconvert(), py::arg("moments").noconvert(),
      py::arg("qrels").noconvert(), py::arg("losses").noconvert(), py::arg("done"), py::arg("temperature"), py::arg("lr"),
      py::arg("summed"), "Steps of Adam in place, float32: as many as `losses` has places. One thread, without the GIL.");
}

}  // namespace engine::bindings
