#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/cancel.hpp"
#include "engine/matrix_view.hpp"
#include "engine/metric.hpp"
#include "graph/links.hpp"
#include "graph/lookup.hpp"
#include "quant/rotation.hpp"
#include "util/buffer.hpp"
#include "util/prefetch.hpp"

namespace engine::graph {

/// Beside each row, in one piece of memory, the rows it links to and 1 bit a dim of what leads to each: a walk that expands the
/// row estimates how near all of them are without a look at any (Gou et al. 2024, "SymphonyQG"; codes of Gao and Long 2024,
/// "RaBitQ").
///
/// With x the row, y a neighbour, s the signs of the turned r = y - x, and f = |r|^2 / |r|_1, <q, r> is about
/// <x, r> + f <s, q - x> for a turned query q: the error is that of a random direction, and shrinks with |q - x|.
/// Keys are those of NibbleScorer times Lookup::unit: -<q, y> under cosine and ip, |y - q|^2 / 2 less |q - center|^2 / 2 under
/// l2.
class NeighbourCodes {
 public:
  static constexpr std::size_t kLanes = 32;  // neighbours coded together

  /// Up to kLanes neighbours; the last parts of a row may be empty. `codes` follows.
  struct Part {
    std::uint32_t rows[kLanes];  // kNone where there is none
    float shift[kLanes];         // infinite there
    float factor[kLanes];
    const std::uint8_t* codes() const noexcept { return reinterpret_cast<const std::uint8_t*>(this + 1); }
    std::uint8_t* codes() noexcept { return reinterpret_cast<std::uint8_t*>(this + 1); }
  };

  /// What is coded: the query turns around `center`; `length` is what queries are scaled to under ip.
  NeighbourCodes(Metric metric, std::size_t degree, std::vector<float> center, float length);

  std::size_t size() const noexcept { return bytes_.size() / row_bytes(); }
  std::size_t row_bytes() const noexcept { return n_parts_ * part_bytes(); }
  std::size_t n_parts() const noexcept { return n_parts_; }
  std::size_t n_pairs() const noexcept { return rotation_.padded() / 8; }
  const Part& part(std::size_t row, std::size_t i) const noexcept {
    return *reinterpret_cast<const Part*>(bytes_.data() + row * row_bytes() + i * part_bytes());
  }
  [[gnu::always_inline]] void prefetch(std::size_t row) const noexcept {
    engine::prefetch(bytes_.data() + row * row_bytes(), row_bytes());
  }

  /// Tables of a query, whose codes have the given scale.
  void prepare(const float* query, double scale, Lookup& lookup) const;

  /// Adds rows without neighbours.
  void grow(std::size_t n_rows);
  /// Makes the neighbours of the listed rows those of `links`; codes of those that stay are kept.
  void refresh(const RowsView& vectors, const Links& links, std::span<const std::uint32_t> rows, std::size_t n_threads,
               Cancel& cancel);

  /// Rows whose neighbours are not those of `links`.
  std::size_t n_unlike(const Links& links) const noexcept;
  /// Whether all neighbours are rows below `n_rows`.
  bool lead_below(std::size_t n_rows) const noexcept;

  const Buffer<std::byte>& bytes() const noexcept { return bytes_; }
  void set_bytes(Buffer<std::byte> bytes) noexcept { bytes_ = std::move(bytes); }
  const std::vector<float>& center() const noexcept { return center_; }
  float length() const noexcept { return length_; }

 private:
  std::size_t part_bytes() const noexcept { return sizeof(Part) + kLanes * n_pairs(); }
  Part& part(std::size_t row, std::size_t i) noexcept { return const_cast<Part&>(std::as_const(*this).part(row, i)); }
  void clear(std::size_t row) noexcept;
  bool copy_from(const std::byte* former, Part& own, std::size_t lane) const noexcept;
  void turn(const RowsView& vectors, std::size_t row, float* work, float* to) const;

  Metric metric_;
  std::size_t n_parts_;
  quant::Rotation rotation_;
  std::vector<float> center_, turned_center_, origin_;
  float length_;
  Buffer<std::byte> bytes_;
};

}  // namespace engine::graph
