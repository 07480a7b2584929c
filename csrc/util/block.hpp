#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

#include <sys/mman.h>

namespace engine {

/// Memory, 64-byte aligned and not initialised. A large block is mapped: it lies on huge pages, for fewer page-table walks in
/// scans, and can grow without a copy, for the kernel moves its pages.
class Block {
 public:
  explicit Block(std::size_t bytes)
      : bytes_(bytes < kLarge ? std::max<std::size_t>(bytes, 1) : whole_pages(bytes)),
        data_(bytes < kLarge ? ::operator new(bytes_, kAligned) : map(bytes_)) {}
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
    if (bytes_ < kLarge)
      ::operator delete(data_, kAligned);
    else
      ::munmap(data_, bytes_);
  }

  void* data() const noexcept { return data_; }

  /// Room for more bytes, perhaps elsewhere, with what it holds. False where that would take a copy; may throw; then it is as
  /// before.
  bool grow([[maybe_unused]] std::size_t bytes) {
#ifdef MREMAP_FIXED
    if (bytes_ < kLarge) return false;
    bytes = whole_pages(bytes);
    void* const place = map(bytes);
    if (::mremap(data_, bytes_, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED) {
      ::munmap(place, bytes);
      throw std::bad_alloc();
    }
    data_ = place;
    bytes_ = bytes;
    return true;
#else
    return false;
#endif
  }

 private:
  static constexpr std::align_val_t kAligned{64};
  static constexpr std::size_t kHugePage = 2u << 20, kLarge = 2 * kHugePage;

  static std::size_t whole_pages(std::size_t bytes) { return (bytes + kHugePage - 1) & ~(kHugePage - 1); }

  /// Whole huge pages: maps one more, and gives back what lies before the first and behind the last.
  static void* map(std::size_t bytes) {
    if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
    void* const mapped = ::mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    std::byte* const begin = static_cast<std::byte*>(mapped);
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(begin) & (kHugePage - 1);
    if (before) ::munmap(begin, before);
    if (before < kHugePage) ::munmap(begin + before + bytes, kHugePage - before);
#ifdef MADV_HUGEPAGE
    ::madvise(begin + before, bytes, MADV_HUGEPAGE);  // a refusal costs nothing
#endif
    return begin + before;
  }

  std::size_t bytes_;
  void* data_;
};

}  // namespace engine
