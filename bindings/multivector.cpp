// MaxSim between sets of rows.
#include "arrays.hpp"
#include "engine/maxsim.hpp"

namespace engine::bindings {
namespace {

multivector::Sets sets_of(const FloatMatrix& rows, const IdArray& offsets, const char* name) {
  return {view(rows, name), flat(offsets, name)};
}

}  // namespace

void bind_multivector(py::module_& module) {
  module.def(
      "maxsim",
      [](const FloatMatrix& queries, const IdArray& query_offsets, const FloatMatrix& rows, const IdArray& offsets,
         const IdArray& listed, std::size_t n_threads) {
        const multivector::Sets asked = sets_of(queries, query_offsets, "queries"), items = sets_of(rows, offsets, "items");
        const auto wanted = flat(listed, "listed");
        if (asked.offsets.empty()) invalid("queries have no offsets");
        FloatMatrix scores({static_cast<py::ssize_t>(asked.size()), static_cast<py::ssize_t>(wanted.size())});
        float* const to = scores.mutable_data();
        without_gil([&](Cancel& cancel) { multivector::maxsim(asked, items, wanted, n_threads, to, cancel); });
        return scores;
      },
      py::arg("queries").noconvert(), py::arg("query_offsets").noconvert(), py::arg("rows").noconvert(),
      py::arg("offsets").noconvert(), py::arg("listed").noconvert(), py::arg("n_threads"),
      "Sums over the rows of each query of the largest dot product with a row of each listed item, (n_queries, n_listed).");
}

}  // namespace engine::bindings
