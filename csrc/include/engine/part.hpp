#pragma once
#include <cstddef>
#include <memory>

namespace engine {

/// One array of what an index stores: borrowed, and kept as it is for as long as `owner` lives.
struct Part {
  const char* name;
  char kind;  // 'u' unsigned, 'i' signed, 'f' float
  std::size_t item_size;
  const void* data;
  std::size_t n_items;
  std::shared_ptr<const void> owner;
};

}  // namespace engine
