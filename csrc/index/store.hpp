#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "engine/cancel.hpp"
#include "engine/matrix_view.hpp"
#include "engine/part.hpp"
#include "exact/exact_search.hpp"
#include "quant/nibble_codes.hpp"
#include "util/buffer.hpp"
#include "util/id_map.hpp"

namespace engine {

/// Vectors under ids with their codes: what every kind of index keeps. Locks are its owner's.
struct Store {
  Store(std::size_t dim, Metric metric, Dtype dtype);

  const std::size_t dim;
  const Metric metric;
  const Dtype dtype;
  Buffer<std::byte> vectors;
  Buffer<std::int64_t> ids;
  mutable IdMap rows;  // see map_ids
  quant::NibbleCodes codes;
  std::size_t n_centered = 0;  // rows when the center of the codes was chosen
  std::int64_t next_id = 0;
  const Bitmap* gone = nullptr;  // rows whose ids count for nothing

  std::size_t size() const noexcept { return ids.size(); }
  std::size_t row_bytes() const noexcept { return dim * size_of(dtype); }
  RowsView view(std::size_t n_rows) const noexcept { return {vectors.data(), n_rows, dim, dtype, &codes}; }
  exact::Corpus corpus() const noexcept { return {view(size()), metric, &codes, ids.data()}; }
  std::size_t overhead_nbytes() const noexcept { return codes.nbytes() + ids.nbytes() + (mapped_ ? rows.nbytes() : 0); }

  /// Fills `rows` where stored parts left that for when it is needed, which a search alone does not; ids that cannot be are an
  /// error. Readers may call it at the same time.
  void map_ids() const;
  /// The row of each of `given`, -1 where there is none.
  std::vector<std::int64_t> find(std::span<const std::int64_t> given) const;
  /// An unknown id is an error.
  std::size_t row_of(std::int64_t id) const;
  /// Rows of `given`, each once: an unknown or repeated id is an error.
  Bitmap rows_of_all(std::span<const std::int64_t> given) const;
  void get(std::span<const std::int64_t> given, float* to) const;

  /// Whether `append` of that many rows may code all anew. The center follows the data while the index doubles, so that codes
  /// stay tight at a constant cost a row. Codes without vectors cannot follow.
  bool codes_anew(std::size_t n_added) const noexcept {
    return size() == 0 || (size() + n_added >= 2 * n_centered && dtype != Dtype::i8);
  }
  /// Adds rows; `given` empty: ids go on from the largest ever used. Returns the ids. Leaves all as it was when it throws.
  std::vector<std::int64_t> append(MatrixView added, std::span<const std::int64_t> given, std::size_t n_threads, Cancel& cancel);
  /// What `remove` needs so that it cannot fail.
  void make_writable();
  /// Forgets the id of a row, which stays.
  void forget(std::size_t row) noexcept { rows.erase(ids[row], ids.span()); }
  /// The last row takes the place of `row`, whose id was forgotten.
  void drop(std::size_t row) noexcept;
  /// Takes back all rows from `n_rows` on.
  void truncate(std::size_t n_rows) noexcept;

  std::vector<Part> parts() const;
  /// Takes stored parts, which are checked for their sizes, in no time whatever those are, and borrowed until the first change.
  void take_parts(std::int64_t next, const std::vector<Part>& parts);

 private:
  /// IdMap::kNone where there is none. Most ids are the numbers of their rows: those are not looked for.
  std::uint32_t find_mapped(std::int64_t id) const noexcept;
  void add_ids(std::span<const std::int64_t> added);
  void drop_ids(std::size_t n_rows) noexcept;
  void keep(MatrixView given, std::size_t n_old, std::size_t n_threads, Cancel& cancel);

  mutable std::mutex mapping_;
  mutable std::atomic<bool> mapped_ = true;
};

/// The part called `name`, which must be there and be of the right type.
template <class T>
Buffer<T> borrow(const std::vector<Part>& parts, const std::string& name) {
  for (const Part& part : parts) {
    if (part.name != name) continue;
    if (part.item_size != sizeof(T)) break;
    return Buffer<T>::borrow({static_cast<const T*>(part.data), part.n_items}, part.owner);
  }
  throw Error(ErrorCode::corrupt, "part '" + name + "' is missing or of another type");
}

template <class T>
Part part_of(const char* name, char kind, const Buffer<T>& buffer) {
  return {name, kind, sizeof(T), buffer.data(), buffer.size(), buffer.share()};
}

}  // namespace engine
