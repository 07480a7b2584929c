#include "graph/neighbour_codes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/table.hpp"
#include "quant/nibble_codes.hpp"
#include "util/thread_pool.hpp"

namespace engine::graph {
namespace {

/// Rows of one task.
constexpr std::size_t kPiece = 64;
constexpr int kBrain = static_cast<int>(Dtype::bf16);

float norm_of(const float* x, std::size_t dim) {
  return static_cast<float>(std::sqrt(kernels::active().squared_norm[0](x, dim)));
}

}  // namespace

NeighbourCodes::NeighbourCodes(Metric metric, std::size_t degree, std::vector<float> center, float length)
    : metric_(metric),
      n_parts_((degree + kLanes - 1) / kLanes),
      rotation_(center.size()),
      center_(std::move(center)),
      origin_(rotation_.padded()),
      length_(length) {
  rotation_.apply(center_.data(), origin_.data());
}

void NeighbourCodes::prepare(const float* query, double scale, Lookup& lookup) const {
  const std::size_t dim = center_.size();
  std::vector<float> work(dim + rotation_.padded());
  const float length = norm_of(query, dim), unit = scale > 1e-30 ? static_cast<float>(scale) : 1;
  const float factor = metric_ == Metric::l2 || length < 1e-30f ? 1 : length_ / length;
  for (std::size_t j = 0; j < dim; ++j) work[j] = query[j] * factor - center_[j];
  rotation_.apply(work.data(), work.data() + dim);
  lookup.prepare(work.data() + dim, rotation_.padded(), metric_ == Metric::ip ? unit * factor : unit);
}

void NeighbourCodes::grow(std::size_t n_rows) {
  const std::size_t n_old = size();
  bytes_.reserve(n_rows * row_bytes());
  bytes_.writable();
  bytes_.grow_within(n_rows * row_bytes());
  for (std::size_t row = n_old; row < n_rows; ++row) clear(row);
}

void NeighbourCodes::clear(std::size_t row) noexcept {
  for (std::size_t i = 0; i < n_parts_; ++i) {
    Part& own = part(row, i);
    std::ranges::fill(own.rows, kNone);
    std::ranges::fill(own.shift, std::numeric_limits<float>::infinity());
    std::ranges::fill(own.factor, 0.0f);
    std::fill_n(own.codes(), kLanes * n_pairs(), std::uint8_t{0});
  }
}

/// Codes the neighbour in that lane as `former` did, which holds a row; false if it was not there.
bool NeighbourCodes::copy_from(const std::byte* former, Part& own, std::size_t lane) const noexcept {
  for (std::size_t i = 0; i < n_parts_; ++i) {
    const Part& old = *reinterpret_cast<const Part*>(former + i * part_bytes());
    const auto at = static_cast<std::size_t>(std::ranges::find(old.rows, own.rows[lane]) - old.rows);
    if (at == kLanes) continue;
    own.shift[lane] = old.shift[at];
    own.factor[lane] = old.factor[at];
    for (std::size_t p = 0; p < n_pairs(); ++p) own.codes()[p * kLanes + lane] = old.codes()[p * kLanes + at];
    return true;
  }
  return false;
}

/// Row `row` as it is coded, turned; `work` has room for a vector.
void NeighbourCodes::turn(const RowsView& vectors, std::size_t row, float* work, float* to) const {
  const std::size_t dim = center_.size();
  quant::read_row(vectors, row, work);
  const float factor = metric_ == Metric::cosine ? 1 / norm_of(work, dim) : 1;
  for (std::size_t j = 0; j < dim; ++j) work[j] = work[j] * factor - center_[j];
  rotation_.apply(work, to);
}

void NeighbourCodes::refresh(const RowsView& vectors, const Links& links, std::span<const std::uint32_t> rows,
                             std::size_t n_threads, Cancel& cancel) {
  const std::size_t dim = center_.size(), padded = rotation_.padded(), n = links.size();
  const kernels::Table& kernels = kernels::active();
  const auto for_each_piece = [&](std::size_t n_rows, const auto& visit) {
    parallel_for((n_rows + kPiece - 1) / kPiece, n_threads, [&](std::size_t p) {
      cancel.check();
      visit(p * kPiece, std::min(n_rows, (p + 1) * kPiece));
    });
  };
  // Where many rows change, each is turned once and not once for every row that links to it.
  std::vector<std::uint16_t> turned(rows.size() >= n / 8 ? n * padded : 0);
  if (!turned.empty())
    for_each_piece(n, [&](std::size_t first, std::size_t end) {
      std::vector<float> work(dim + padded);
      for (std::size_t row = first; row < end; ++row) {
        turn(vectors, row, work.data(), work.data() + dim);
        kernels.store[kBrain](work.data() + dim, padded, turned.data() + row * padded);
      }
    });

  bytes_.writable();
  for_each_piece(rows.size(), [&](std::size_t first, std::size_t end) {
    std::vector<float> work(dim + 2 * padded);
    std::vector<std::byte> former(row_bytes());
    std::vector<std::uint8_t> signs(padded / 8);
    float* const from = work.data() + dim;
    float* const to = from + padded;
    const auto read = [&](std::uint32_t row, float* turned_row) {
      if (turned.empty())
        turn(vectors, row, work.data(), turned_row);
      else
        kernels.load[kBrain](turned.data() + row * padded, padded, turned_row);
    };
    for (std::size_t r = first; r < end; ++r) {
      const std::uint32_t row = rows[r];
      std::memcpy(former.data(), bytes_.data() + row * row_bytes(), former.size());
      clear(row);
      bool is_read = false;
      const auto neighbours = links.of(row);
      for (std::size_t i = 0; i < neighbours.size(); ++i) {
        Part& own = part(row, i / kLanes);
        const std::size_t lane = i % kLanes;
        own.rows[lane] = neighbours[i];
        if (copy_from(former.data(), own, lane)) continue;
        if (!std::exchange(is_read, true)) read(row, from);
        read(neighbours[i], to);
        const kernels::Step step = kernels.code_step(from, to, origin_.data(), padded, signs.data());
        const float factor = step.absolute > 0 ? step.squared / step.absolute : 0;
        own.shift[lane] = (metric_ == Metric::l2 ? step.squared / 2 : -step.along) + factor * step.start;
        own.factor[lane] = -factor;
        for (std::size_t p = 0; p < signs.size(); ++p) own.codes()[p * kLanes + lane] = signs[p];
      }
    }
  });
}

std::size_t NeighbourCodes::n_unlike(const Links& links) const noexcept {
  std::size_t n = 0;
  for (std::size_t row = 0; row < size(); ++row) {
    bool same = true;
    for (std::size_t i = 0; i < n_parts_ * kLanes; ++i)
      same &= part(row, i / kLanes).rows[i % kLanes] == (i < links.degree() ? links.place(row)[i] : kNone);
    n += !same;
  }
  return n;
}

bool NeighbourCodes::lead_below(std::size_t n_rows) const noexcept {
  for (std::size_t row = 0; row < size(); ++row)
    for (std::size_t i = 0; i < n_parts_; ++i)
      for (const std::uint32_t neighbour : part(row, i).rows)
        if (neighbour >= n_rows && neighbour != kNone) return false;
  return true;
}

}  // namespace engine::graph
