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
  /// The marks for a loop. Being bytes they could be anything, so that compilers read again where they are after each.
  class Marks {
   public:
    Marks(std::uint8_t* marks, std::uint8_t epoch) noexcept : marks_(marks), epoch_(epoch) {}
    /// True the first time.
    [[gnu::always_inline]] bool insert(std::size_t row) const noexcept {
      const bool is_new = marks_[row] != epoch_;
      marks_[row] = epoch_;
      return is_new;
    }

   private:
    std::uint8_t* marks_;
    std::uint8_t epoch_;
  };
  Marks marks() noexcept { return {marks_.data(), epoch_}; }
  bool insert(std::size_t row) noexcept { return marks().insert(row); }
  void erase(std::size_t row) noexcept { marks_[row] = epoch_ - 1; }

 private:
  std::vector<std::uint8_t> marks_;
  std::uint8_t epoch_ = 0;
};

}  // namespace engine::graph
