// Kernels by themselves: for tests against the scalar oracle, and the peak that the bench compares with.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <limits>
#include <optional>

#include <pybind11/stl.h>

#include "arrays.hpp"
#include "engine/isa.hpp"
#include "kernels/table.hpp"

namespace engine::bindings {
namespace {

using Bytes = py::array_t<std::uint8_t, py::array::c_style>;
using SignedBytes = py::array_t<std::int8_t, py::array::c_style>;
using Rows = py::array_t<std::uint32_t, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style>;

/// A namespace in Python: a submodule would need a stub of its own.
struct Kernels {};

/// A vector of its dtype, bfloat16 as uint16.
const void* typed(const py::array& array, const std::string& dtype, std::size_t n) {
  if (array.ndim() != 1 || static_cast<std::size_t>(array.size()) != n ||
      static_cast<std::size_t>(array.itemsize()) != size_of(dtype_of(dtype)))
    invalid("b is not a vector of " + std::to_string(n) + " numbers of its dtype");
  return array.data();
}

/// 64 rows of bytes as a tile.
std::vector<std::uint8_t> packed(const Bytes& rows) {
  if (rows.ndim() != 2 || rows.shape(0) != 64 || rows.shape(1) % 4) invalid("rows has shape other than (64, multiple of 4)");
  const auto dim = static_cast<std::size_t>(rows.shape(1));
  std::vector<std::uint8_t> tile(64 * dim);
  for (std::size_t r = 0; r < 64; ++r)
    for (std::size_t j = 0; j < dim; ++j) tile[(j / 4 * 64 + r) * 4 + j % 4] = rows.data()[r * dim + j];
  return tile;
}

/// A matrix of its dtype as rows, all of those listed in it.
RowsView listed(const FloatMatrix& query, const py::array& vectors, const std::string& dtype, const Rows& rows) {
  const std::size_t n = vectors.ndim() == 2 ? static_cast<std::size_t>(vectors.shape(0)) : 0;
  const auto dim = flat(query, "query").size();
  typed(vectors.attr("reshape")(-1), dtype, n * dim);
  if (std::any_of(rows.data(), rows.data() + rows.size(), [n](std::uint32_t row) { return row >= n; }))
    invalid("rows holds one that is not in vectors");
  return {static_cast<const std::byte*>(vectors.data()), n, dim, dtype_of(dtype)};
}

}  // namespace

void bind_kernels(py::module_& module) {
  module.def("isa", [] { return std::string(active_isa()); }, "Instruction set in use: baseline, avx2, avx512 or avx512vnni.");
  module.def("supported_isas", &supported_isas, "Those that this machine can run, slowest first.");

  py::class_<Kernels> kernels(module, "kernels", "Single kernels of the active instruction set, for tests and the bench.");
  kernels.def_static("query_limit", [] { return kernels::active().query_limit; }, "Largest |q| that the int8 tile kernel takes.");
  kernels.def_static(
      "squared_norm",
      [](const py::array& b, const std::string& dtype) {
        const auto dim = static_cast<std::size_t>(b.size());
        return kernels::active().squared_norm[static_cast<int>(dtype_of(dtype))](typed(b, dtype, dim), dim);
      },
      py::arg("b"), py::arg("dtype"));
  kernels.def_static(
      "dot_norm",
      [](const FloatMatrix& a, const py::array& b, const std::string& dtype) {
        const auto x = flat(a, "a");
        double dot, norm;
        kernels::active().dot_norm[static_cast<int>(dtype_of(dtype))](x.data(), typed(b, dtype, x.size()), x.size(), &dot, &norm);
        return std::pair(dot, norm);
      },
      py::arg("a").noconvert(), py::arg("b"), py::arg("dtype"));
  kernels.def_static(
      "squared_l2",
      [](const FloatMatrix& a, const py::array& b, const std::string& dtype) {
        const auto x = flat(a, "a");
        return kernels::active().squared_l2[static_cast<int>(dtype_of(dtype))](x.data(), typed(b, dtype, x.size()), x.size());
      },
      py::arg("a").noconvert(), py::arg("b"), py::arg("dtype"));
  kernels.def_static(
      "dot_norm_rows",
      [](const FloatMatrix& query, const py::array& vectors, const std::string& dtype, const Rows& rows) {
        const RowsView base = listed(query, vectors, dtype, rows);
        std::vector<float> dots(rows.size()), norms(rows.size());
        kernels::active().dot_norm_rows[static_cast<int>(base.dtype)](query.data(), base.data, base.dim, rows.data(), dots.size(),
                                                                      dots.data(), norms.data());
        return std::pair(to_array(std::move(dots)), to_array(std::move(norms)));
      },
      py::arg("query").noconvert(), py::arg("vectors"), py::arg("dtype"), py::arg("rows").noconvert());
  kernels.def_static(
      "squared_l2_rows",
      [](const FloatMatrix& query, const py::array& vectors, const std::string& dtype, const Rows& rows) {
        const RowsView base = listed(query, vectors, dtype, rows);
        std::vector<float> scores(rows.size());
        kernels::active().squared_l2_rows[static_cast<int>(base.dtype)](query.data(), base.data, base.dim, rows.data(),
                                                                        scores.size(), scores.data());
        return to_array(std::move(scores));
      },
      py::arg("query").noconvert(), py::arg("vectors"), py::arg("dtype"), py::arg("rows").noconvert());
  kernels.def_static(
      "screen_rows",
      [](const FloatMatrix& scores, const std::optional<FloatMatrix>& norms, float factor, float threshold) {
        const auto given = flat(scores, "scores");
        const auto squared = norms ? flat(*norms, "norms") : given;
        if (given.size() > kernels::kTileRows || squared.size() != given.size())
          invalid("scores and norms are not up to 64 each");
        std::array<float, kernels::kTileRows> all{}, lengths{};
        std::copy(given.begin(), given.end(), all.begin());
        std::copy(squared.begin(), squared.end(), lengths.begin());
        return kernels::active().screen_rows(all.data(), norms ? lengths.data() : nullptr, given.size(), factor, threshold);
      },
      py::arg("scores").noconvert(), py::arg("norms").noconvert(), py::arg("factor"), py::arg("threshold"));
  kernels.def_static(
      "store",
      [](const FloatMatrix& a, const std::string& dtype) {
        const auto x = flat(a, "a");
        Bytes bytes(static_cast<py::ssize_t>(x.size() * size_of(dtype_of(dtype))));
        kernels::active().store[static_cast<int>(dtype_of(dtype))](x.data(), x.size(), bytes.mutable_data());
        return bytes;
      },
      py::arg("a").noconvert(), py::arg("dtype"));
  kernels.def_static(
      "load",
      [](const Bytes& bytes, const std::string& dtype) {
        const std::size_t n = static_cast<std::size_t>(bytes.size()) / size_of(dtype_of(dtype));
        FloatMatrix values(static_cast<py::ssize_t>(n));
        kernels::active().load[static_cast<int>(dtype_of(dtype))](bytes.data(), n, values.mutable_data());
        return values;
      },
      py::arg("bytes").noconvert(), py::arg("dtype"));
  kernels.def_static(
      "dot_nibbles",
      [](const Bytes& plane, const Rows& rows, const SignedBytes& query) {
        const auto row_bytes = static_cast<std::size_t>(plane.shape(1));
        const std::size_t padded = (row_bytes + 63) / 64 * 64;
        if (plane.ndim() != 2 || row_bytes % 16 || rows.size() > 64 || query.size() != static_cast<py::ssize_t>(2 * row_bytes))
          invalid("plane has a row length that is no multiple of 16, or rows or query do not fit it");
        std::vector<std::uint8_t> codes(plane.data(), plane.data() + plane.size());
        codes.resize(codes.size() + kernels::kReadAhead, 0xff);
        std::vector<std::int8_t> apart(2 * padded);
        std::copy_n(query.data(), row_bytes, apart.data());
        std::copy_n(query.data() + row_bytes, row_bytes, apart.data() + padded);
        std::vector<std::int32_t> dots(kernels::kTileRows);
        kernels::active().dot_nibbles(codes.data(), row_bytes, rows.data(), static_cast<std::size_t>(rows.size()), 0,
                                      apart.data(), dots.data());
        dots.resize(static_cast<std::size_t>(rows.size()));
        return to_array(std::move(dots));
      },
      py::arg("plane").noconvert(), py::arg("rows").noconvert(), py::arg("query").noconvert());
  kernels.def_static(
      "signed_codes",
      [](const Bytes& rows, std::size_t n_rows) {
        const std::vector<std::uint8_t> tile = packed(rows);
        std::vector<std::int8_t> codes((tile.size() / kernels::kTileRows + 63) / 64 * 64 * kernels::kTileRows);
        std::vector<std::int32_t> sums(kernels::kTileRows);
        kernels::active().signed_codes(tile.data(), tile.size() / kernels::kTileRows / 4, n_rows, codes.data(), sums.data());
        return std::pair(to_array(std::move(codes)), to_array(std::move(sums)));
      },
      py::arg("rows").noconvert(), py::arg("n_rows"));
  kernels.def_static(
      "screen_tile_i8",
      [](const Bytes& rows, const SignedBytes& queries, float threshold, std::size_t n_rows) {
        const auto dim = static_cast<std::size_t>(rows.shape(1)), n_queries = static_cast<std::size_t>(queries.shape(0));
        if (n_rows > kernels::kTileRows) invalid("n_rows is above 64");
        if (queries.shape(1) != rows.shape(1)) invalid("queries has another dim than rows");
        const std::vector<std::uint8_t> tile = packed(rows);
        const std::vector<float> one(64, 1.0f), zero(64);
        const std::vector<kernels::QueryBounds> bounds(n_queries, {0, 0, 0, threshold});
        std::vector<std::uint64_t> masks(n_queries);
        std::vector<std::int32_t> sums(n_queries * kernels::kTileRows);
        kernels::active().screen_tile_i8(tile.data(), dim / 4, queries.data(), dim, bounds.data(), n_queries,
                                         {one.data(), zero.data(), nullptr, n_rows}, masks.data(), sums.data());
        return to_array(std::move(masks));
      },
      py::arg("rows").noconvert(), py::arg("queries").noconvert(), py::arg("threshold"), py::arg("n_rows") = kernels::kTileRows,
      "Bit r of masks[q] says that the dot product of row r and query q is at least `threshold`.");
  kernels.def_static(
      "bound_distances",
      [](const py::array& given, const FloatMatrix& terms, const std::array<double, 7>& query, bool biased) {
        const py::array dots = py::array::ensure(given, py::array::c_style);
        const bool are_floats = dots.dtype().kind() == 'f';
        const auto n = static_cast<std::size_t>(dots.size());
        if (dots.itemsize() != 4 || n > kernels::kTileRows || terms.ndim() != 2 || terms.shape(0) != 4 ||
            terms.shape(1) != dots.size())
          invalid("dots are not up to 64 int32 or float32, or terms not 4 for each");
        std::array<float, kernels::kTileRows> all[4]{};
        std::array<std::int32_t, kernels::kTileRows> sums{};
        for (std::size_t i = 0; i < 4; ++i) std::copy_n(terms.data(static_cast<py::ssize_t>(i), 0), n, all[i].begin());
        std::memcpy(sums.data(), dots.data(), 4 * n);
        std::vector<double> lows(kernels::kTileRows), highs(kernels::kTileRows);
        const auto bound = are_floats ? kernels::active().bound_distances_f32 : kernels::active().bound_distances_i32;
        bound(sums.data(), {all[0].data(), all[1].data(), biased ? all[3].data() : nullptr, n}, all[2].data(),
              {query[0], query[1], query[2], query[3], query[4], query[5], query[6]}, lows.data(), highs.data());
        lows.resize(n);
        highs.resize(n);
        return std::pair(to_array(std::move(lows)), to_array(std::move(highs)));
      },
      py::arg("dots"), py::arg("terms").noconvert(), py::arg("query"), py::arg("biased"),
      "`terms`: scale, error, norm and bias of each row. `query`: low, high, score, error, rest, bias_low, bias_high.");
  kernels.def_static(
      "not_above",
      [](const Doubles& values, double limit) {
        const auto given = flat(values, "values");
        if (given.size() > kernels::kTileRows) invalid("values are more than 64");
        std::array<double, kernels::kTileRows> all{};
        std::copy(given.begin(), given.end(), all.begin());
        return kernels::active().not_above(all.data(), given.size(), limit);
      },
      py::arg("values").noconvert(), py::arg("limit"));
  kernels.def_static(
      "hadamard",
      [](const FloatMatrix& x) {
        const auto given = flat(x, "x");
        if (given.empty() || (given.size() & (given.size() - 1))) invalid("x has a length that is no power of two");
        std::vector<float> result(given.begin(), given.end());
        kernels::active().hadamard(result.data(), result.size());
        return to_array(std::move(result));
      },
      py::arg("x").noconvert());
  kernels.def_static(
      "encode_query",
      [](const FloatMatrix& query, double factor, double subtracted, const FloatMatrix& center, int limit) {
        const auto y = flat(query, "query"), c = flat(center, "center");
        if (y.size() != c.size()) invalid("query and center have different lengths");
        if (limit < 1 || limit > 127) invalid("limit is " + std::to_string(limit) + ", expected 1 to 127");
        std::vector<double> work(y.size());
        std::vector<std::int8_t> codes(y.size());
        kernels::EncodedQuery code;
        kernels::active().encode_query(y.data(), factor, subtracted, c.data(), y.size(), limit, work.data(), codes.data(), &code);
        return py::make_tuple(to_array(std::move(codes)), code.scale, code.squared, code.shift, code.norm, code.rest, code.sum);
      },
      py::arg("query").noconvert(), py::arg("factor"), py::arg("subtracted"), py::arg("center").noconvert(), py::arg("limit"),
      "Codes; scale, squared length, product with the center; squared length of the codes and of their rest; sum of the codes.");
  kernels.def_static(
      "insert",
      [](const IdArray& numbers, std::int64_t value) {
        const auto given = flat(numbers, "numbers");
        constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
        if (value == kMost || !std::is_sorted(given.begin(), given.end()) || (!given.empty() && given.back() == kMost) ||
            std::binary_search(given.begin(), given.end(), value))
          invalid("numbers do not ascend below 2**63 - 1, or value is one of them");
        std::vector<std::int64_t> result(given.begin(), given.end());
        result.resize(kernels::insert_room(given.size()), kMost);
        const std::size_t place = kernels::active().insert(result.data(), given.size(), value);
        return py::make_tuple(place, to_array(std::move(result)));
      },
      py::arg("numbers").noconvert(), py::arg("value"), "The place of `value`, and all numbers with what follows them.");
  kernels.def_static(
      "code_step",
      [](const FloatMatrix& from, const FloatMatrix& to, const FloatMatrix& origin) {
        const auto x = flat(from, "from"), y = flat(to, "to"), o = flat(origin, "origin");
        if (x.size() % 16 || y.size() != x.size() || o.size() != x.size())
          invalid("from has a length that is no multiple of 16, or to or origin another");
        std::vector<std::uint8_t> signs(x.size() / 8);
        const kernels::Step step = kernels::active().code_step(x.data(), y.data(), o.data(), x.size(), signs.data());
        return py::make_tuple(step.absolute, step.squared, step.start, step.along, to_array(std::move(signs)));
      },
      py::arg("from_").noconvert(), py::arg("to").noconvert(), py::arg("origin").noconvert());
  kernels.def_static(
      "estimate",
      [](const Bytes& codes, const Bytes& tables, const FloatMatrix& shift, const FloatMatrix& factor, float base, float step,
         float offset, float worst) {
        const auto n_pairs = static_cast<std::size_t>(codes.size()) / 32;
        if (codes.size() % 32 || static_cast<std::size_t>(tables.size()) != 32 * n_pairs || flat(shift, "shift").size() != 32 ||
            flat(factor, "factor").size() != 32)
          invalid("codes, tables, shift or factor do not fit each other");
        std::vector<float> keys(32);
        const std::uint32_t nearer = kernels::active().estimate(codes.data(), n_pairs, tables.data(), shift.data(), factor.data(),
                                                                {base, step, offset, worst}, keys.data());
        return py::make_tuple(nearer, to_array(std::move(keys)));
      },
      py::arg("codes").noconvert(), py::arg("tables").noconvert(), py::arg("shift").noconvert(), py::arg("factor").noconvert(),
      py::arg("base"), py::arg("step"), py::arg("offset"), py::arg("worst"));
  kernels.def_static(
      "int8_peak",
      [](double seconds) {
        const py::gil_scoped_release released;
        using Clock = std::chrono::steady_clock;
        double best = 0;
        for (const auto end = Clock::now() + std::chrono::duration<double>(seconds); Clock::now() < end;) {
          const auto start = Clock::now();
          const auto operations = static_cast<double>(kernels::active().int8_peak(1 << 18));
          best = std::max(best, operations / std::chrono::duration<double>(Clock::now() - start).count());
        }
        return best;
      },
      py::arg("seconds"), "8-bit multiplications and additions a second on one core, registers only: the best of many rounds.");
}

}  // namespace engine::bindings
