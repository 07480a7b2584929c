#include "attributes/dictionary.hpp"

#include <algorithm>
#include <functional>

#include "attributes/grow.hpp"
#include "engine/error.hpp"

namespace engine::attributes {

std::size_t Dictionary::slot_of(std::string_view value) const noexcept {
  // The high bits of the product spread hashes over any number of slots.
  const auto product = static_cast<unsigned __int128>(std::hash<std::string_view>{}(value)) * slots_.size();
  auto slot = static_cast<std::size_t>(product >> 64);
  while (slots_[slot] != kNone && (*this)[slots_[slot]] != value) slot = slot + 1 == slots_.size() ? 0 : slot + 1;
  return slot;
}

std::uint32_t Dictionary::find(std::string_view value) const noexcept { return slots_.empty() ? kNone : slots_[slot_of(value)]; }

std::uint32_t Dictionary::add(std::string_view value) {
  if (size() * 4 >= slots_.size() * 3) rehash(std::max<std::size_t>(16, 2 * size()));  // 1.3 to 2 slots a value
  const std::size_t slot = slot_of(value);
  if (slots_[slot] != kNone) return slots_[slot];
  if (size() == kNone) throw Error(ErrorCode::unsupported, "a column holds at most 4,294,967,295 distinct keywords");
  grow(text_, value.size());
  grow(ends_, 1);
  text_.insert(text_.end(), value.begin(), value.end());
  ends_.push_back(text_.size());
  return slots_[slot] = static_cast<std::uint32_t>(size() - 1);
}

void Dictionary::truncate(std::size_t n) noexcept {
  if (n == size()) return;
  text_.resize(n ? ends_[n - 1] : 0);
  ends_.resize(n);
  std::fill(slots_.begin(), slots_.end(), kNone);
  for (std::uint32_t code = 0; code < n; ++code) slots_[slot_of((*this)[code])] = code;
}

void Dictionary::rehash(std::size_t n_slots) {
  slots_ = std::vector<std::uint32_t>(n_slots, kNone);
  for (std::uint32_t code = 0; code < size(); ++code) slots_[slot_of((*this)[code])] = code;
}

}  // namespace engine::attributes
