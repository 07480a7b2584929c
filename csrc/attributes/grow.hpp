#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

namespace engine::attributes {

/// Room for `n` more values, a quarter to spare where it has to move; may throw, changes nothing then.
template <class T>
void grow(std::vector<T>& values, std::size_t n) {
  const std::size_t needed = values.size() + n;
  if (needed > values.capacity()) values.reserve(std::max(needed, values.capacity() + values.capacity() / 4));
}

}  // namespace engine::attributes
