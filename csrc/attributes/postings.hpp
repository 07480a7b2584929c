#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "attributes/row_set.hpp"

namespace engine::attributes {

/// The rows of each code: a list, or a bitmap where that is smaller.
class Postings {
 public:
  /// `each(visit)` calls `visit(row, code)` for all pairs, by ascending row; it is called twice.
  template <class Each>
  Postings(std::size_t n_codes, std::size_t n_rows, Each&& each) : n_rows_(n_rows), starts_(n_codes + 1) {
    each([&](std::size_t, std::uint32_t code) { ++starts_[code + 1]; });
    for (std::size_t code = 0; code < n_codes; ++code) {
      if (starts_[code + 1] > n_rows / kFrequent + 64) {
        frequent_.try_emplace(static_cast<std::uint32_t>(code), n_rows);
        starts_[code + 1] = 0;
      }
      starts_[code + 1] += starts_[code];
    }
    rows_.resize(starts_[n_codes]);
    // While they fill, each start stands where the next row goes: at the end it is the start of the next code.
    each([&](std::size_t row, std::uint32_t code) {
      const auto found = frequent_.empty() ? frequent_.end() : frequent_.find(code);
      if (found == frequent_.end())
        rows_[starts_[code]++] = static_cast<std::uint32_t>(row);
      else
        found->second.put(row, true);
    });
    for (std::size_t code = n_codes; code > 0; --code) starts_[code] = starts_[code - 1];
    starts_[0] = 0;
  }

  std::size_t n_rows() const noexcept { return n_rows_; }
  std::size_t nbytes() const noexcept {
    std::size_t bytes = (rows_.capacity() + starts_.capacity()) * sizeof(rows_[0]);
    for (const auto& [code, rows] : frequent_) bytes += sizeof(frequent_) + rows.nbytes();
    return bytes;
  }

  std::size_t count(std::uint32_t code) const noexcept {
    const auto found = frequent_.find(code);
    return found == frequent_.end() ? list(code).size() : found->second.count();
  }
  /// Leaves the count of `found` alone.
  void add_to(RowSet& found, std::uint32_t code) const noexcept {
    if (const auto frequent = frequent_.find(code); frequent != frequent_.end())
      found |= frequent->second;
    else
      for (const std::uint32_t row : list(code)) found.add(row);
  }

 private:
  static constexpr std::size_t kFrequent = 32;  // bits of a list's entry

  /// Codes that came later have no rows yet.
  std::span<const std::uint32_t> list(std::uint32_t code) const noexcept {
    if (code + std::size_t{1} >= starts_.size()) return {};
    return {rows_.data() + starts_[code], starts_[code + 1] - starts_[code]};
  }

  std::size_t n_rows_;
  std::vector<std::uint32_t> starts_;
  std::vector<std::uint32_t> rows_;
  std::unordered_map<std::uint32_t, RowSet> frequent_;
};

}  // namespace engine::attributes
