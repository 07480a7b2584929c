#pragma once
#include <array>
#include <cstddef>
#include <vector>

namespace engine::quant {

/// A fixed rotation that looks random: it spreads what any vector says over all dims, so that the sign of each says equally much.
/// Two rounds of random signs and Hadamard matrices over the first and the last power of two of the dims: O(dim log dim).
class Rotation {
 public:
  explicit Rotation(std::size_t dim);

  /// Of what comes out: a multiple of 16.
  std::size_t padded() const noexcept { return padded_; }
  /// Turns `dim` values into `padded()`; lengths stay.
  void apply(const float* from, float* to) const noexcept;

 private:
  static constexpr std::size_t kStages = 4;

  std::size_t dim_, padded_, order_;
  std::array<std::vector<float>, kStages> signs_;
};

}  // namespace engine::quant
