#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace engine::attributes {

/// Distinct strings, numbered from 0 in the order in which they came: open addressing over the numbers.
class Dictionary {
 public:
  static constexpr std::uint32_t kNone = 0xffff'ffff;

  std::size_t size() const noexcept { return ends_.size(); }
  std::string_view operator[](std::uint32_t code) const noexcept {
    const std::size_t begin = code ? ends_[code - 1] : 0;
    return {text_.data() + begin, ends_[code] - begin};
  }
  /// kNone if it is not there.
  std::uint32_t find(std::string_view value) const noexcept;
  /// The code of `value`, which is added if it is new. What throws adds nothing.
  std::uint32_t add(std::string_view value);
  /// Takes back all codes from `n` on.
  void truncate(std::size_t n) noexcept;
  std::size_t nbytes() const noexcept {
    return text_.capacity() + ends_.capacity() * sizeof(ends_[0]) + slots_.capacity() * sizeof(slots_[0]);
  }

 private:
  /// Where `value` is or would be.
  std::size_t slot_of(std::string_view value) const noexcept;
  void rehash(std::size_t n_slots);

  std::vector<char> text_;
  std::vector<std::size_t> ends_;
  std::vector<std::uint32_t> slots_;
};

}  // namespace engine::attributes
