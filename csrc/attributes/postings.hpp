#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "attributes/rising.hpp"
#include "attributes/row_set.hpp"

namespace engine::attributes {

/// The rows of each code, without the codes of rows: whoever asks says whether a row had a code when they were made (`had(row,
/// code)`), of the few that may have.
///
/// Codes are numbered as they come, so that the first rows of most rise with their codes: such a row is looked for among
/// the 64 rows where it must be, and is not written down. All other rows are, in lists that rare codes share; codes with so many
/// rows that a bitmap is smaller have one.
class Postings {
 public:
  /// `each(visit)` calls `visit(row, code)` for all pairs, by ascending row; it is called twice.
  template <class Each>
  Postings(std::size_t n_codes, std::size_t n_rows, Each&& each) : n_rows_(n_rows) {
    std::vector<std::uint32_t> lengths(n_codes), arrivals, first_rows;
    each([&](std::size_t row, std::uint32_t code) {
      if (lengths[code]++) return;
      arrivals.push_back(code);
      first_rows.push_back(static_cast<std::uint32_t>(row));
    });
    for (const std::uint32_t code : arrivals)
      if (lengths[code] > n_rows / kFrequent + 64) {
        frequent_.try_emplace(code, n_rows);
        lengths[code] = 0;
      }
    std::vector<bool> is_sought = seek(arrivals, first_rows, lengths);
    rows_.resize(divide(lengths));
    std::vector<std::uint32_t>& at = lengths;  // where the next row of a code goes
    for (std::uint32_t code = 0, start = 0; code < n_codes; ++code) start += std::exchange(at[code], start);
    each([&](std::size_t row, std::uint32_t code) {
      if (is_sought[code]) {
        is_sought[code] = false;  // that was the first
      } else if (const auto found = frequent_.empty() ? frequent_.end() : frequent_.find(code); found != frequent_.end()) {
        found->second.put(row, true);
      } else {
        rows_[at[code]++] = static_cast<std::uint32_t>(row);
      }
    });
  }

  std::size_t n_rows() const noexcept { return n_rows_; }
  std::size_t nbytes() const noexcept {
    std::size_t bytes = rows_.capacity() * sizeof(rows_[0]) + lists_.capacity() * sizeof(lists_[0]) +
                        lowest_sought_.capacity() * sizeof(lowest_sought_[0]);
    for (const auto& [code, rows] : frequent_) bytes += sizeof(frequent_) + rows.nbytes();
    return bytes;
  }

  /// No fewer rows than `code` has, and no more than a few that it has not.
  std::size_t at_most(std::uint32_t code) const noexcept {
    const auto found = frequent_.find(code);
    return found == frequent_.end() ? list(code).rows.size() + 1 : found->second.count();
  }
  /// Where rows have one code each.
  template <class Had>
  std::size_t count(std::uint32_t code, Had&& had) const {
    if (const auto found = frequent_.find(code); found != frequent_.end()) return found->second.count();
    std::size_t count = 0;
    for_each(code, had, [&](std::size_t) { ++count; });
    return count;
  }
  /// Leaves the count of `found`, which had none of the rows of `code`, alone, and says how many it got.
  template <class Had>
  std::size_t add_to(RowSet& found, std::uint32_t code, Had&& had) const {
    if (const auto frequent = frequent_.find(code); frequent != frequent_.end()) {
      found |= frequent->second;
      return frequent->second.count();
    }
    std::size_t count = 0;
    for_each(code, had, [&](std::size_t row) {
      count += !found.test(row);  // rows of sets are in a shared list once for each of its codes
      found.add(row);
    });
    return count;
  }

 private:
  static constexpr std::size_t kFrequent = 32;  // bits of a list's entry
  static constexpr std::size_t kBlock = 64;     // rows among which one is sought
  static constexpr std::size_t kShared = 64;    // rows of a list that codes share

  /// A list of rows, for the codes from `code` to that of the next list.
  struct List {
    std::uint32_t code, start;
  };
  struct Listed {
    std::span<const std::uint32_t> rows;
    bool is_shared;
  };

  /// Chooses the codes whose first row is sought, not listed.
  std::vector<bool> seek(std::span<const std::uint32_t> arrivals, std::span<const std::uint32_t> first_rows,
                         std::vector<std::uint32_t>& lengths) {
    const std::vector<bool> rising = longest_rising(arrivals);
    std::vector<bool> is_sought(lengths.size());
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      const std::uint32_t code = arrivals[i];
      if (!rising[i] || lengths[code] == 0) continue;
      is_sought[code] = true;
      --lengths[code];
      while (lowest_sought_.size() <= first_rows[i] / kBlock) lowest_sought_.push_back(code);
    }
    lowest_sought_.shrink_to_fit();
    return is_sought;
  }
  /// Which codes share a list, and how many rows are listed.
  std::size_t divide(std::span<const std::uint32_t> lengths) {
    std::size_t n_listed = 0;
    for (std::uint32_t code = 0; code < lengths.size(); ++code) {
      if (lists_.empty() || n_listed + lengths[code] > lists_.back().start + kShared)
        lists_.push_back({code, static_cast<std::uint32_t>(n_listed)});
      n_listed += lengths[code];
    }
    lists_.push_back({static_cast<std::uint32_t>(lengths.size()), static_cast<std::uint32_t>(n_listed)});
    lists_.shrink_to_fit();
    return n_listed;
  }

  /// Codes that came later have no rows yet.
  Listed list(std::uint32_t code) const noexcept {
    if (code >= lists_.back().code) return {};
    const auto next =
        std::upper_bound(lists_.begin(), lists_.end(), code, [](std::uint32_t c, const List& l) { return c < l.code; });
    const auto own = next - 1;
    return {{rows_.data() + own->start, next->start - own->start}, next->code - own->code > 1};
  }
  /// The rows of a code that is not frequent.
  template <class Had, class Visit>
  void for_each(std::uint32_t code, Had& had, Visit&& visit) const {
    const auto [rows, is_shared] = list(code);
    std::size_t first_listed = n_rows_;
    for (const std::uint32_t row : rows)
      if (!is_shared || had(row, code)) {
        first_listed = std::min<std::size_t>(first_listed, row);
        visit(row);
      }
    const auto next = std::upper_bound(lowest_sought_.begin(), lowest_sought_.end(), code);
    if (next == lowest_sought_.begin()) return;
    const std::size_t begin = static_cast<std::size_t>(next - lowest_sought_.begin() - 1) * kBlock;
    for (std::size_t row = begin; row < std::min(begin + kBlock, first_listed); ++row)
      if (had(row, code)) return visit(row);  // the first row of the code: were it listed, no row before it would have the code
  }

  std::size_t n_rows_;
  std::vector<std::uint32_t>
      lowest_sought_;        // of the codes in each block; of those in the next block that has any, where none is
  std::vector<List> lists_;  // an empty one comes last
  std::vector<std::uint32_t> rows_;
  std::unordered_map<std::uint32_t, RowSet> frequent_;
};

}  // namespace engine::attributes
