#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace engine::graph {

/// Rows seen by one search. Starting anew costs nothing: a row counts as seen if it carries the number of this search.
class VisitedSet {
 public:
  void start(std::size_t n_rows) {
    if (marks_.size() < n_rows) marks_.resize(n_rows, 0);
    if (++epoch_ == 0) {
      std::fill(marks_.begin(), marks_.end(), std::uint8_t{0});
      epoch_ = 1;
    }
  }
  /// True the first time.
  bool insert(std::size_t row) noexcept {
    const bool is_new = marks_[row] != epoch_;
    marks_[row] = epoch_;
    return is_new;
  }
  void erase(std::size_t row) noexcept { marks_[row] = epoch_ - 1; }
  [[gnu::always_inline]] void prefetch(std::size_t row) const noexcept { __builtin_prefetch(&marks_[row]); }

 private:
  std::vector<std::uint8_t> marks_;
  std::uint8_t epoch_ = 0;
};

}  // namespace engine::graph
