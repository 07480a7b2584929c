#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace engine {

/// Finds the row of an id: open addressing over row numbers, 8 to 16 bytes a row; the ids themselves stay with their owner.
class IdMap {
 public:
  static constexpr std::uint32_t kNone = 0xffff'ffff;

  /// Room for `n` ids in all; may throw, changes nothing then. `ids` may hold more than are in the map now.
  void reserve(std::size_t n, std::span<const std::int64_t> ids) {
    if (2 * n <= slots_.size()) return;
    std::size_t size = 16;
    while (size < 2 * n) size *= 2;
    std::vector<std::uint32_t> slots(size, kNone);
    slots_.swap(slots);
    for (const std::uint32_t row : slots)
      if (row != kNone) insert(row, ids);
  }

  std::uint32_t find(std::int64_t id, std::span<const std::int64_t> ids) const noexcept {
    if (slots_.empty()) return kNone;
    for (std::size_t slot = home(id);; slot = next(slot))
      if (slots_[slot] == kNone || ids[slots_[slot]] == id) return slots_[slot];
  }

  /// Adds `ids[row]`, which must be new and have been reserved for; false, and nothing done, if it is there already.
  bool insert(std::size_t row, std::span<const std::int64_t> ids) noexcept {
    std::size_t slot = home(ids[row]);
    for (; slots_[slot] != kNone; slot = next(slot))
      if (ids[slots_[slot]] == ids[row]) return false;
    slots_[slot] = static_cast<std::uint32_t>(row);
    return true;
  }

  void erase(std::int64_t id, std::span<const std::int64_t> ids) noexcept {
    std::size_t hole = home(id);
    while (ids[slots_[hole]] != id) hole = next(hole);
    // Close the gap: pull back every later entry of the run that the hole would otherwise cut off from its home.
    for (std::size_t slot = next(hole); slots_[slot] != kNone; slot = next(slot)) {
      const std::size_t wish = home(ids[slots_[slot]]);
      if (((slot - wish) & (slots_.size() - 1)) >= ((slot - hole) & (slots_.size() - 1))) {
        slots_[hole] = slots_[slot];
        hole = slot;
      }
    }
    slots_[hole] = kNone;
  }

  /// The row that held `id` is now `row`.
  void move(std::int64_t id, std::size_t row, std::span<const std::int64_t> ids) noexcept {
    std::size_t slot = home(id);
    while (ids[slots_[slot]] != id) slot = next(slot);
    slots_[slot] = static_cast<std::uint32_t>(row);
  }

  std::size_t nbytes() const noexcept { return slots_.size() * sizeof(slots_[0]); }

 private:
  std::size_t home(std::int64_t id) const noexcept {
    std::uint64_t h = static_cast<std::uint64_t>(id) * 0x9e37'79b9'7f4a'7c15u;
    return (h ^ h >> 32) & (slots_.size() - 1);
  }
  std::size_t next(std::size_t slot) const noexcept { return (slot + 1) & (slots_.size() - 1); }

  std::vector<std::uint32_t> slots_;
};

}  // namespace engine
