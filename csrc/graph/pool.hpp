#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace engine::graph {

/// The `capacity` nearest rows of a walk so far, sorted, and which of them were expanded. Short and read all the time: a flat
/// array beats any heap.
class Pool {
 public:
  struct Entry {
    float key;
    std::uint32_t row;  // the highest bit says that it was expanded
  };
  static constexpr std::uint32_t kExpanded = 0x8000'0000;

  void start(std::size_t capacity) {
    capacity_ = capacity;
    size_ = next_ = 0;
    if (entries_.size() < capacity + 1) entries_.resize(capacity + 1);
  }

  float worst() const noexcept { return size_ < capacity_ ? std::numeric_limits<float>::infinity() : entries_[size_ - 1].key; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  float key(std::size_t i) const noexcept { return entries_[i].key; }
  bool is_expanded(std::size_t i) const noexcept { return entries_[i].row & kExpanded; }
  std::uint32_t row(std::size_t i) const noexcept { return entries_[i].row & ~kExpanded; }

  /// Takes a new row in; returns its place, or `capacity` where it is too far away. `dropped` becomes the row that had to make
  /// room, if it was not expanded.
  std::size_t insert(float key, std::uint32_t row, std::uint32_t& dropped) noexcept {
    if (size_ == capacity_ && key < worst() && !is_expanded(size_ - 1)) dropped = entries_[size_ - 1].row;
    return insert(key, row);
  }
  std::size_t insert(float key, std::uint32_t row) noexcept {
    if (!(key < worst())) return capacity_;
    const std::size_t at = place_of(key);
    if (size_ < capacity_) ++size_;
    std::memmove(&entries_[at] + 1, &entries_[at], (size_ - 1 - at) * sizeof(Entry));
    entries_[at] = {key, row};
    next_ = std::min(next_, at);
    return at;
  }

  /// The nearest row that was not expanded, which is now; false if there is none.
  bool expand(std::uint32_t& row) noexcept { return expand(row, size_); }
  /// Among the first `n` only.
  bool expand(std::uint32_t& row, std::size_t n) noexcept {
    n = std::min(n, size_);
    while (next_ < n && entries_[next_].row & kExpanded) ++next_;
    if (next_ >= n) return false;
    row = entries_[next_].row;
    entries_[next_++].row |= kExpanded;
    return true;
  }
  /// Gives the row that was expanded last, as the nearest then, another key.
  void correct(float key) noexcept {
    const std::size_t from = next_ - 1;
    const Entry entry{key, entries_[from].row};
    std::size_t at = place_of(key);
    if (at > from) {
      --at;
      std::memmove(&entries_[from], &entries_[from] + 1, (at - from) * sizeof(Entry));
      if (at > from) --next_;  // a row not yet expanded took its place
    } else {
      std::memmove(&entries_[at] + 1, &entries_[at], (from - at) * sizeof(Entry));
    }
    entries_[at] = entry;
  }
  /// No row before this place is left to expand.
  std::size_t next() const noexcept { return next_; }

 private:
  /// Of the first entry beyond `key`. Halves are chosen by arithmetic: no one could predict the branches.
  std::size_t place_of(float key) const noexcept {
    const Entry* first = entries_.data();
    std::size_t n = size_;
    for (; n > 1; n -= n / 2) first += -static_cast<std::size_t>(first[n / 2 - 1].key <= key) & n / 2;
    return static_cast<std::size_t>(first - entries_.data()) + (n == 1 && first->key <= key);
  }

  std::size_t capacity_ = 0, size_ = 0, next_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace engine::graph
