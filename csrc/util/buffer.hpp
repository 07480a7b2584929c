#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "util/block.hpp"

namespace engine {

/// A growable array of plain values, 64-byte aligned, that can also start as a view of somebody else's memory
/// (a mapped file) and can be shared with readers: it copies itself before it would change what they see.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;

  /// Borrows `values` for as long as `owner` lives.
  static Buffer borrow(std::span<const T> values, std::shared_ptr<const void> owner) {
    Buffer buffer;
    buffer.owner_ = std::move(owner);
    buffer.data_ = const_cast<T*>(values.data());
    buffer.size_ = values.size();  // capacity stays 0: the first change copies
    return buffer;
  }

  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  const T& back() const noexcept { return data_[size_ - 1]; }
  std::span<const T> span() const noexcept { return {data_, size_}; }

  /// Keeps the present contents alive and unchanged for a reader.
  std::shared_ptr<const void> share() const {
    if (block_) return block_;
    return owner_;
  }

  /// Room for `size` values in all, at least half as much again as before when it has to move. May throw; changes nothing then.
  void reserve(std::size_t size) {
    if (size <= capacity_) return;
    const std::size_t capacity = std::max(size, capacity_ + capacity_ / 2);
    if (block_ && !is_shared() && block_->grow(capacity * sizeof(T))) {
      data_ = static_cast<T*>(block_->data());
      capacity_ = capacity;
    } else {
      move_to(capacity);
    }
  }

  /// Mutable access to the contents, for one thread at a time; copies first if a reader or a file shares them.
  T* writable() {
    if (capacity_ == 0 ? size_ > 0 : is_shared()) move_to(std::max(size_, capacity_));
    return data_;
  }

  /// Grows within what was reserved; new values are not initialised. Values already shared are not touched.
  T* grow_within(std::size_t size) noexcept {
    T* const added = data_ + size_;
    size_ = size;
    return added;
  }

  void truncate(std::size_t size) noexcept { size_ = std::min(size_, size); }

  /// Appends; may throw before anything changed.
  void append(std::span<const T> values) {
    reserve(size_ + values.size());
    std::copy(values.begin(), values.end(), grow_within(size_ + values.size()));
  }

  std::size_t nbytes() const noexcept { return size_ * sizeof(T); }

 private:
  /// Whether a reader has the block. If not, what the last one read was read before what follows: `use_count` alone does not see
  /// to that.
  bool is_shared() const noexcept {
    if (block_.use_count() > 1) return true;
#ifdef __SANITIZE_THREAD__  // knows no fences, but that the end of an owner releases and acquires the count
    std::shared_ptr<Block>(block_).reset();
#else
    std::atomic_thread_fence(std::memory_order_acquire);
#endif
    return false;
  }
  void move_to(std::size_t capacity) {
    auto block = std::make_shared<Block>(capacity * sizeof(T));
    T* const data = static_cast<T*>(block->data());
    if (size_) std::memcpy(data, data_, size_ * sizeof(T));
    block_ = std::move(block);
    owner_.reset();
    data_ = data;
    capacity_ = capacity;
  }

  std::shared_ptr<Block> block_;       // its own memory, or
  std::shared_ptr<const void> owner_;  // what it borrows
  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace engine
