#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <unordered_map>

#include "attributes/row_set.hpp"
#include "engine/bitmap.hpp"

namespace engine::attributes {

/// An `Index` over the cells of a column, made by the first reader who asks, and the rows that changed since: what the index
/// says of those is corrected one by one, until they are so many that it is made anew. Readers may come together; changes exclude
/// them and each other, and cannot fail.
template <class Index, class Key>
class Lazy {
 public:
  template <class Make>
  const Index& get(Make&& make) const {
    if (!made_.load(std::memory_order_acquire)) {
      const std::lock_guard lock(making_);
      if (!index_) index_ = std::make_unique<const Index>(make());
      made_.store(true, std::memory_order_release);
    }
    return *index_;
  }

  /// `row` is about to change; now it has `key`, or NULL, or is not there.
  void note(std::size_t row, std::optional<Key> key) noexcept {
    if (!index_) return;
    if (changed_.size() > index_->n_rows() / kShare + 64) return forget();
    try {
      is_changed_.reserve(index_->n_rows());
      changed_.try_emplace(static_cast<std::uint32_t>(row), key);
      if (row < index_->n_rows()) is_changed_.put(row, true);
    } catch (const std::bad_alloc&) {
      forget();
    }
  }
  void forget() noexcept {
    made_ = false;
    index_.reset();
    changed_.clear();
    is_changed_ = {};
  }

  /// Whether all that the index says of `n_now` rows is right.
  bool is_current(std::size_t n_now) const noexcept { return changed_.empty() && index_->n_rows() == n_now; }
  /// What the index knows a row of its own by that changed; nullptr if it did not.
  const std::optional<Key>* was(std::size_t row) const noexcept {
    return is_changed_.test(row) ? &changed_.find(static_cast<std::uint32_t>(row))->second : nullptr;
  }
  /// The rows that the index knows and those that there are.
  std::size_t n_rows(std::size_t n_now) const noexcept { return std::max(n_now, index_->n_rows()); }
  /// `found` is what the index says, over `n_rows(n_now)`; `now(row)` whether a row belongs there today.
  template <class Now>
  Bitmap corrected(Bitmap found, std::size_t n_now, Now&& now) const {
    for (const auto& [row, key] : changed_)
      if (row < found.size()) found.put(row, row < n_now && now(row));
    found.resize(n_now);
    found.compact();
    return found;
  }
  /// The same for a mere number of rows; `before(key)` says whether the index counted a row.
  template <class Before, class Now>
  std::size_t corrected(std::size_t count, std::size_t n_rows, Before&& before, Now&& now) const {
    for (const auto& [row, key] : changed_) {
      count -= key && before(*key);
      count += row < n_rows && now(row);
    }
    return count;
  }

  std::size_t nbytes() const noexcept {
    constexpr std::size_t kNode = sizeof(typename decltype(changed_)::value_type) + 2 * sizeof(void*);
    return (made_ ? index_->nbytes() : 0) + is_changed_.nbytes() + changed_.size() * kNode +
           changed_.bucket_count() * sizeof(void*);
  }

 private:
  static constexpr std::size_t kShare = 32;  // of the rows may have changed

  mutable std::mutex making_;
  mutable std::atomic<bool> made_ = false;
  mutable std::unique_ptr<const Index> index_;
  std::unordered_map<std::uint32_t, std::optional<Key>> changed_;
  RowSet is_changed_;  // of the rows that the index knows: most questions end here
};

}  // namespace engine::attributes
