#include "index/store.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "util/thread_pool.hpp"

namespace engine {

Store::Store(std::size_t dim, Metric metric, Dtype dtype) : dim(dim), metric(metric), dtype(dtype), codes(dim, metric) {
  if (dim < 1 || dim > kMaxDim) invalid("dim is " + std::to_string(dim) + ", expected 1 to " + std::to_string(kMaxDim));
}

void Store::map_ids() const {
  if (mapped_) return;
  std::lock_guard lock(mapping_);
  if (mapped_) return;
  IdMap made;
  made.reserve(size(), {});
  for (std::size_t row = 0; row < size(); ++row) {
    if (gone && gone->test(row)) continue;
    if (ids[row] < 0 || ids[row] > next_id - (next_id != INT64_MAX) || !made.insert(row, ids.span()))
      throw Error(ErrorCode::corrupt, "ids[" + std::to_string(row) + "] is " + std::to_string(ids[row]) +
                                          ", which is negative, not below next_id or there twice");
  }
  rows = std::move(made);
  mapped_ = true;
}

std::vector<std::int64_t> Store::find(std::span<const std::int64_t> given) const {
  map_ids();
  std::vector<std::int64_t> found;
  found.reserve(given.size());
  for (const std::int64_t id : given) {
    const std::uint32_t row = find_mapped(id);
    found.push_back(row == IdMap::kNone ? -1 : std::int64_t{row});
  }
  return found;
}

std::uint32_t Store::find_mapped(std::int64_t id) const noexcept {
  const auto guess = static_cast<std::size_t>(id);
  if (guess < (gone ? gone->size() : size()) && ids[guess] == id && !(gone && gone->test(guess)))
    return static_cast<std::uint32_t>(guess);
  return rows.find(id, ids.span());
}

std::size_t Store::row_of(std::int64_t id) const {
  map_ids();
  const std::uint32_t row = find_mapped(id);
  if (row == IdMap::kNone) invalid("ids holds " + std::to_string(id) + ", which is not in the index");
  return row;
}

Bitmap Store::rows_of_all(std::span<const std::int64_t> given) const {
  Bitmap found(size());
  for (const std::int64_t id : given) {
    const std::size_t row = row_of(id);
    if (found.test(row)) invalid("ids holds " + std::to_string(id) + " twice");
    found.set(row);
  }
  return found;
}

void Store::get(std::span<const std::int64_t> given, float* to) const {
  for (std::size_t i = 0; i < given.size(); ++i) quant::read_row(view(size()), row_of(given[i]), to + i * dim);
}

/// Appends `added` within what was reserved; takes all of them back where one is wrong.
void Store::add_ids(std::span<const std::int64_t> added) {
  const std::size_t n_old = size();
  std::copy(added.begin(), added.end(), ids.grow_within(n_old + added.size()));
  for (std::size_t i = 0; i < added.size(); ++i) {
    if (added[i] >= 0 && rows.insert(n_old + i, ids.span())) continue;
    ids.truncate(n_old + i);
    drop_ids(n_old);
    invalid("ids[" + std::to_string(i) + "] is " + std::to_string(added[i]) +
            (added[i] < 0 ? ", expected 0 to 2**63 - 1" : ", which is in the index already or given twice"));
  }
}

void Store::drop_ids(std::size_t n_rows) noexcept {
  for (std::size_t row = n_rows; row < size(); ++row) rows.erase(ids[row], ids.span());
  ids.truncate(n_rows);
}

/// Writes `given` behind the first `n_old` rows, as they will be kept, and checks what is kept.
void Store::keep(MatrixView given, std::size_t n_old, std::size_t n_threads, Cancel& cancel) {
  vectors.reserve((n_old + given.n_rows) * row_bytes());
  std::byte* const end = vectors.writable() + n_old * row_bytes();
  const kernels::Table& kernels = kernels::active();
  const bool coded_alone = dtype == Dtype::i8;  // nothing is kept here
  const int type = coded_alone ? 0 : static_cast<int>(dtype);
  constexpr std::size_t kChunk = 1024;
  parallel_for((given.n_rows + kChunk - 1) / kChunk, n_threads, [&](std::size_t chunk) {
    cancel.check();
    for (std::size_t r = chunk * kChunk; r < std::min((chunk + 1) * kChunk, given.n_rows); ++r) {
      std::byte* const to = end + r * row_bytes();
      if (!coded_alone) kernels.store[type](given.row(r), dim, to);
      const void* const kept = coded_alone ? static_cast<const void*>(given.row(r)) : to;
      const double squared = kernels.squared_norm[type](kept, dim);
      if (std::isfinite(squared) && (squared > 0 || metric != Metric::cosine)) continue;
      const double before = kernels.squared_norm[0](given.row(r), dim);
      const std::string name = "vectors[" + std::to_string(r) + "]";
      if (!std::isfinite(before)) invalid(name + " holds NaN or Inf, expected finite numbers");
      if (before == 0) invalid(name + " is a zero vector, which has no cosine");
      const float* const most =
          std::max_element(given.row(r), given.row(r) + dim, [](float a, float b) { return std::abs(a) < std::abs(b); });
      invalid(name + " holds " + std::to_string(*most) + ", too " + (squared > 0 ? "large" : "small") + " for " +
              (dtype == Dtype::f16 ? "float16, expected magnitudes of 6e-8 to 65504" : "bfloat16, expected up to 3.39e38"));
    }
  });
}

std::vector<std::int64_t> Store::append(MatrixView added, std::span<const std::int64_t> given, std::size_t n_threads,
                                        Cancel& cancel) {
  if (added.dim != dim) invalid("vectors have dim " + std::to_string(added.dim) + ", expected " + std::to_string(dim));
  const std::size_t n_old = size(), n_new = n_old + added.n_rows;
  if (n_new > kMaxRows) throw Error(ErrorCode::unsupported, "an index holds at most " + std::to_string(kMaxRows) + " rows");
  std::vector<std::int64_t> new_ids(given.begin(), given.end());
  if (new_ids.empty()) {
    if (static_cast<std::uint64_t>(INT64_MAX - next_id) < added.n_rows) invalid("ids are used up to 2**63 - 1: give them");
    new_ids.resize(added.n_rows);
    std::iota(new_ids.begin(), new_ids.end(), next_id);
  }
  if (new_ids.size() != added.n_rows)
    invalid("ids has length " + std::to_string(new_ids.size()) + ", expected " + std::to_string(added.n_rows));

  map_ids();
  const bool anew = codes_anew(added.n_rows);
  ids.reserve(n_new);
  ids.writable();
  rows.reserve(n_new, ids.span());
  add_ids(new_ids);
  try {
    keep(added, n_old, n_threads, cancel);
    const bool coded_alone = dtype == Dtype::i8;
    const RowsView given_rows{reinterpret_cast<const std::byte*>(added.data), added.n_rows, dim};
    if (anew) {
      codes.follow(coded_alone ? given_rows : view(n_new), n_threads, cancel, "vectors");
      n_centered = n_new;
    } else {
      codes.extend(coded_alone ? given_rows : RowsView{view(n_old).row(n_old), added.n_rows, dim, dtype}, n_threads, cancel,
                   "vectors");
    }
  } catch (...) {
    drop_ids(n_old);
    throw;
  }
  vectors.grow_within(n_new * row_bytes());
  for (const std::int64_t id : new_ids) next_id = std::max(next_id, id == INT64_MAX ? id : id + 1);
  return new_ids;
}

void Store::make_writable() {
  map_ids();
  vectors.writable();
  ids.writable();
  codes.make_writable();
}

void Store::drop(std::size_t row) noexcept {
  std::byte* const bytes = vectors.writable();
  std::int64_t* const held = ids.writable();
  const std::size_t last = size() - 1;
  if (row != last) {
    rows.move(held[last], row, ids.span());
    held[row] = held[last];
    std::copy_n(bytes + last * row_bytes(), row_bytes(), bytes + row * row_bytes());  // codes alone: no bytes at all
  }
  codes.remove(row);
  ids.truncate(last);
  vectors.truncate(last * row_bytes());
}

void Store::truncate(std::size_t n_rows) noexcept {
  drop_ids(n_rows);
  vectors.truncate(n_rows * row_bytes());
  while (codes.size() > n_rows) codes.remove(codes.size() - 1);
}

std::vector<Part> Store::parts() const {
  const auto middle = std::make_shared<std::vector<float>>(codes.center());
  const quant::NibbleCodes::Parts coded = codes.parts();
  return {
      part_of("vectors", 'u', vectors),
      part_of("ids", 'i', ids),
      {"center", 'f', sizeof(float), middle->data(), middle->size(), middle},
      part_of("high", 'u', coded.high),
      part_of("low", 'u', coded.low),
      part_of("scale4", 'f', coded.scale4),
      part_of("scale8", 'f', coded.scale8),
      part_of("bias", 'f', coded.bias),
      part_of("bound4", 'u', coded.bound4),
      part_of("bound8", 'u', coded.bound8),
  };
}

void Store::take_parts(std::int64_t next, const std::vector<Part>& parts) {
  ids = borrow<std::int64_t>(parts, "ids");
  vectors = borrow<std::byte>(parts, "vectors");
  const std::size_t n = size();
  if (n > kMaxRows || vectors.size() != n * row_bytes())
    throw Error(ErrorCode::corrupt, "vectors has " + std::to_string(vectors.size()) + " bytes, expected " + std::to_string(n) +
                                        " rows of " + std::to_string(row_bytes()));
  next_id = next;
  mapped_ = false;
  const Buffer<float> center = borrow<float>(parts, "center");
  codes = quant::NibbleCodes::from_parts(dim, metric, n,
                                         {{center.data(), center.data() + center.size()},
                                          borrow<std::uint8_t>(parts, "high"),
                                          borrow<std::uint8_t>(parts, "low"),
                                          borrow<float>(parts, "scale4"),
                                          borrow<float>(parts, "scale8"),
                                          borrow<float>(parts, "bias"),
                                          borrow<std::uint32_t>(parts, "bound4"),
                                          borrow<std::uint32_t>(parts, "bound8")});
  n_centered = n;
}

}  // namespace engine
