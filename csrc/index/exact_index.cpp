#include "engine/exact_index.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <string>
#include <utility>

#include "exact/exact_search.hpp"
#include "quant/nibble_codes.hpp"
#include "util/buffer.hpp"
#include "util/id_map.hpp"
#include "util/thread_pool.hpp"

namespace engine {

struct ExactIndex::State {
  State(std::size_t dim, Metric metric, Dtype dtype) : dim(dim), metric(metric), dtype(dtype), codes(dim, metric) {}

  const std::size_t dim;
  const Metric metric;
  const Dtype dtype;
  Buffer<std::byte> vectors;
  Buffer<std::int64_t> ids;
  IdMap rows;
  quant::NibbleCodes codes;
  std::size_t n_centered = 0;  // rows when the center of the codes was chosen
  std::int64_t next_id = 0;
  mutable std::shared_mutex mutex;

  std::size_t size() const noexcept { return ids.size(); }
  std::size_t row_bytes() const noexcept { return dim * size_of(dtype); }
  RowsView view(std::size_t n_rows) const noexcept { return {vectors.data(), n_rows, dim, dtype}; }
  exact::Corpus corpus() const noexcept { return {view(size()), metric, &codes, ids.data()}; }

  std::size_t row_of(std::int64_t id) const {
    const std::uint32_t row = rows.find(id, ids.span());
    if (row == IdMap::kNone) invalid("ids holds " + std::to_string(id) + ", which is not in the index");
    return row;
  }

