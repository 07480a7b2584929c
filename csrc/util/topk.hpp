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

/// The `k` smallest values pushed so far: a heap with the worst of them on top once there are so many.
template <class T>
class TopK {
 public:
  explicit TopK(std::size_t k) : k_(k) {}

  bool full() const noexcept { return heap_.size() == k_; }
  std::size_t n_missing() const noexcept { return k_ - heap_.size(); }
  std::size_t k() const noexcept { return k_; }
  /// Of those kept, where they are `full`.
  const T& worst() const noexcept { return heap_.front(); }

  void push(const T& value) {
    if (!full()) {
      if (heap_.empty()) heap_.reserve(std::min(k_, kReserved));
      heap_.push_back(value);
      if (full()) std::make_heap(heap_.begin(), heap_.end());
    } else if (value < worst()) {
      replace_worst(value);
    }
  }

  const std::vector<T>& values() const noexcept { return heap_; }
  void clear() noexcept { heap_.clear(); }

  /// Smallest first; leaves the heap empty.
  std::vector<T> take_sorted() {
    std::sort(heap_.begin(), heap_.end());
    return std::move(heap_);
  }

 private:
  /// One way down; pop_heap and push_heap would go down to the bottom and up again.
  void replace_worst(const T& value) {
    std::size_t hole = 0;
    for (std::size_t child; (child = 2 * hole + 1) < k_; hole = child) {
      if (child + 1 < k_) child += heap_[child] < heap_[child + 1];  // which is worse, no processor could predict: no branch
      if (!(value < heap_[child])) break;
      heap_[hole] = heap_[child];
    }
    heap_[hole] = value;
  }

  static constexpr std::size_t kReserved = 64;  // at once: a small search would spend its time on growing

  std::size_t k_;
  std::vector<T> heap_;
};

}  // namespace engine
