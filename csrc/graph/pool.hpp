#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "graph/scored.hpp"
#include "kernels/table.hpp"

namespace engine::graph {

/// The `capacity` nearest rows of a walk so far, sorted, and which of them were expanded. Short and read all the time: a flat
/// array beats any heap. A row and its key are one number, so that a vector of them finds its place and moves up at once.
class Pool {
 public:
  static constexpr std::uint32_t kMostRows = 0x8000'0000;

  void start(std::size_t capacity) {
    capacity_ = capacity;
    size_ = next_ = 0;
    worst_ = std::numeric_limits<float>::infinity();
    entries_.assign(kernels::insert_room(capacity), kNothing);
  }

  /// Starts anew with the nearest `capacity` of all that was `scored`.
  void widen(std::size_t capacity, const Scored& scored) {
    std::vector<std::int64_t> all, expanded;
    all.reserve(scored.size());
    for (std::size_t i = 0; i < scored.size(); ++i)
      if (scored[i].key < std::numeric_limits<float>::infinity()) all.push_back(entry(scored[i]));
    for (const Keyed& row : scored.expanded()) expanded.push_back(entry(row));
    std::ranges::sort(expanded);
    start(capacity);
    size_ = std::min(capacity, all.size());
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(size_);
    std::nth_element(all.begin(), end, all.end());
    std::sort(all.begin(), end);
    std::copy(all.begin(), end, entries_.begin());
    auto at = entries_.begin();
    for (const std::int64_t row : expanded) {
      at = std::lower_bound(at, entries_.end(), row);
      if (*at == row) *at |= kExpanded;
    }
    note_worst();
  }

  /// Keeps the nearest `capacity` only, at least 1.
  void narrow(std::size_t capacity) noexcept {
    if (capacity >= capacity_) return;
    capacity_ = capacity;
    if (size_ < capacity) return;
    std::fill(entries_.begin() + static_cast<std::ptrdiff_t>(capacity), entries_.begin() + static_cast<std::ptrdiff_t>(size_),
              kNothing);
    size_ = capacity;
    next_ = std::min(next_, size_);
    note_worst();
  }

  /// Keys from here on do not come in.
  float worst() const noexcept { return worst_; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  float key(std::size_t i) const noexcept { return std::bit_cast<float>(ordered(static_cast<std::int32_t>(entries_[i] >> 32))); }
  bool is_expanded(std::size_t i) const noexcept { return entries_[i] & kExpanded; }
  std::uint32_t row(std::size_t i) const noexcept { return static_cast<std::uint32_t>(entries_[i]) >> 1; }

  /// Takes a new row in; returns its place, or `capacity` where it is too far away. `dropped` becomes the row that had to make
  /// room, if it was not expanded.
  std::size_t insert(float key, std::uint32_t row, std::uint32_t& dropped) noexcept {
    if (size_ == capacity_ && key < worst_ && !is_expanded(size_ - 1)) dropped = this->row(size_ - 1);
    return insert(key, row);
  }
  std::size_t insert(float key, std::uint32_t row) noexcept {
    if (!(key < worst_)) return capacity_;
    const std::size_t at = insert_(entries_.data(), size_, entry(key, row));
    if (size_ < capacity_)
      ++size_;
    else
      entries_[size_] = kNothing;
    note_worst();
    next_ = std::min(next_, at);
    return at;
  }

  /// The nearest row that was not expanded, which is now; false if there is none.
  bool expand(std::uint32_t& row) noexcept { return expand(row, size_); }
  /// Among the first `n` only.
  bool expand(std::uint32_t& row, std::size_t n) noexcept {
    if (!is_open(n)) return false;
    row = this->row(next_);
    entries_[next_++] |= kExpanded;
    return true;
  }
  /// Whether one of the first `n` was not expanded.
  bool is_open(std::size_t n) noexcept {
    n = std::min(n, size_);
    while (next_ < n && is_expanded(next_)) ++next_;
    return next_ < n;
  }
  /// Gives the row that was expanded last, as the nearest then, another key.
  void correct(float key) noexcept {
    const std::size_t from = next_ - 1;
    const std::int64_t corrected = entry(key, row(from)) | kExpanded;
    std::int64_t* const entries = entries_.data();
    std::int64_t* at = std::upper_bound(entries, entries + size_, corrected);
    if (at > entries + from) {
      --at;
      std::copy(entries + from + 1, at + 1, entries + from);
      if (at > entries + from) --next_;  // a row not yet expanded took its place
    } else {
      std::copy_backward(at, entries + from, entries + from + 1);
    }
    *at = corrected;
    note_worst();
  }
  /// No row before this place is left to expand.
  std::size_t next() const noexcept { return next_; }

 private:
  static constexpr std::int64_t kExpanded = 1, kNothing = std::numeric_limits<std::int64_t>::max();

  /// Bits of floats as integers of the same order, and back.
  static constexpr std::int32_t ordered(std::int32_t bits) noexcept { return bits ^ ((bits >> 31) & 0x7fff'ffff); }
  static std::int64_t entry(Keyed row) noexcept { return entry(row.key, row.row); }
  static std::int64_t entry(float key, std::uint32_t row) noexcept {
    return std::int64_t{ordered(std::bit_cast<std::int32_t>(key))} << 32 | std::int64_t{row} << 1;
  }
  void note_worst() noexcept {
    if (size_ == capacity_) worst_ = key(size_ - 1);
  }

  std::size_t capacity_ = 0, size_ = 0, next_ = 0;
  float worst_ = 0;
  std::vector<std::int64_t> entries_;  // key, row and, last, whether it was expanded
  std::size_t (*insert_)(std::int64_t*, std::size_t, std::int64_t) = kernels::active().insert;
};

}  // namespace engine::graph
