#pragma once
#include <array>
#include <cstddef>
#include <memory>

namespace engine {

/// Room for `n` plain values, not initialised: on the stack up to `kInline` of them. A kilobyte and more of the heap is beyond
/// what malloc keeps at hand: it then sorts what was freed, which takes longer than a search of few rows.
template <class T, std::size_t kInline>
class Scratch {
 public:
  explicit Scratch(std::size_t n) : heap_(n > kInline ? std::make_unique_for_overwrite<T[]>(n) : nullptr) {}

  T* data() noexcept { return heap_ ? heap_.get() : inline_.data(); }

 private:
  std::array<T, kInline> inline_;
  std::unique_ptr<T[]> heap_;
};

}  // namespace engine
