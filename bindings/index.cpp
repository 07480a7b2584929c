// ExactIndex and topk: numpy in, numpy out, no policy.
#include <optional>

#include <pybind11/stl.h>

#include "arrays.hpp"
#include "engine/exact_index.hpp"

namespace engine::bindings {
namespace {

using Filter = std::optional<std::shared_ptr<Bitmap>>;

/// A getter that may have to wait for a change under way, which must not happen with the GIL held.
template <auto kGetter>
auto unlocked(const ExactIndex& index) {
  const py::gil_scoped_release released;
  return (index.*kGetter)();
}

Strategy strategy_of(const std::string& name) {
  if (name == "auto") return Strategy::automatic;
  if (name == "plain") return Strategy::plain;
  if (name == "floats") return Strategy::floats;
  if (name == "scan") return Strategy::scan;
  if (name == "tiles") return Strategy::tiles;
  invalid("strategy is '" + name + "', expected 'auto', 'plain', 'floats', 'scan' or 'tiles'");
}

py::dict to_dict(const SearchStats& stats) {
  py::dict dict;
  dict["strategy"] = stats.strategy;
  dict["n_scored"] = stats.n_scored;
  dict["n_rescored"] = stats.n_rescored;
  dict["selectivity"] = stats.selectivity;
  dict["seconds"] = stats.seconds;
  return dict;
}

/// Allocates the results, runs `work(cancel, ids, distances)` without the GIL.
template <class Work>
py::tuple collect(const MatrixView& queries, std::size_t k, Work&& work) {
  if (k < 1) invalid("k is 0, expected at least 1");
  const std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(queries.n_rows), static_cast<py::ssize_t>(k)};
  py::array_t<std::int64_t> ids(shape);
  py::array_t<float> distances(shape);
  std::int64_t* const id_data = ids.mutable_data();
  float* const distance_data = distances.mutable_data();
  const SearchStats stats = without_gil([&](Cancel& cancel) { return work(cancel, id_data, distance_data); });
  return py::make_tuple(ids, distances, to_dict(stats));
}

/// Stored bytes of a dtype as rows of a matrix; bfloat16 comes as uint16.
RowsView rows_view(const py::array& array, Dtype dtype, const char* name) {
  if (array.ndim() != 2 || static_cast<std::size_t>(array.itemsize()) != size_of(dtype) || !(array.flags() & py::array::c_style))
    invalid(std::string(name) + " is not a C-order matrix of its dtype");
  return {static_cast<const std::byte*>(array.data()), static_cast<std::size_t>(array.shape(0)),
          static_cast<std::size_t>(array.shape(1)), dtype};
}

py::dict parts_of(const ExactIndex& index) {
  py::dict result;
  for (const Part& part : unlocked<&ExactIndex::parts>(index)) {
    auto* const owner = new std::shared_ptr<const void>(part.owner);
    const py::capsule capsule(owner, [](void* p) { delete static_cast<std::shared_ptr<const void>*>(p); });
    const py::dtype dtype(std::string(1, part.kind) + std::to_string(part.item_size));
    py::array array(dtype, {static_cast<py::ssize_t>(part.n_items)}, {static_cast<py::ssize_t>(part.item_size)}, part.data,
                    capsule);
    array.attr("flags").attr("writeable") = false;
    result[part.name] = array;
  }
  return result;
}

ExactIndex index_from_parts(std::size_t dim, const std::string& metric, const std::string& dtype, std::int64_t next_id,
                            const py::dict& arrays) {
  std::vector<Part> parts;
  std::vector<std::string> names(arrays.size());
  std::size_t i = 0;
  for (const auto& [key, value] : arrays) {
    const auto array = py::reinterpret_borrow<py::object>(value).cast<py::array>();
    names[i] = py::cast<std::string>(key);
    if (array.ndim() != 1 || !(array.flags() & py::array::c_style) ||
        reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::size_t>(array.itemsize()))
      invalid("part '" + names[i] + "' is not a contiguous, aligned, flat array");
    // Dropped by whichever thread lets go of the last view.
    std::shared_ptr<const void> owner(new py::array(array), [](const void* p) {
      const py::gil_scoped_acquire gil;
      delete static_cast<const py::array*>(p);
    });
    parts.push_back({names[i].c_str(), array.dtype().kind(), static_cast<std::size_t>(array.itemsize()), array.data(),
                     static_cast<std::size_t>(array.size()), std::move(owner)});
    ++i;
  }
  return ExactIndex::from_parts(dim, metric_of(metric), dtype_of(dtype), next_id, parts);
}

}  // namespace

