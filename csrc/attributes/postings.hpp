#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "attributes/grow.hpp"
#include "attributes/rising.hpp"
#include "engine/bitmap.hpp"
#include "util/sort_rows.hpp"

namespace engine::attributes {

/// The rows of each code. They do not keep the code of a row: whoever asks says of a few rows whether they had a code when
/// this was made (`had(row, code)`), and may deny it of rows whose answer is corrected later.
///
/// Codes are numbered as they come, so that the first rows of most rise with their codes: such a row is sought among the 64
/// where it must be, and is not written down. The others are in lists, which rare codes share; codes with so many rows that a
/// bitmap is smaller have one (docs/decisions/0017-rare-values-by-their-order.md).
class Postings {
 public:
  /// `each(visit)` calls `visit(row, code)` for all pairs, by ascending row; it is called twice.
  template <class Each>
  Postings(std::size_t n_codes, std::size_t n_rows, Each&& each) : n_rows_(n_rows) {
    std::vector<std::uint32_t> lengths(n_codes);
    std::vector<bool> is_sought = seek(lengths, each);
    rows_.resize(divide(lengths));
    std::vector<std::uint32_t>& at = lengths;  // where the next row of a code goes
    for (std::uint32_t code = 0, start = 0; code < n_codes; ++code) start += std::exchange(at[code], start);
    each([&](std::size_t row, std::uint32_t code) {
      if (is_sought[code]) {
        is_sought[code] = false;  // that was the first
      } else if (const auto found = frequent_.empty() ? frequent_.end() : frequent_.find(code); found != frequent_.end()) {
        found->second->set(row);
      } else {
        rows_[at[code]++] = static_cast<std::uint32_t>(row);
      }
    });
  }

  std::size_t n_rows() const noexcept { return n_rows_; }
  std::size_t nbytes() const noexcept {
    std::size_t bytes = rows_.capacity() * sizeof(rows_[0]) + lists_.capacity() * sizeof(lists_[0]) +
                        lowest_sought_.capacity() * sizeof(lowest_sought_[0]);
    for (const auto& [code, rows] : frequent_) bytes += sizeof(frequent_) + sizeof(*rows) + rows->nbytes();
    return bytes;
  }

  /// At least as many as `code` has; beyond that, what other codes have in a list that it shares.
  std::size_t at_most(std::uint32_t code) const noexcept {
    const auto found = frequent_.find(code);
    return found == frequent_.end() ? list(code).rows.size() + 1 : found->second->count();
  }
  /// The rows of a code that has a bitmap, or null.
  std::shared_ptr<const Bitmap> kept(std::uint32_t code) const {
    const auto found = frequent_.find(code);
    return found == frequent_.end() ? nullptr : found->second;
  }
  /// How many rows `code` has, where each row has one code.
  template <class Had>
  std::size_t count(std::uint32_t code, Had&& had) const {
    if (const auto found = frequent_.find(code); found != frequent_.end()) return found->second->count();
    if (const auto [rows, is_shared] = list(code); !is_shared)
      return rows.size() + sought(code, rows.empty() ? n_rows_ : rows.front(), had).has_value();
    std::vector<std::uint32_t> rows;
    append(code, had, rows);
    return rows.size();
  }
  /// The rows of any of `codes`, among `n_rows`, which are no fewer than this knows.
  template <class Had>
  Bitmap rows_of(std::span<const std::uint32_t> codes, std::size_t n_rows, Had&& had) const {
    std::vector<std::uint32_t> listed;  // while all are few
    Bitmap marked(0);
    const auto mark = [&] {
      marked.reserve(n_rows);
      marked.resize(n_rows_);
      for (const std::uint32_t row : listed) marked.set(row);
      listed.clear();
    };
    for (const std::uint32_t code : codes) {
      if (const auto frequent = frequent_.find(code); frequent == frequent_.end()) {
        append(code, had, listed);
        if (marked.size() || !Bitmap::is_few(listed.size(), n_rows)) mark();
      } else if (marked.size()) {
        marked |= *frequent->second;
      } else {
        marked.reserve(n_rows);  // of exactly that many rows, whatever came since
        marked = *frequent->second;
        mark();
      }
    }
    if (marked.size()) {
      marked.resize(n_rows);
      marked.compact();
      return marked;
    }
    if (codes.size() > 1) {
      sort_rows(listed);
      listed.erase(std::unique(listed.begin(), listed.end()), listed.end());
    }
    return Bitmap::from_ascending(n_rows, std::move(listed));
  }

