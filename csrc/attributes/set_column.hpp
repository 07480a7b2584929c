#pragma once
#include <algorithm>
#include <unordered_set>

#include "attributes/keyword_column.hpp"

namespace engine::attributes {

/// Sets of keywords: a cell says where in a pool its set lies, which is its length and its codes in the order given; and the rows
/// of each code. The empty set lies at 0.
class SetColumn final : public CellColumn<std::uint32_t> {
  struct Nothing {};  // no key need be known of rows before they changed

  /// Whether a row had a code when the index was made; no for rows that changed, as what it says of those is not used.
  auto had() const noexcept {
    return [this](std::size_t row, std::uint32_t code) {
      if (index_.was(row)) return false;
      const std::span<const std::uint32_t> held = members(row);
      return std::find(held.begin(), held.end(), code) != held.end();
    };
  }

 public:
  using CellColumn::CellColumn;

  std::size_t nbytes() const noexcept override {
    return CellColumn::nbytes() + pool_.capacity() * sizeof(pool_[0]) + dictionary_.nbytes() + index_.nbytes();
  }

  Taken take(std::span<const std::int64_t> rows) const override {
    Sets<std::string> sets;
    std::vector<std::uint8_t> nulls(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      nulls[i] = !has_value(rows[i]);
      for (const std::uint32_t code : members(rows[i])) sets.members.emplace_back(dictionary_[code]);
      sets.ends.push_back(sets.members.size());
    }
    return {std::move(sets), std::move(nulls)};
  }

  Bitmap contains(std::span<const std::string_view> values, SetMode mode) const override {
    const std::vector<std::uint32_t> codes = codes_of(dictionary_, values);
    const std::size_t n_values = std::unordered_set(values.begin(), values.end()).size();
    const auto is_right = [&](std::size_t row) {
      if (!has_value(row)) return false;
      const std::span<const std::uint32_t> held = members(row);
      if (mode != SetMode::any && (held.size() < n_values || (mode == SetMode::exact && held.size() > n_values))) return false;
      const auto n_common = static_cast<std::size_t>(std::count_if(
          held.begin(), held.end(), [&](std::uint32_t code) { return std::binary_search(codes.begin(), codes.end(), code); }));
      return mode == SetMode::any ? n_common > 0 : n_common == n_values;
    };
    const Postings& index = postings();
    const std::size_t n_rows = index_.n_rows(size());
    if (mode == SetMode::any) return index_.corrected(index.rows_of(codes, n_rows, had()), size(), is_right);
    if (n_values == 0) {
      Bitmap found(n_rows);
      for (std::size_t row = 0; row < size(); ++row) found.put(row, is_right(row));
      return index_.corrected(std::move(found), size(), is_right);
    }
    std::vector<std::uint32_t> found;
    if (codes.size() == n_values) {
      auto [candidates, have_all] = rows_of_rarest(index, codes);
      if (have_all && mode == SetMode::all) return index_.corrected(std::move(candidates), size(), is_right);
      candidates.for_each([&](std::size_t row) {
        if (row < size() && is_right(row)) found.push_back(static_cast<std::uint32_t>(row));
      });
    }
    return index_.corrected(Bitmap::from_ascending(n_rows, std::move(found)), size(), is_right);
  }

 private:
  /// Rows with the rarest of `codes`, of which more are looked at until the rows are few, and whether all were.
  std::pair<Bitmap, bool> rows_of_rarest(const Postings& index, std::vector<std::uint32_t> codes) const {
    constexpr std::size_t kFew = 1000;
    std::sort(codes.begin(), codes.end(), [&](std::uint32_t a, std::uint32_t b) { return index.at_most(a) < index.at_most(b); });
    const auto rows_of = [&](std::uint32_t code) { return index.rows_of({&code, 1}, index_.n_rows(size()), had()); };
    Bitmap rows = rows_of(codes[0]);
    std::size_t i = 1;
    for (; i < codes.size() && rows.count() > kFew; ++i) rows = rows & rows_of(codes[i]);
    return {std::move(rows), i == codes.size()};
  }
  std::span<const std::uint32_t> members(std::size_t row) const noexcept {
    return {pool_.data() + cells_[row] + 1, pool_[cells_[row]]};
  }
  const Postings& postings() const {
    return index_.get([&] {
      return Postings(dictionary_.size(), size(), [&](auto&& visit) {
        for (std::size_t row = 0; row < size(); ++row)
          for (const std::uint32_t code : members(row)) visit(row, code);
      });
    });
  }

  Encoded encode(std::size_t n, const Cells& cells) override {
    if (pool_.size() > 2 * n_looked_at_ + 1024) compact();
    Encoded made = blank(n, cells);
    const auto* const given = std::get_if<const Sets<std::string_view>*>(&cells.values);
    if (!given) return made;
    const std::size_t n_codes = dictionary_.size(), n_pool = pool_.size();
    try {
      std::size_t begin = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const std::span<const std::string_view> members{(*given)->members.data() + begin, (*given)->ends[i] - begin};
        begin = (*given)->ends[i];
        if (!made.is_null(i) && !members.empty()) made.cells[i] = add(members);
      }
    } catch (...) {
      dictionary_.truncate(n_codes);
      pool_.resize(n_pool);
      throw;
    }
    dictionary_.fit(n_codes);
    return made;
  }
  /// Where the set of `members`, each of which counts once, now lies.
  std::uint32_t add(std::span<const std::string_view> members) {
    const std::size_t at = pool_.size();
    if (at + members.size() >= UINT32_MAX)
      throw Error(ErrorCode::unsupported, "a column of keywords holds at most 4,294,967,295 sets and members");
    grow(pool_, members.size() + 1);
    pool_.push_back(0);
    std::unordered_set<std::uint32_t> seen;
    for (const std::string_view member : members) {
      const std::uint32_t code = dictionary_.add(member);
      if (members.size() > 1 && !seen.insert(code).second) continue;
      pool_.push_back(code);
      ++pool_[at];
    }
    return static_cast<std::uint32_t>(at);
  }
  /// Drops the sets of rows that are gone, and the values that no row has, if they are most of all.
  void compact() {
    std::size_t n_live = 0;
    for (std::size_t row = 0; row < size(); ++row) n_live += members(row).size() + 1;
    n_looked_at_ = pool_.size();
    if (2 * n_live > pool_.size()) return;
    SetColumn kept(name, type);
    std::vector<std::uint32_t> cells(size());
    std::vector<std::string_view> values;
    for (std::size_t row = 0; row < size(); ++row) {
      values.clear();
      for (const std::uint32_t code : members(row)) values.push_back(dictionary_[code]);
      if (!values.empty()) cells[row] = kept.add(values);
    }
    pool_ = std::move(kept.pool_);
    dictionary_ = std::move(kept.dictionary_);
    cells_ = std::move(cells);
    index_.forget();
    n_looked_at_ = pool_.size();
  }
  void note(std::size_t row, bool) noexcept override { index_.note(row, std::nullopt); }

  std::vector<std::uint32_t> pool_{0};
  std::size_t n_looked_at_ = 0;  // length of the pool when it was last looked at
  Dictionary dictionary_;
  Lazy<Postings, Nothing> index_;
};

}  // namespace engine::attributes
