#pragma once
#include <cstddef>

namespace engine {

/// Asks the memory for `n_bytes` that will be read soon. Into the second cache: the first has too few places for lines under way,
/// so that a list of rows would wait at each. Walks and gathered scans take two thirds of the time (docs/decisions/0012).
/// Functions that only prefetch have to be inlined always: gcc takes them for functions without effects and drops their calls.
[[gnu::always_inline]] inline void prefetch(const void* first, std::size_t n_bytes) noexcept {
  for (std::size_t j = 0; j < n_bytes; j += 64) __builtin_prefetch(static_cast<const std::byte*>(first) + j, 0, 2);
}
/// For the place of one value.
template <class T>
[[gnu::always_inline]] inline void prefetch(const T* value) noexcept {
  __builtin_prefetch(value, 0, 2);
}

}  // namespace engine
