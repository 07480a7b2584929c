#include "engine/maxsim.hpp"

#include <algorithm>
#include <string>

#include "engine/error.hpp"
#include "kernels/table.hpp"
#include "util/buffer.hpp"
#include "util/thread_pool.hpp"

namespace engine::multivector {
namespace {

constexpr std::size_t kRows = 24;        // of an item at a time
constexpr std::size_t kColumns = 256;    // rows of queries at a time: with kRows their products stay in the caches
constexpr std::size_t kTaskRows = 4096;  // of items a task

void check(const Sets& sets, const char* name) {
  if (sets.offsets.size() < 2 || sets.offsets.front() != 0 || sets.offsets.back() != static_cast<std::int64_t>(sets.rows.n_rows))
    invalid(std::string(name) + " have offsets that do not go from 0 to the number of rows");
  for (std::size_t i = 0; i < sets.size(); ++i)
    if (sets.offsets[i] >= sets.offsets[i + 1]) invalid(std::string(name) + "[" + std::to_string(i) + "] is empty");
}

/// All rows of all queries as columns, in parts of kColumns.
class Columns {
 public:
  explicit Columns(const Sets& queries) : n_(queries.rows.n_rows), width_((n_ + 15) / 16 * 16), dim_(queries.rows.dim) {
    values_.reserve(width_ * dim_);
    float* const to = values_.grow_within(width_ * dim_);
    std::fill_n(to, width_ * dim_, 0.0f);
    for (std::size_t j = 0; j < n_; ++j)
      for (std::size_t c = 0; c < dim_; ++c) to[part(j) * dim_ + c * width(j) + j % kColumns] = queries.rows.row(j)[c];
  }

  /// First column, and number rounded up, of the part that column j is in.
  static std::size_t part(std::size_t j) { return j / kColumns * kColumns; }
  std::size_t width(std::size_t j) const { return std::min(kColumns, width_ - part(j)); }
  const float* data(std::size_t j) const { return values_.data() + part(j) * dim_; }

 private:
  std::size_t n_, width_, dim_;
  Buffer<float> values_;
};

/// best[j] = the largest product of column j with one of the rows of an item.
void largest(const MatrixView& rows, std::size_t begin, std::size_t end, const float* columns, std::size_t width, float* products,
             float* best) {
  const kernels::Table& table = kernels::active();
  for (std::size_t row = begin; row < end; row += kRows) {
    const std::size_t n = std::min(kRows, end - row);
    table.multiply({rows.row(row), rows.dim, 1, columns, width, products, width, n, rows.dim, width, false});
    table.largest(products, n, width / 16, row > begin, best);
  }
}

}  // namespace

void maxsim(const Sets& queries, const Sets& items, std::span<const std::int64_t> listed, std::size_t n_threads, float* to,
            Cancel& cancel) {
  check(queries, "queries");
  check(items, "items");
  if (queries.rows.dim != items.rows.dim)
    invalid("queries have dim " + std::to_string(queries.rows.dim) + ", the items have dim " + std::to_string(items.rows.dim));
  for (const std::int64_t item : listed)
    if (item < 0 || item >= static_cast<std::int64_t>(items.size())) invalid("item " + std::to_string(item) + " is not there");

  const Columns columns(queries);
  const std::size_t n = listed.size();
  std::fill_n(to, queries.size() * n, 0.0f);
  const std::size_t mean_rows = items.rows.n_rows / items.size() + 1, per_task = std::max<std::size_t>(1, kTaskRows / mean_rows);
  parallel_for((n + per_task - 1) / per_task, n_threads, [&](std::size_t task) {
    cancel.check();
    alignas(64) float products[kRows * kColumns], best[kColumns];
    for (std::size_t query = 0, j = 0; j < queries.rows.n_rows; j += kColumns) {
      const std::size_t end = std::min(j + kColumns, queries.rows.n_rows), first = query;
      for (std::size_t i = task * per_task; i < std::min(n, (task + 1) * per_task); ++i) {
        const auto begin = static_cast<std::size_t>(items.offsets[listed[i]]);
        const auto stop = static_cast<std::size_t>(items.offsets[listed[i] + 1]);
        largest(items.rows, begin, stop, columns.data(j), columns.width(j), products, best);
        query = first;
        for (std::size_t column = j; column < end; ++column) {
          while (column >= static_cast<std::size_t>(queries.offsets[query + 1])) ++query;
          to[query * n + i] += best[column - j];
        }
      }
    }
  });
}

}  // namespace engine::multivector
