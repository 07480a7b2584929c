#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace engine {

/// A row found: what it is ordered by, then by id.
struct Hit {
  double distance;
  std::int64_t id;
  friend bool operator<(const Hit& a, const Hit& b) noexcept {
    return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
  }
};

/// The `k` smallest values pushed so far: a heap with the worst of them on top.
template <class T>
class TopK {
 public:
  explicit TopK(std::size_t k) : k_(k) {}

  bool full() const noexcept { return heap_.size() == k_; }
  const T& worst() const noexcept { return heap_.front(); }

  void push(const T& value) {
    if (!full()) {
      heap_.push_back(value);
      std::push_heap(heap_.begin(), heap_.end());
    } else if (value < worst()) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.back() = value;
      std::push_heap(heap_.begin(), heap_.end());
    }
  }

  const std::vector<T>& values() const noexcept { return heap_; }
  void clear() noexcept { heap_.clear(); }

  /// Smallest first; leaves the heap empty.
  std::vector<T> take_sorted() {
    std::sort_heap(heap_.begin(), heap_.end());
    return std::move(heap_);
  }

 private:
  std::size_t k_;
  std::vector<T> heap_;
};

}  // namespace engine
