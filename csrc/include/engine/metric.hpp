#pragma once
#include <cstddef>

namespace engine {

/// Distances are smaller-is-closer: 1 - cos, -<q, x>, squared Euclidean.
enum class Metric { cosine, ip, l2 };

/// How vectors are kept: i8 as nothing but their 8-bit codes.
enum class Dtype { f32, f16, bf16, i8 };

/// Bytes a number, apart from codes.
constexpr std::size_t size_of(Dtype dtype) noexcept { return dtype == Dtype::f32 ? 4 : dtype == Dtype::i8 ? 0 : 2; }

/// int32 sums of 8-bit products are exact up to here: 255 * 127 * 65,536 < 2^31.
constexpr std::size_t kMaxDim = 65'536;

/// Rows are numbered in 32 bits.
constexpr std::size_t kMaxRows = 0xffff'fff0;

}  // namespace engine