  /// Appends `added` within what was reserved; takes all of them back where one is wrong.
  void add_ids(std::span<const std::int64_t> added) {
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

  void drop_ids(std::size_t n_rows) noexcept {
    for (std::size_t row = n_rows; row < size(); ++row) rows.erase(ids[row], ids.span());
    ids.truncate(n_rows);
  }

  /// Writes `given` behind the first `n_old` rows, as they will be kept, and checks what is kept.
  void store(MatrixView given, std::size_t n_old, std::size_t n_threads, Cancel& cancel) {
    vectors.reserve((n_old + given.n_rows) * row_bytes());
    std::byte* const end = vectors.writable() + n_old * row_bytes();
    const kernels::Table& kernels = kernels::active();
    const int type = static_cast<int>(dtype);
    constexpr std::size_t kChunk = 1024;
    parallel_for((given.n_rows + kChunk - 1) / kChunk, n_threads, [&](std::size_t chunk) {
      cancel.check();
      const std::vector<float> zero(dim);
      for (std::size_t r = chunk * kChunk; r < std::min((chunk + 1) * kChunk, given.n_rows); ++r) {
        std::byte* const kept = end + r * row_bytes();
        kernels.store[type](given.row(r), dim, kept);
        double unused, squared, before;
        kernels.dot_norm[type](zero.data(), kept, dim, &unused, &squared);
        if (std::isfinite(squared) && (squared > 0 || metric != Metric::cosine)) continue;
        kernels.dot_norm[0](zero.data(), given.row(r), dim, &unused, &before);
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

  std::size_t overhead_nbytes() const noexcept { return codes.nbytes() + ids.nbytes() + rows.nbytes(); }
};

ExactIndex::ExactIndex(std::size_t dim, Metric metric, Dtype dtype) : state_(std::make_unique<State>(dim, metric, dtype)) {
  if (dim < 1 || dim > kMaxDim) invalid("dim is " + std::to_string(dim) + ", expected 1 to " + std::to_string(kMaxDim));
}
ExactIndex::~ExactIndex() = default;
ExactIndex::ExactIndex(ExactIndex&&) noexcept = default;

std::size_t ExactIndex::dim() const noexcept { return state_->dim; }
Metric ExactIndex::metric() const noexcept { return state_->metric; }
Dtype ExactIndex::dtype() const noexcept { return state_->dtype; }

std::size_t ExactIndex::size() const {
  std::shared_lock lock(state_->mutex);
  return state_->size();
}
std::size_t ExactIndex::overhead_nbytes() const {
  std::shared_lock lock(state_->mutex);
  return state_->overhead_nbytes();
}
std::size_t ExactIndex::nbytes() const {
  std::shared_lock lock(state_->mutex);
  return state_->vectors.nbytes() + state_->overhead_nbytes();
}
std::vector<std::int64_t> ExactIndex::ids() const {
  std::shared_lock lock(state_->mutex);
  return {state_->ids.data(), state_->ids.data() + state_->size()};
}
std::int64_t ExactIndex::next_id() const {
  std::shared_lock lock(state_->mutex);
  return state_->next_id;
}

std::vector<std::int64_t> ExactIndex::add(MatrixView vectors, std::span<const std::int64_t> ids, std::size_t n_threads,
                                          Cancel& cancel) {
  std::unique_lock lock(state_->mutex);
  State& s = *state_;
  if (vectors.dim != s.dim) invalid("vectors have dim " + std::to_string(vectors.dim) + ", expected " + std::to_string(s.dim));
  const std::size_t n_old = s.size(), n_new = n_old + vectors.n_rows;
  if (n_new > kMaxRows) throw Error(ErrorCode::unsupported, "an index holds at most " + std::to_string(kMaxRows) + " rows");
  std::vector<std::int64_t> added(ids.begin(), ids.end());
  if (added.empty()) {
    if (static_cast<std::uint64_t>(INT64_MAX - s.next_id) < vectors.n_rows) invalid("ids are used up to 2**63 - 1: give them");
    added.resize(vectors.n_rows);
    std::iota(added.begin(), added.end(), s.next_id);
  }
  if (added.size() != vectors.n_rows)
    invalid("ids has length " + std::to_string(added.size()) + ", expected " + std::to_string(vectors.n_rows));

  s.ids.reserve(n_new);
  s.ids.writable();
  s.rows.reserve(n_new, s.ids.span());
  s.add_ids(added);
  try {
    s.store(vectors, n_old, n_threads, cancel);
    // The center follows the data while the index doubles, so that codes stay tight at a constant cost a row.
    if (n_new >= 2 * s.n_centered) {
      s.codes = quant::NibbleCodes::of(s.view(n_new), s.metric, n_threads, cancel, "vectors");
      s.n_centered = n_new;
    } else {
      s.codes.extend(s.view(n_new), n_threads, cancel, "vectors");
    }
  } catch (...) {
    s.drop_ids(n_old);
    throw;
  }
  s.vectors.grow_within(n_new * s.row_bytes());
  for (const std::int64_t id : added) s.next_id = std::max(s.next_id, id == INT64_MAX ? id : id + 1);
  return added;
}

void ExactIndex::remove(std::span<const std::int64_t> ids) {
  std::unique_lock lock(state_->mutex);
  State& s = *state_;
  Bitmap gone(s.size());
  for (const std::int64_t id : ids) {
    const std::size_t row = s.row_of(id);
    if (gone.test(row)) invalid("ids holds " + std::to_string(id) + " twice");
    gone.set(row);
  }
  std::byte* const vectors = s.vectors.writable();
  std::int64_t* const held = s.ids.writable();
  s.codes.make_writable();
  for (const std::int64_t id : ids) {
    const std::size_t row = s.rows.find(id, s.ids.span()), last = s.size() - 1;
    s.rows.erase(id, s.ids.span());
    if (row != last) {
      s.rows.move(held[last], row, s.ids.span());
      held[row] = held[last];
      std::memcpy(vectors + row * s.row_bytes(), vectors + last * s.row_bytes(), s.row_bytes());
    }
    s.codes.remove(row);
    s.ids.truncate(last);
    s.vectors.truncate(last * s.row_bytes());
  }
}

void ExactIndex::get(std::span<const std::int64_t> ids, float* vectors) const {
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  for (std::size_t i = 0; i < ids.size(); ++i)
    kernels::active().load[static_cast<int>(s.dtype)](s.view(s.size()).row(s.row_of(ids[i])), s.dim, vectors + i * s.dim);
}

Bitmap ExactIndex::rows_of(std::span<const std::int64_t> ids) const {
  std::shared_lock lock(state_->mutex);
  Bitmap rows(state_->size());
  for (const std::int64_t id : ids) rows.set(state_->row_of(id));
  return rows;
}

SearchStats ExactIndex::search(MatrixView queries, std::size_t k, const SearchOptions& options, Cancel& cancel, std::int64_t* ids,
                               float* distances) const {
  std::shared_lock lock(state_->mutex);
  return exact::search(state_->corpus(), queries, k, options, cancel, ids, distances);
}

RangeHits ExactIndex::range_search(MatrixView queries, double radius, const SearchOptions& options, Cancel& cancel) const {
  std::shared_lock lock(state_->mutex);
  return exact::search_range(state_->corpus(), queries, radius, options, cancel);
}

namespace {

template <class T>
ExactIndex::Part part_of(const char* name, char kind, const Buffer<T>& buffer) {
  return {name, kind, sizeof(T), buffer.data(), buffer.size(), buffer.share()};
}

/// The part called `name`, which must be there and be of the right type.
template <class T>
Buffer<T> borrow(const std::vector<ExactIndex::Part>& parts, const std::string& name) {
  for (const ExactIndex::Part& part : parts) {
    if (part.name != name) continue;
    if (part.item_size != sizeof(T)) break;
    return Buffer<T>::borrow({static_cast<const T*>(part.data), part.n_items}, part.owner);
  }
  throw Error(ErrorCode::corrupt, "part '" + name + "' is missing or of another type");
}

}  // namespace

std::vector<ExactIndex::Part> ExactIndex::parts() const {
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  const auto center = std::make_shared<std::vector<float>>(s.codes.center());
  const quant::NibbleCodes::Parts codes = s.codes.parts();
  return {
      part_of("vectors", 'u', s.vectors),
      part_of("ids", 'i', s.ids),
      {"center", 'f', sizeof(float), center->data(), center->size(), center},
      part_of("high", 'u', codes.high),
      part_of("low", 'u', codes.low),
      part_of("scale4", 'f', codes.scale4),
      part_of("scale8", 'f', codes.scale8),
      part_of("bias", 'f', codes.bias),
      part_of("bound4", 'u', codes.bound4),
      part_of("bound8", 'u', codes.bound8),
  };
}

ExactIndex ExactIndex::from_parts(std::size_t dim, Metric metric, Dtype dtype, std::int64_t next_id,
                                  const std::vector<Part>& parts) {
  ExactIndex index(dim, metric, dtype);
  State& s = *index.state_;
  s.ids = borrow<std::int64_t>(parts, "ids");
  s.vectors = borrow<std::byte>(parts, "vectors");
  const std::size_t n = s.ids.size();
  const auto corrupt = [](const std::string& message) { throw Error(ErrorCode::corrupt, message); };
  if (n > kMaxRows || s.vectors.size() != n * s.row_bytes())
    corrupt("vectors has " + std::to_string(s.vectors.size()) + " bytes, expected " + std::to_string(n) + " rows of " +
            std::to_string(s.row_bytes()));
  s.rows.reserve(n, {});
  for (std::size_t row = 0; row < n; ++row) {
    if (s.ids[row] < 0 || s.ids[row] > next_id - (next_id != INT64_MAX) || !s.rows.insert(row, s.ids.span()))
      corrupt("ids[" + std::to_string(row) + "] is " + std::to_string(s.ids[row]) +
              ", which is negative, not below next_id or there twice");
  }
  s.next_id = next_id;
  const Buffer<float> center = borrow<float>(parts, "center");
  s.codes = quant::NibbleCodes::from_parts(dim, metric, n,
                                           {{center.data(), center.data() + center.size()},
                                            borrow<std::uint8_t>(parts, "high"),
                                            borrow<std::uint8_t>(parts, "low"),
                                            borrow<float>(parts, "scale4"),
                                            borrow<float>(parts, "scale8"),
                                            borrow<float>(parts, "bias"),
                                            borrow<std::uint32_t>(parts, "bound4"),
                                            borrow<std::uint32_t>(parts, "bound8")});
  s.n_centered = n;
  return index;
}

SearchStats topk(MatrixView queries, RowsView vectors, Metric metric, std::size_t k, const SearchOptions& options, Cancel& cancel,
                 std::int64_t* ids, float* distances) {
  return exact::search({vectors, metric}, queries, k, options, cancel, ids, distances);
}

}  // namespace engine
