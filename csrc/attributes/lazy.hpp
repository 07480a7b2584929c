#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "attributes/row_set.hpp"
#include "engine/bitmap.hpp"
#include "util/sort_rows.hpp"

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
    if (is_changed_.test(row)) return;
    try {
      is_changed_.reserve(row + 1);
      places_.emplace(static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(changed_.size()));
      changed_.push_back({static_cast<std::uint32_t>(row), key});
      is_changed_.put(row, true);
    } catch (const std::bad_alloc&) {
      forget();
    }
  }
  void forget() noexcept {
    made_ = false;
    index_.reset();
    changed_.clear();
    places_.clear();
    is_changed_ = {};
  }

  /// Whether all that the index says of `n_now` rows is right.
  bool is_current(std::size_t n_now) const noexcept { return changed_.empty() && index_->n_rows() == n_now; }
  /// What the index knows a row of its own by that changed; nullptr if it did not.
  const std::optional<Key>* was(std::size_t row) const noexcept {
    return is_changed_.test(row) ? &changed_[places_.find(static_cast<std::uint32_t>(row))->second].second : nullptr;
  }
  /// The rows that the index knows and those that there are.
  std::size_t n_rows(std::size_t n_now) const noexcept { return std::max(n_now, index_->n_rows()); }
  /// `found` is what the index says, over `n_rows(n_now)`; `now(row)` whether a row belongs there today.
  template <class Now>
  Bitmap corrected(Bitmap found, std::size_t n_now, Now&& now) const {
    if (is_current(n_now)) return found;
    const auto belongs = [&](std::uint32_t row) { return row < n_now && now(row); };
    if (const auto listed = found.listed()) {
      const auto is_right = [&](const auto& change) { return found.test(change.first) == belongs(change.first); };
      if (8 * changed_.size() > listed->size() || !std::ranges::all_of(changed_, is_right))
        return merged(*listed, n_now, belongs);
    } else {
      for (const auto& [row, key] : changed_)
        if (row < found.size()) found.put(row, belongs(row));
    }
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
    constexpr std::size_t kNode = sizeof(typename decltype(places_)::value_type) + 2 * sizeof(void*);
    return (made_ ? index_->nbytes() : 0) + is_changed_.nbytes() + changed_.capacity() * sizeof(changed_[0]) +
           places_.size() * kNode + places_.bucket_count() * sizeof(void*);
  }

 private:
  /// What the index says of rows that did not change, and what holds for the others.
  template <class Belongs>
  Bitmap merged(std::span<const std::uint32_t> listed, std::size_t n_now, const Belongs& belongs) const {
    std::vector<std::uint32_t> come, rows;
    for (const auto& [row, key] : changed_)
      if (belongs(row)) come.push_back(row);
    sort_rows(come);
    rows.reserve(listed.size() + come.size());
    auto next = come.begin();
    for (const std::uint32_t row : listed) {
      if (is_changed_.test(row)) continue;
      while (next != come.end() && *next < row) rows.push_back(*next++);
      rows.push_back(row);
    }
    rows.insert(rows.end(), next, come.end());
    return Bitmap::from_ascending(n_now, std::move(rows));
  }

  static constexpr std::size_t kShare = 32;  // of the rows may have changed

  mutable std::mutex making_;
  mutable std::atomic<bool> made_ = false;
  mutable std::unique_ptr<const Index> index_;
  std::vector<std::pair<std::uint32_t, std::optional<Key>>> changed_;
  std::unordered_map<std::uint32_t, std::uint32_t> places_;  // where they are in it
  RowSet is_changed_;                                        // most questions end here
};

}  // namespace engine::attributes
