#pragma once
// Replaces operator new: counts, and fails when told to. Included by one file of a program.
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace allocations {
inline std::atomic<std::size_t> n_bytes{0};   // ever asked for
inline std::atomic<long> n_until_failure{0};  // the how manieth from now on fails, once; 0: none
}  // namespace allocations

namespace {
void* allocate(std::size_t size, std::size_t alignment) {
  allocations::n_bytes += size;
  if (allocations::n_until_failure > 0 && --allocations::n_until_failure == 0) throw std::bad_alloc();
  void* const data = std::aligned_alloc(alignment, (size + alignment) / alignment * alignment);
  if (!data) throw std::bad_alloc();
  return data;
}
}  // namespace

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) { return allocate(size, static_cast<std::size_t>(alignment)); }
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }
void operator delete(void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete(void* data, std::size_t, std::align_val_t) noexcept { std::free(data); }