 private:
  static constexpr std::size_t kFrequent = 32;  // bits of a list's entry
  static constexpr std::size_t kBlock = 64;     // rows among which one is sought
  static constexpr std::size_t kShared = 16;    // rows of a list that codes share
  static constexpr std::size_t kFewCodes = 16;  // of a row: with more it takes long to ask whether it has one

  /// A list of rows, for the codes from `code` to that of the next list.
  struct List {
    std::uint32_t code, start;
  };
  struct Listed {
    std::span<const std::uint32_t> rows;
    bool is_shared;
  };

  /// Which codes have their first row sought. `lengths` become those of lists; frequent codes have none.
  template <class Each>
  std::vector<bool> seek(std::vector<std::uint32_t>& lengths, Each& each) {
    std::vector<std::uint32_t> arrivals, first_rows;
    arrivals.reserve(lengths.size());
    first_rows.reserve(lengths.size());
    std::size_t n_pairs = 0;
    each([&](std::size_t row, std::uint32_t code) {
      ++n_pairs;
      if (lengths[code]++) return;
      arrivals.push_back(code);
      first_rows.push_back(static_cast<std::uint32_t>(row));
    });
    may_ask_ = n_pairs <= kFewCodes * n_rows_;
    const std::vector<bool> rising = may_ask_ ? longest_rising(arrivals) : std::vector<bool>(arrivals.size());
    std::vector<bool> is_sought(lengths.size());
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      const std::uint32_t code = arrivals[i];
      if (lengths[code] > n_rows_ / kFrequent + 64) {
        frequent_.try_emplace(code, std::make_shared<Bitmap>(n_rows_));
        lengths[code] = 0;
      } else if (rising[i]) {
        is_sought[code] = true;
        --lengths[code];
        while (lowest_sought_.size() <= first_rows[i] / kBlock) lowest_sought_.push_back(code);
      }
    }
    lowest_sought_.shrink_to_fit();
    return is_sought;
  }
  /// Which codes share a list, and how many rows are listed.
  std::size_t divide(std::span<const std::uint32_t> lengths) {
    const std::size_t room = may_ask_ ? kShared : 0;
    std::size_t n_listed = 0;
    for (std::uint32_t code = 0; code < lengths.size(); ++code) {
      if (lists_.empty() || n_listed + lengths[code] > lists_.back().start + room)
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
  /// The first row of a code if it is not listed; otherwise that is `first_listed`, before which no row has the code.
  template <class Had>
  std::optional<std::size_t> sought(std::uint32_t code, std::size_t first_listed, Had& had) const {
    const auto next = std::upper_bound(lowest_sought_.begin(), lowest_sought_.end(), code);
    if (next == lowest_sought_.begin()) return {};
    const std::size_t begin = static_cast<std::size_t>(next - lowest_sought_.begin() - 1) * kBlock;
    for (std::size_t row = begin; row < std::min(begin + kBlock, first_listed); ++row)
      if (had(row, code)) return row;
    return {};
  }
  /// Adds the rows of a code that is not frequent, ascending.
  template <class Had>
  void append(std::uint32_t code, Had& had, std::vector<std::uint32_t>& to) const {
    const auto [rows, is_shared] = list(code);
    const auto begin = static_cast<std::ptrdiff_t>(to.size());
    grow(to, rows.size() + 1);
    if (is_shared)
      std::ranges::copy_if(rows, std::back_inserter(to), [&](std::uint32_t row) { return had(row, code); });
    else
      to.insert(to.end(), rows.begin(), rows.end());
    const auto own = to.begin() + begin;
    if (const std::optional<std::size_t> row = sought(code, own == to.end() ? n_rows_ : *own, had))
      to.insert(own, static_cast<std::uint32_t>(*row));
  }

  std::size_t n_rows_;
  bool may_ask_ = true;
  /// The lowest code sought in each block of rows; where there is none, that of the next block that has one.
  std::vector<std::uint32_t> lowest_sought_;
  std::vector<List> lists_;  // an empty one comes last
  std::vector<std::uint32_t> rows_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Bitmap>> frequent_;
};

}  // namespace engine::attributes
