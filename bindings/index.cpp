// ExactIndex, GraphIndex and topk: numpy in, results out. What is allowed is said in engine/_validate.py, but for arguments that
// are plainly right (given.hpp).
#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include <pybind11/stl.h>

#include "arrays.hpp"
#include "engine/exact_index.hpp"
#include "engine/graph_index.hpp"
#include "engine/segments.hpp"
#include "given.hpp"
#include "results.hpp"

namespace engine::bindings {
namespace {

using Filter = std::optional<std::shared_ptr<Bitmap>>;

/// A graph may keep codes alone.
Dtype graph_dtype_of(const std::string& name) { return name == "int8" ? Dtype::i8 : dtype_of(name); }

Layout layout_of(const std::string& name) {
  if (name == "plain") return Layout::plain;
  if (name == "fast") return Layout::fast;
  invalid("layout is '" + name + "', expected 'plain' or 'fast'");
}

Strategy strategy_of(const std::string& name) {
  if (name == "auto") return Strategy::automatic;
  if (name == "plain") return Strategy::plain;
  if (name == "floats") return Strategy::floats;
  if (name == "scan") return Strategy::scan;
  if (name == "tiles") return Strategy::tiles;
  invalid("strategy is '" + name + "', expected 'auto', 'plain', 'floats', 'scan' or 'tiles'");
}

constexpr std::array<std::string_view, 4> kExecutors{"auto", "exact", "in_filter", "sweep"};  // in the order of the enum

/// The number of executors where there is none of that name.
std::size_t find_executor(std::string_view name) {
  return static_cast<std::size_t>(std::find(kExecutors.begin(), kExecutors.end(), name) - kExecutors.begin());
}

Executor executor_of(const std::string& name) {
  const std::size_t found = find_executor(name);
  if (found == kExecutors.size()) invalid("executor is '" + name + "', expected 'auto', 'exact', 'in_filter' or 'sweep'");
  return static_cast<Executor>(found);
}

std::string name_of(Executor executor) { return std::string(kExecutors[static_cast<std::size_t>(executor)]); }

/// Allocates the results, runs `work(cancel, ids, distances)` without the GIL.
template <class Work>
Result collect(const MatrixView& queries, std::size_t k, Metric metric, Work&& work) {
  if (k < 1) invalid("k is 0, expected at least 1");
  auto ids = new_matrix<std::int64_t>(queries.n_rows, k);
  auto distances = new_matrix<float>(queries.n_rows, k);
  std::int64_t* const id_data = ids.mutable_data();
  float* const distance_data = distances.mutable_data();
  const SearchStats stats = without_gil([&](Cancel& cancel) { return work(cancel, id_data, distance_data); });
  return to_result(std::move(ids), std::move(distances), metric, stats);
}

/// Results of more places are for Python to weigh against the memory.
constexpr std::size_t kManyPlaces = std::size_t{1} << 24;

/// Arguments of a search that are plainly right.
struct Given {
  MatrixView queries;
  std::size_t k;
  Effort effort;
  SearchOptions options;
};

/// Nothing where one of them is not, or results of so many places are for Python to weigh against the memory.
std::optional<Given> given_search(py::handle queries, py::handle k, py::handle recall, py::handle ef, py::handle filter,
                                  py::handle n_threads, py::handle executor, std::size_t most_places) {
  const auto rows = given_matrix(queries);
  const auto n_nearest = given_count(k), threads = given_count(n_threads, kMostThreads);
  auto effort = given_effort(recall, ef);
  const auto allowed = given_filter(filter);
  const auto name = given_text(executor);
  if (!rows || !n_nearest || !threads || !effort || !allowed || !name) return std::nullopt;
  const std::size_t way = find_executor(*name);
  if (rows->n_rows > most_places / *n_nearest || way >= kExecutors.size()) return std::nullopt;
  effort->executor = static_cast<Executor>(way);
  return Given{*rows, *n_nearest, *effort, {*allowed, *threads}};
}

/// Only a filter can be gone by in other ways than without one.
bool needs_filter(Executor executor) { return executor == Executor::sweep || executor == Executor::in_filter; }

/// Index.search where its arguments are plainly right, else None.
template <class Index>
py::object search_as_given(const Index& index, py::handle queries, py::handle k, py::handle recall, py::handle ef,
                           py::handle filter, py::handle n_threads, py::handle executor) {
  constexpr bool walks = std::is_same_v<Index, GraphIndex>;
  const auto given = given_search(queries, k, recall, ef, filter, n_threads, executor, kManyPlaces);
  if (!given || given->queries.dim != index.dim() || (!walks && given->effort.ef)) return py::none();
  if (needs_filter(given->effort.executor) && !(walks && given->options.filter)) return py::none();
  return collect(given->queries, given->k, index.metric(), [&](Cancel& cancel, std::int64_t* ids, float* distances) {
    if constexpr (walks)
      return index.search(given->queries, given->k, given->effort, given->options, cancel, ids, distances);
    else
      return index.search(given->queries, given->k, given->options, cancel, ids, distances);
  });
}

/// From pairs of an index and the rows that are there, or None.
std::vector<Segment> to_segments(const py::list& pairs) {
  std::vector<Segment> segments;
  for (const py::handle pair : pairs) {
    if (!PyTuple_Check(pair.ptr()) || PyTuple_GET_SIZE(pair.ptr()) != 2) throw py::type_error("segments are not pairs");
    const py::handle index = PyTuple_GET_ITEM(pair.ptr(), 0);
    const auto live = given_filter(PyTuple_GET_ITEM(pair.ptr(), 1));
    const auto* const exact = held<ExactIndex>(index);
    const auto* const graph = exact ? nullptr : held<GraphIndex>(index);
    if (!live || !(exact || graph)) throw py::type_error("a segment is not an index and a Bitmap or None");
    segments.push_back({exact ? decltype(Segment::index)(exact) : decltype(Segment::index)(graph), *live});
  }
  return segments;
}

void require_some(std::span<const Segment> segments) {
  if (segments.empty()) throw Error(ErrorCode::not_built, "there are no vectors to search: add some first");
}

std::optional<Result> search_segments(const py::list& pairs, py::handle queries, py::handle k, py::handle recall, py::handle ef,
                                      py::handle filter, py::handle n_threads, py::handle executor, bool is_weighed) {
  const std::vector<Segment> segments = to_segments(pairs);
  const auto given = given_search(queries, k, recall, ef, filter, n_threads, executor,
                                  is_weighed ? std::numeric_limits<std::size_t>::max() : kManyPlaces);
  if (!given || (needs_filter(given->effort.executor) && !given->options.filter)) return std::nullopt;
  require_some(segments);
  if (given->queries.dim != segments[0].dim()) return std::nullopt;
  return collect(given->queries, given->k, segments[0].metric(), [&](Cancel& cancel, std::int64_t* ids, float* distances) {
    return search(segments, given->queries, given->k, given->effort, given->options, cancel, ids, distances);
  });
}

/// A filter for each query; ids, distances, and what was done for each group of queries that share one, by
/// `search(queries, filters, cancel, ids, distances)`.
template <class Search>
py::tuple collect_each(const FloatMatrix& queries, std::size_t k, const std::vector<Filter>& filters, Search search) {
  const MatrixView rows = view(queries, "queries");
  if (k < 1) invalid("k is 0, expected at least 1");
  if (filters.size() != rows.n_rows)
    invalid("filters has " + std::to_string(filters.size()) + " entries, expected " + std::to_string(rows.n_rows));
  std::vector<const Bitmap*> given;
  for (const Filter& filter : filters) given.push_back(filter ? filter->get() : nullptr);
  auto ids = new_matrix<std::int64_t>(rows.n_rows, k);
  auto distances = new_matrix<float>(rows.n_rows, k);
  std::int64_t* const id_data = ids.mutable_data();
  float* const distance_data = distances.mutable_data();
  const std::vector<SearchStats> stats =
      without_gil([&](Cancel& cancel) { return search(rows, given, cancel, id_data, distance_data); });
  py::list done;
  for (const SearchStats& each : stats) done.append(to_stats(each));
  return py::make_tuple(ids, distances, done);
}

template <class Index>
py::tuple search_each(const Index& index, const FloatMatrix& queries, std::size_t k, double recall,
                      const std::vector<Filter>& filters, std::size_t n_threads) {
  return collect_each(queries, k, filters,
                      [&](MatrixView rows, std::span<const Bitmap* const> given, Cancel& cancel, auto* ids, auto* distances) {
                        if constexpr (std::is_same_v<Index, GraphIndex>)
                          return index.search_each(rows, k, Effort{0, recall}, given, n_threads, cancel, ids, distances);
                        else
                          return index.search_each(rows, k, given, n_threads, cancel, ids, distances);
                      });
}

py::tuple search_segments_each(const py::list& pairs, const FloatMatrix& queries, std::size_t k, double recall,
                               const std::vector<Filter>& filters, std::size_t n_threads) {
  const std::vector<Segment> segments = to_segments(pairs);
  require_some(segments);
  return collect_each(queries, k, filters,
                      [&](MatrixView rows, std::span<const Bitmap* const> given, Cancel& cancel, auto* ids, auto* distances) {
                        return search_each(segments, rows, k, Effort{0, recall}, given, n_threads, cancel, ids, distances);
                      });
}

/// Stored bytes of a dtype as rows of a matrix; bfloat16 comes as uint16.
RowsView rows_view(const py::array& array, Dtype dtype, const char* name) {
  if (array.ndim() != 2 || static_cast<std::size_t>(array.itemsize()) != size_of(dtype) || !(array.flags() & py::array::c_style))
    invalid(std::string(name) + " is not a C-order matrix of its dtype");
  return {static_cast<const std::byte*>(array.data()), static_cast<std::size_t>(array.shape(0)),
          static_cast<std::size_t>(array.shape(1)), dtype};
}

template <class Index>
py::dict parts_of(const Index& index) {
  py::dict result;
  for (const Part& part : unlocked<&Index::parts>(index)) {
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

/// Stored arrays as parts; `names` keeps their names.
std::vector<Part> to_parts(const py::dict& arrays, std::vector<std::string>& names) {
  std::vector<Part> parts;
  names.resize(arrays.size());
  std::size_t i = 0;
  for (const auto& [key, value] : arrays) {
    const auto array = py::reinterpret_borrow<py::object>(value).cast<py::array>();
    names[i] = py::cast<std::string>(key);
    if (array.ndim() != 1 || !(array.flags() & py::array::c_style) ||
        reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::size_t>(array.itemsize()))
      invalid("part '" + names[i] + "' is not a contiguous, aligned, flat array");
    // Dropped by whichever thread lets go of the last view.
    std::shared_ptr<const void> owner(new py::array(array), [](const void* held) {
      const py::gil_scoped_acquire gil;
      delete static_cast<const py::array*>(held);
    });
    parts.push_back({names[i].c_str(), array.dtype().kind(), static_cast<std::size_t>(array.itemsize()), array.data(),
                     static_cast<std::size_t>(array.size()), std::move(owner)});
    ++i;
  }
  return parts;
}

py::dict to_dict(const GraphReport& report) {
  py::dict dict;
  dict["n_rows"] = report.n_rows;
  dict["n_links"] = report.n_links;
  dict["n_out_of_range"] = report.n_out_of_range;
  dict["n_self_links"] = report.n_self_links;
  dict["n_repeated"] = report.n_repeated;
  dict["n_after_end"] = report.n_after_end;
  dict["n_reached"] = report.n_reached;
  dict["n_not_beside"] = report.n_not_beside;
  return dict;
}

/// What every kind of index has.
template <class Index>
void bind_common(py::class_<Index>& kind) {
  kind.def_property_readonly("dim", &Index::dim)
      .def_property_readonly("nbytes", [](const Index& index) { return unlocked<&Index::nbytes>(index); })
      .def_property_readonly("overhead_nbytes", [](const Index& index) { return unlocked<&Index::overhead_nbytes>(index); })
      .def_property_readonly("next_id", [](const Index& index) { return unlocked<&Index::next_id>(index); })
      .def("__len__", [](const Index& index) { return unlocked<&Index::size>(index); })
      .def("ids", [](const Index& index) { return to_array(unlocked<&Index::ids>(index)); })
      .def(
          "add",
          [](Index& index, const FloatMatrix& vectors, const std::optional<IdArray>& ids, std::size_t n_threads) {
            const MatrixView rows = view(vectors, "vectors");
            const auto given = ids ? flat(*ids, "ids") : std::span<const std::int64_t>{};
            return to_array(without_gil([&](Cancel& cancel) { return index.add(rows, given, n_threads, cancel); }));
          },
          py::arg("vectors").noconvert(), py::arg("ids").noconvert(), py::arg("n_threads"))
      .def(
          "get",
          [](const Index& index, const IdArray& ids) {
            const auto given = flat(ids, "ids");
            FloatMatrix vectors({static_cast<py::ssize_t>(given.size()), static_cast<py::ssize_t>(index.dim())});
            float* const data = vectors.mutable_data();
            const py::gil_scoped_release released;
            index.get(given, data);
            return vectors;
          },
          py::arg("ids").noconvert())
      .def(
          "find",
          [](const Index& index, const IdArray& ids) {
            const auto given = flat(ids, "ids");
            std::vector<std::int64_t> rows;
            {
              const py::gil_scoped_release released;
              rows = index.find(given);
            }
            return to_array(std::move(rows));
          },
          py::arg("ids").noconvert(), "The place of each id among all rows, removed ones too; -1 where there is none.")
      .def(
          "rows_of",
          [](const Index& index, const IdArray& ids) {
            const auto given = flat(ids, "ids");
            const py::gil_scoped_release released;
            return index.rows_of(given);
          },
          py::arg("ids").noconvert())
      .def(
          "range_search",
          [](const Index& index, const FloatMatrix& queries, double radius, const Filter& filter, std::size_t n_threads,
             const std::string& strategy) {
            const MatrixView rows = view(queries, "queries");
            const SearchOptions options{filter ? filter->get() : nullptr, n_threads, strategy_of(strategy)};
            RangeHits hits = without_gil([&](Cancel& cancel) { return index.range_search(rows, radius, options, cancel); });
            return py::make_tuple(to_array(std::move(hits.offsets)), to_array(std::move(hits.ids)),
                                  to_array(std::move(hits.distances)), to_stats(hits.stats));
          },
          py::arg("queries").noconvert(), py::arg("radius"), py::arg("filter"), py::arg("n_threads"), py::arg("strategy"))
      .def("search_each", &search_each<Index>, py::arg("queries").noconvert(), py::arg("k"), py::arg("recall"),
           py::arg("filters"), py::arg("n_threads"))
      .def("parts", &parts_of<Index>)
      .def("check", [](const Index& index) { unlocked<&Index::check>(index); }, "Refuses stored values that cannot be.");
  def_direct<&search_as_given<Index>>(
      kind, "search_as_given",
      "search_as_given(self, queries: object, k: object, recall: object, ef: object, filter: object, n_threads: object, "
      "executor: object, /) -> engine.types.SearchResult | None\n\n"
      "Index.search where each argument is exactly of the type that it takes; else None: Python has to look at them.");
}

}  // namespace

void bind_index(py::module_& module) {
  py::class_<ExactIndex> exact(module, "ExactIndex");
  exact
      .def(py::init([](std::size_t dim, const std::string& metric, const std::string& dtype) {
             return ExactIndex(dim, metric_of(metric), dtype_of(dtype));
           }),
           py::arg("dim"), py::arg("metric"), py::arg("dtype"))
      .def(
          "remove",
          [](ExactIndex& index, const IdArray& ids) {
            const auto given = flat(ids, "ids");
            const py::gil_scoped_release released;
            index.remove(given);
          },
          py::arg("ids").noconvert())
      .def(
          "search",
          [](const ExactIndex& index, const FloatMatrix& queries, std::size_t k, const Filter& filter, std::size_t n_threads,
             const std::string& strategy) {
            const MatrixView rows = view(queries, "queries");
            const SearchOptions options{filter ? filter->get() : nullptr, n_threads, strategy_of(strategy)};
            return collect(rows, k, index.metric(), [&](Cancel& cancel, std::int64_t* ids, float* distances) {
              return index.search(rows, k, options, cancel, ids, distances);
            });
          },
          py::arg("queries").noconvert(), py::arg("k"), py::arg("filter"), py::arg("n_threads"), py::arg("strategy"))
      .def_static(
          "from_parts",
          [](std::size_t dim, const std::string& metric, const std::string& dtype, std::int64_t next_id, const py::dict& parts) {
            std::vector<std::string> names;
            return ExactIndex::from_parts(dim, metric_of(metric), dtype_of(dtype), next_id, to_parts(parts, names));
          },
          py::arg("dim"), py::arg("metric"), py::arg("dtype"), py::arg("next_id"), py::arg("parts"));
  bind_common(exact);

  py::class_<GraphIndex> graph(module, "GraphIndex");
  graph
      .def(py::init([](std::size_t dim, const std::string& metric, const std::string& dtype, std::size_t degree,
                       std::size_t ef_construction, std::uint64_t seed, const std::string& layout) {
             return GraphIndex(dim, metric_of(metric), graph_dtype_of(dtype), {degree, ef_construction, seed, layout_of(layout)});
           }),
           py::arg("dim"), py::arg("metric"), py::arg("dtype"), py::arg("degree"), py::arg("ef_construction"), py::arg("seed"),
           py::arg("layout"))
      .def_property_readonly("n_dead", [](const GraphIndex& index) { return unlocked<&GraphIndex::n_dead>(index); })
      .def(
          "dead", [](const GraphIndex& index) { return std::make_shared<Bitmap>(unlocked<&GraphIndex::dead>(index)); },
          "The removed rows that still take room, among all.")
      .def(
          "remove",
          [](GraphIndex& index, const IdArray& ids, std::size_t n_threads) {
            const auto given = flat(ids, "ids");
            without_gil([&](Cancel& cancel) { index.remove(given, n_threads, cancel); });
          },
          py::arg("ids").noconvert(), py::arg("n_threads"))
      .def(
          "optimize",
          [](GraphIndex& index, std::size_t n_threads) {
            without_gil([&](Cancel& cancel) { index.optimize(n_threads, cancel); });
          },
          py::arg("n_threads"))
      .def(
          "search",
          [](const GraphIndex& index, const FloatMatrix& queries, std::size_t k, std::size_t ef, double recall,
             const Filter& filter, std::size_t n_threads, const std::string& executor) {
            const MatrixView rows = view(queries, "queries");
            const Effort effort{ef, recall, executor_of(executor)};
            const SearchOptions options{filter ? filter->get() : nullptr, n_threads};
            return collect(rows, k, index.metric(), [&](Cancel& cancel, std::int64_t* ids, float* distances) {
              return index.search(rows, k, effort, options, cancel, ids, distances);
            });
          },
          py::arg("queries").noconvert(), py::arg("k"), py::arg("ef"), py::arg("recall"), py::arg("filter"), py::arg("n_threads"),
          py::arg("executor"))
      .def(
          "plan",
          [](const GraphIndex& index, std::size_t k, std::size_t ef, double recall, const std::shared_ptr<Bitmap>& filter,
             std::size_t n_queries) {
            const py::gil_scoped_release released;
            const Plan plan = index.plan(k, {ef, recall}, *filter, n_queries);
            return std::make_tuple(name_of(plan.executor), plan.ef, plan.n_scored, plan.seconds, plan.reason);
          },
          py::arg("k"), py::arg("ef"), py::arg("recall"), py::arg("filter"), py::arg("n_queries"),
          "What a search would do: executor, ef, rows scored and seconds for a query, and why.")
      .def(
          "ef_for",
          [](const GraphIndex& index, std::size_t k, double recall) {
            const py::gil_scoped_release released;
            return index.ef_for(k, recall);
          },
          py::arg("k"), py::arg("recall"), "The smallest ef that reached `recall` when measured; 0 where none did.")
      .def(
          "calibration",
          [](const GraphIndex& index) {
            std::vector<std::tuple<std::uint32_t, std::uint32_t, float, float>> points;
            for (const CalibrationPoint& p : unlocked<&GraphIndex::calibration>(index))
              points.emplace_back(p.k, p.ef, p.recall, p.error);
            return points;
          },
          "Measured (k, ef, recall, standard error).")
      .def("inspect", [](const GraphIndex& index) { return to_dict(unlocked<&GraphIndex::inspect>(index)); })
      .def_static(
          "from_parts",
          [](std::size_t dim, const std::string& metric, const std::string& dtype, std::size_t degree,
             std::size_t ef_construction, std::uint64_t seed, const std::string& layout, std::int64_t next_id,
             const py::dict& parts) {
            std::vector<std::string> names;
            return GraphIndex::from_parts(dim, metric_of(metric), graph_dtype_of(dtype),
                                          {degree, ef_construction, seed, layout_of(layout)}, next_id, to_parts(parts, names));
          },
          py::arg("dim"), py::arg("metric"), py::arg("dtype"), py::arg("degree"), py::arg("ef_construction"), py::arg("seed"),
          py::arg("layout"), py::arg("next_id"), py::arg("parts"));
  bind_common(graph);

  module.def(
      "topk",
      [](const FloatMatrix& queries, const py::array& vectors, const std::string& dtype, std::size_t k, const std::string& metric,
         const Filter& filter, std::size_t n_threads, const std::string& strategy) {
        const MatrixView rows = view(queries, "queries");
        const RowsView base = rows_view(vectors, dtype_of(dtype), "vectors");
        const Metric measured = metric_of(metric);
        const SearchOptions options{filter ? filter->get() : nullptr, n_threads, strategy_of(strategy)};
        return collect(rows, k, measured, [&](Cancel& cancel, std::int64_t* ids, float* distances) {
          return topk(rows, base, measured, k, options, cancel, ids, distances);
        });
      },
      py::arg("queries").noconvert(), py::arg("vectors"), py::arg("dtype"), py::arg("k"), py::arg("metric"), py::arg("filter"),
      py::arg("n_threads"), py::arg("strategy"));

  module.def(
      "search_segments", &search_segments, py::arg("segments"), py::arg("queries"), py::arg("k"), py::arg("recall"),
      py::arg("ef"), py::arg("filter"), py::arg("n_threads"), py::arg("executor"), py::arg("is_weighed"),
      "Several indexes as one, each with the rows that are there, None: all, of all; as search_as_given. The filter is over "
      "all rows of all. `is_weighed`: results of any size.");
  module.def("search_segments_each", &search_segments_each, py::arg("segments"), py::arg("queries").noconvert(), py::arg("k"),
             py::arg("recall"), py::arg("filters"), py::arg("n_threads"));
}

}  // namespace engine::bindings
