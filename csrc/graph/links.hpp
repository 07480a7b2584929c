#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "util/buffer.hpp"
#include "util/prefetch.hpp"

namespace engine::graph {

/// Marks the end of a list that is not full, and rows that are none.
inline constexpr std::uint32_t kNone = 0xffff'ffff;

/// Who is linked to whom: up to `degree` rows each, in one flat array. Knows no metric and no vectors. A list ends at the first
/// number that is no row, so that an array from a damaged file leads nobody astray.
class Links {
 public:
  explicit Links(std::size_t degree) : degree_(degree) {}
  /// From a stored array, which must hold `n * degree` numbers.
  Links(std::size_t degree, Buffer<std::uint32_t> array) : degree_(degree), array_(std::move(array)) {}

  std::size_t degree() const noexcept { return degree_; }
  std::size_t size() const noexcept { return array_.size() / degree_; }
  const Buffer<std::uint32_t>& array() const noexcept { return array_; }

  /// The whole place of a row: its links, then kNone.
  const std::uint32_t* place(std::size_t row) const noexcept { return array_.data() + row * degree_; }
  std::span<const std::uint32_t> of(std::size_t row) const noexcept {
    const std::uint32_t* const first = place(row);
    return {first, std::find_if(first, first + degree_, [n = size()](std::uint32_t to) { return to >= n; })};
  }

  [[gnu::always_inline]] void prefetch(std::size_t row) const noexcept {
    engine::prefetch(place(row), degree_ * sizeof(std::uint32_t));
  }

  void reserve(std::size_t n_rows) { array_.reserve(n_rows * degree_); }
  /// Adds rows without links, within what was reserved.
  void grow(std::size_t n_rows) {
    array_.writable();
    const std::size_t n_old = array_.size();
    if (n_rows * degree_ > n_old) std::fill_n(array_.grow_within(n_rows * degree_), n_rows * degree_ - n_old, kNone);
  }
  void truncate(std::size_t n_rows) noexcept { array_.truncate(n_rows * degree_); }
  /// Makes later calls of `set` safe from several threads, for different rows.
  void make_writable() { array_.writable(); }
  void set(std::size_t row, std::span<const std::uint32_t> links) noexcept {
    std::uint32_t* const first = const_cast<std::uint32_t*>(place(row));
    std::fill(std::copy(links.begin(), links.end(), first), first + degree_, kNone);
  }

 private:
  std::size_t degree_;
  Buffer<std::uint32_t> array_;
};

}  // namespace engine::graph
