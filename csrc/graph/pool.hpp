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
  std::uint32_t row(std::size_t i) const noexcept { return entries_[i].row & ~kExpanded; }

  /// Takes a new row in; returns its place, or `capacity` where it is too far away.
  std::size_t insert(float key, std::uint32_t row) noexcept {
    if (!(key < worst())) return capacity_;
    const auto first = entries_.begin();
    const auto place = std::upper_bound(first, first + static_cast<std::ptrdiff_t>(size_), key,
                                        [](float wanted, const Entry& entry) { return wanted < entry.key; });
    const auto at = static_cast<std::size_t>(place - first);
    if (size_ < capacity_) ++size_;
    std::memmove(&entries_[at] + 1, &entries_[at], (size_ - 1 - at) * sizeof(Entry));
    entries_[at] = {key, row};
    next_ = std::min(next_, at);
    return at;
  }

  /// The nearest row that was not expanded, which is now; false if there is none.
  bool expand(std::uint32_t& row) noexcept {
    while (next_ < size_ && entries_[next_].row & kExpanded) ++next_;
    if (next_ == size_) return false;
    row = entries_[next_].row;
    entries_[next_++].row |= kExpanded;
    return true;
  }
  /// No row before this place is left to expand.
  std::size_t next() const noexcept { return next_; }

 private:
  std::size_t capacity_ = 0, size_ = 0, next_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace engine::graph
