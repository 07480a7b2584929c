#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace engine::graph {

/// A row and its key.
struct Keyed {
  float key;
  std::uint32_t row;
};

/// All rows that a walk scored, in turn, and those that it expanded.
class Scored {
 public:
  void clear() noexcept {
    n_ = 0;
    batches_.clear();
    expanded_.clear();
  }
  /// The first `n`. Whole arrays are copied, which takes no loop.
  template <std::size_t kMost>
  [[gnu::always_inline]] void add(const std::array<std::uint32_t, kMost>& rows, const std::array<float, kMost>& keys,
                                  std::size_t n) {
    if (n_ + kMost > rows_.size()) {
      keys_.resize(2 * n_ + kMost);
      rows_.resize(keys_.size());  // last: without memory for them there is no room
    }
    std::copy(rows.begin(), rows.end(), rows_.begin() + static_cast<std::ptrdiff_t>(n_));
    std::copy(keys.begin(), keys.end(), keys_.begin() + static_cast<std::ptrdiff_t>(n_));
    batches_.push_back({n_, expanded_.size()});
    n_ += n;
  }
  void add_expanded(Keyed row) { expanded_.push_back(row); }

  std::size_t size() const noexcept { return n_; }
  Keyed operator[](std::size_t i) const noexcept { return {keys_[i], rows_[i]}; }
  const std::vector<Keyed>& expanded() const noexcept { return expanded_; }
  /// The first of those that came when more than `n` had been expanded.
  std::size_t first_after(std::size_t n) const noexcept {
    const auto batch = std::ranges::upper_bound(batches_, n, {}, &Batch::n_expanded);
    return batch == batches_.end() ? n_ : batch->first;
  }

 private:
  struct Batch {
    std::size_t first, n_expanded;
  };
  std::size_t n_ = 0;
  std::vector<float> keys_;
  std::vector<std::uint32_t> rows_;
  std::vector<Batch> batches_;
  std::vector<Keyed> expanded_;
};

}  // namespace engine::graph