void bind_index(py::module_& module) {
  py::class_<ExactIndex>(module, "ExactIndex")
      .def(py::init([](std::size_t dim, const std::string& metric, const std::string& dtype) {
             return ExactIndex(dim, metric_of(metric), dtype_of(dtype));
           }),
           py::arg("dim"), py::arg("metric"), py::arg("dtype"))
      .def_property_readonly("dim", &ExactIndex::dim)
      .def_property_readonly("nbytes", &unlocked<&ExactIndex::nbytes>)
      .def_property_readonly("overhead_nbytes", &unlocked<&ExactIndex::overhead_nbytes>)
      .def_property_readonly("next_id", &unlocked<&ExactIndex::next_id>)
      .def("__len__", &unlocked<&ExactIndex::size>)
      .def("ids", [](const ExactIndex& index) { return to_array(unlocked<&ExactIndex::ids>(index)); })
      .def(
          "add",
          [](ExactIndex& index, const FloatMatrix& vectors, const std::optional<IdArray>& ids, std::size_t n_threads) {
            const MatrixView rows = view(vectors, "vectors");
            const auto given = ids ? flat(*ids, "ids") : std::span<const std::int64_t>{};
            return to_array(without_gil([&](Cancel& cancel) { return index.add(rows, given, n_threads, cancel); }));
          },
          py::arg("vectors").noconvert(), py::arg("ids").noconvert(), py::arg("n_threads"))
      .def(
          "remove",
          [](ExactIndex& index, const IdArray& ids) {
            const auto given = flat(ids, "ids");
            const py::gil_scoped_release released;
            index.remove(given);
          },
          py::arg("ids").noconvert())
      .def(
          "get",
          [](const ExactIndex& index, const IdArray& ids) {
            const auto given = flat(ids, "ids");
            FloatMatrix vectors({static_cast<py::ssize_t>(given.size()), static_cast<py::ssize_t>(index.dim())});
            float* const data = vectors.mutable_data();
            const py::gil_scoped_release released;
            index.get(given, data);
            return vectors;
          },
          py::arg("ids").noconvert())
      .def(
          "rows_of",
          [](const ExactIndex& index, const IdArray& ids) {
            const auto given = flat(ids, "ids");
            const py::gil_scoped_release released;
            return index.rows_of(given);
          },
          py::arg("ids").noconvert())
      .def(
          "search",
          [](const ExactIndex& index, const FloatMatrix& queries, std::size_t k, const Filter& filter, std::size_t n_threads,
             const std::string& strategy) {
            const MatrixView rows = view(queries, "queries");
            const SearchOptions options{filter ? filter->get() : nullptr, n_threads, strategy_of(strategy)};
            return collect(rows, k, [&](Cancel& cancel, std::int64_t* ids, float* distances) {
              return index.search(rows, k, options, cancel, ids, distances);
            });
          },
          py::arg("queries").noconvert(), py::arg("k"), py::arg("filter"), py::arg("n_threads"), py::arg("strategy"))
      .def(
          "range_search",
          [](const ExactIndex& index, const FloatMatrix& queries, double radius, const Filter& filter, std::size_t n_threads,
             const std::string& strategy) {
            const MatrixView rows = view(queries, "queries");
            const SearchOptions options{filter ? filter->get() : nullptr, n_threads, strategy_of(strategy)};
            RangeHits hits = without_gil([&](Cancel& cancel) { return index.range_search(rows, radius, options, cancel); });
            return py::make_tuple(to_array(std::move(hits.offsets)), to_array(std::move(hits.ids)),
                                  to_array(std::move(hits.distances)), to_dict(hits.stats));
          },
          py::arg("queries").noconvert(), py::arg("radius"), py::arg("filter"), py::arg("n_threads"), py::arg("strategy"))
      .def("parts", &parts_of)
      .def_static("from_parts", &index_from_parts, py::arg("dim"), py::arg("metric"), py::arg("dtype"), py::arg("next_id"),
                  py::arg("parts"));

  module.def(
      "topk",
      [](const FloatMatrix& queries, const py::array& vectors, const std::string& dtype, std::size_t k, const std::string& metric,
         const Filter& filter, std::size_t n_threads, const std::string& strategy) {
        const MatrixView rows = view(queries, "queries");
        const RowsView base = rows_view(vectors, dtype_of(dtype), "vectors");
        const Metric measured = metric_of(metric);
        const SearchOptions options{filter ? filter->get() : nullptr, n_threads, strategy_of(strategy)};
        return collect(rows, k, [&](Cancel& cancel, std::int64_t* ids, float* distances) {
          return topk(rows, base, measured, k, options, cancel, ids, distances);
        });
      },
      py::arg("queries").noconvert(), py::arg("vectors"), py::arg("dtype"), py::arg("k"), py::arg("metric"), py::arg("filter"),
      py::arg("n_threads"), py::arg("strategy"));
}

}  // namespace engine::bindings
