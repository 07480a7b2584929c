#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace engine::attributes {

/// Distinct strings by their codes, which are numbered from 0 in the order in which the strings came.
///
/// Strings lie one behind the other, each behind its length; where every eighth begins is known. They are found by open
/// addressing: a slot has a code and, in the bits that codes do not need, a part of the hash, so that other strings are
/// hardly ever compared though most slots are full.
class Dictionary {
 public:
  static constexpr std::uint32_t kNone = 0xffff'ffff;

  std::size_t size() const noexcept { return n_; }
  std::string_view operator[](std::uint32_t code) const noexcept {
    std::string_view value = at(blocks_[code / kBlock]);
    for (std::uint32_t i = 0; i < code % kBlock; ++i) value = at(end_of(value));
    return value;
  }
  /// kNone if it is not there.
  std::uint32_t find(std::string_view value) const noexcept;
  /// The code of `value`, which is added if it is new. What throws adds nothing.
  std::uint32_t add(std::string_view value);
  /// Takes back all codes from `n` on.
  void truncate(std::size_t n) noexcept;
  /// Gives back the room to spare if many strings came in one piece, since there were `n_before`.
  void fit(std::size_t n_before) noexcept;
  std::size_t nbytes() const noexcept {
    return text_.capacity() + blocks_.capacity() * sizeof(blocks_[0]) + slots_.capacity() * sizeof(slots_[0]);
  }

 private:
  static constexpr std::uint32_t kBlock = 8;       // strings of which the first one's place is known
  static constexpr std::size_t kLengthBytes = 10;  // at most

  std::string_view at(std::size_t begin) const noexcept;
  /// Where the string that comes after `value` begins.
  std::size_t end_of(std::string_view value) const noexcept {
    return static_cast<std::size_t>(value.data() + value.size() - text_.data());
  }
  /// Bits of a slot that are the code's. Codes are below the number of slots, so that no entry is kNone.
  unsigned n_code_bits() const noexcept { return std::min<unsigned>(32, static_cast<unsigned>(std::bit_width(slots_.size()))); }
  std::uint32_t code_in(std::uint32_t slot) const noexcept {
    return slot & static_cast<std::uint32_t>((1ULL << n_code_bits()) - 1);
  }
  /// What is in a slot: the low bits of the hash above `code`.
  std::uint32_t entry(std::uint64_t hash, std::uint32_t code) const noexcept {
    return static_cast<std::uint32_t>(hash << n_code_bits()) | code;
  }
  template <class IsIt>
  std::size_t first_slot(std::uint64_t hash, IsIt&& is_it) const noexcept {
    // The high bits of the product spread hashes over any number of slots.
    auto slot = static_cast<std::size_t>(static_cast<unsigned __int128>(hash) * slots_.size() >> 64);
    while (!is_it(slots_[slot])) slot = slot + 1 == slots_.size() ? 0 : slot + 1;
    return slot;
  }
  /// Where `value` is or would be.
  std::size_t slot_of(std::string_view value, std::uint64_t hash) const noexcept;
  /// Puts all strings into slots that are empty.
  void fill_slots() noexcept;

  std::vector<char> text_;
  std::vector<std::size_t> blocks_;
  std::vector<std::uint32_t> slots_;
  std::size_t n_ = 0;
};

}  // namespace engine::attributes
