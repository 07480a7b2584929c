#include "attributes/dictionary.hpp"

#include <functional>

#include "attributes/grow.hpp"
#include "engine/error.hpp"

namespace engine::attributes {
namespace {

std::uint64_t hash_of(std::string_view value) noexcept { return std::hash<std::string_view>{}(value); }

}  // namespace

std::string_view Dictionary::at(std::size_t begin) const noexcept {
  std::size_t size = 0;
  for (unsigned shift = 0;; shift += 7) {  // seven bits a byte, the lowest first; the last byte is below 128
    const auto byte = static_cast<unsigned char>(text_[begin++]);
    size |= std::size_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return {text_.data() + begin, size};
  }
}

std::size_t Dictionary::slot_of(std::string_view value, std::uint64_t hash) const noexcept {
  return first_slot(hash, [&](std::uint32_t there) {
    return there == kNone || (entry(hash, code_in(there)) == there && (*this)[code_in(there)] == value);
  });
}

std::uint32_t Dictionary::find(std::string_view value) const noexcept {
  if (slots_.empty()) return kNone;
  const std::uint32_t there = slots_[slot_of(value, hash_of(value))];
  return there == kNone ? kNone : code_in(there);
}

std::uint32_t Dictionary::add(std::string_view value) {
  if (n_ * 8 >= slots_.size() * 7) {  // 1.1 to 1.4 slots a string
    slots_ = std::vector<std::uint32_t>(std::max<std::size_t>(16, n_ * 10 / 7), kNone);
    fill_slots();
  }
  const std::uint64_t hash = hash_of(value);
  const std::size_t slot = slot_of(value, hash);
  if (slots_[slot] != kNone) return code_in(slots_[slot]);
  if (n_ == kNone) throw Error(ErrorCode::unsupported, "a column holds at most 4,294,967,295 distinct keywords");
  grow(text_, value.size() + kLengthBytes);
  grow(blocks_, 1);
  if (n_ % kBlock == 0) blocks_.push_back(text_.size());
  std::size_t size = value.size();
  for (; size >= 0x80; size >>= 7) text_.push_back(static_cast<char>(size | 0x80));
  text_.push_back(static_cast<char>(size));
  text_.insert(text_.end(), value.begin(), value.end());
  slots_[slot] = entry(hash, static_cast<std::uint32_t>(n_));
  return static_cast<std::uint32_t>(n_++);
}

void Dictionary::truncate(std::size_t n) noexcept {
  if (n == n_) return;
  text_.resize(n ? end_of((*this)[static_cast<std::uint32_t>(n - 1)]) : 0);
  blocks_.resize((n + kBlock - 1) / kBlock);
  n_ = n;
  std::fill(slots_.begin(), slots_.end(), kNone);
  fill_slots();
}

void Dictionary::fit(std::size_t n_before) noexcept {
  if (4 * (n_ - n_before) <= n_) return;
  text_.shrink_to_fit();
  blocks_.shrink_to_fit();
}

void Dictionary::fill_slots() noexcept {
  std::size_t begin = 0;
  for (std::uint32_t code = 0; code < n_; ++code) {
    const std::string_view value = at(begin);
    const std::uint64_t hash = hash_of(value);
    slots_[first_slot(hash, [](std::uint32_t there) { return there == kNone; })] = entry(hash, code);
    begin = end_of(value);
  }
}

}  // namespace engine::attributes
