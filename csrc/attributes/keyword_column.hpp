#pragma once
#include <algorithm>

#include "attributes/column.hpp"
#include "attributes/dictionary.hpp"
#include "attributes/lazy.hpp"
#include "attributes/postings.hpp"

namespace engine::attributes {

/// The codes of values that a column holds, ascending.
inline std::vector<std::uint32_t> codes_of(const Dictionary& dictionary, std::span<const std::string_view> values) {
  std::vector<std::uint32_t> codes;
  for (const std::string_view value : values)
    if (const std::uint32_t code = dictionary.find(value); code != Dictionary::kNone) codes.push_back(code);
  std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
  return codes;
}

/// Whether a dictionary holds so many more values than cells could that it is time to drop those that are gone.
inline bool is_stale(const Dictionary& dictionary, std::size_t n_cells) noexcept {
  return dictionary.size() > 2 * n_cells + 1024;
}

/// Values by their codes in a dictionary, and the rows of each code.
class KeywordColumn final : public CellColumn<std::uint32_t> {
  /// Whether a row had a code when the index was made.
  auto had() const noexcept {
    return [this](std::size_t row, std::uint32_t code) {
      if (const std::optional<std::uint32_t>* const before = index_.was(row)) return *before == code;
      return has_value(row) && cells_[row] == code;
    };
  }

 public:
  using CellColumn::CellColumn;

  std::size_t nbytes() const noexcept override { return CellColumn::nbytes() + dictionary_.nbytes() + index_.nbytes(); }

  Taken take(std::span<const std::int64_t> rows) const override {
    std::vector<std::string> values(rows.size());
    std::vector<std::uint8_t> nulls(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      nulls[i] = !has_value(rows[i]);
      if (!nulls[i]) values[i] = dictionary_[cells_[rows[i]]];
    }
    return {std::move(values), std::move(nulls)};
  }

  Bitmap equal(std::span<const Value> any_of) const override { return rows_of(codes_among(any_of), postings()); }
  std::shared_ptr<const Bitmap> shared_equal(std::span<const Value> any_of) const override {
    const std::vector<std::uint32_t> codes = codes_among(any_of);
    const Postings& index = postings();
    if (codes.size() == 1 && index_.is_current(size()))
      if (auto kept = index.kept(codes[0])) return kept;
    return std::make_shared<const Bitmap>(rows_of(codes, index));
  }
  std::size_t count_equal(std::span<const Value> any_of) const override {
    const std::vector<std::uint32_t> codes = codes_among(any_of);
    const Postings& index = postings();
    std::size_t count = 0;
    for (const std::uint32_t code : codes) count += index.count(code, had());
    return index_.corrected(
        count, size(), [&](std::uint32_t code) { return std::binary_search(codes.begin(), codes.end(), code); },
        [&](std::size_t row) { return is_among(row, codes); });
  }

 private:
  const Postings& postings() const {
    return index_.get([&] {
      return Postings(dictionary_.size(), size(), [&](auto&& visit) {
        for (std::size_t row = 0; row < size(); ++row)
          if (has_value(row)) visit(row, cells_[row]);
      });
    });
  }
  Bitmap rows_of(const std::vector<std::uint32_t>& codes, const Postings& index) const {
    return index_.corrected(index.rows_of(codes, index_.n_rows(size()), had()), size(),
                            [&](std::size_t row) { return is_among(row, codes); });
  }
  std::vector<std::uint32_t> codes_among(std::span<const Value> any_of) const {
    std::vector<std::string_view> values;
    for (const Value& value : any_of) values.push_back(std::get<std::string_view>(value));
    return codes_of(dictionary_, values);
  }
  bool is_among(std::size_t row, const std::vector<std::uint32_t>& codes) const {
    return has_value(row) && std::binary_search(codes.begin(), codes.end(), cells_[row]);
  }

  Encoded encode(std::size_t n, const Cells& cells) override {
    if (is_stale(dictionary_, size())) compact();
    Encoded made = blank(n, cells);
    const auto* const given = std::get_if<std::span<const std::string_view>>(&cells.values);
    if (!given) return made;
    const std::size_t n_codes = dictionary_.size();
    try {
      for (std::size_t i = 0; i < n; ++i)
        if (!made.is_null(i)) made.cells[i] = dictionary_.add((*given)[i]);
    } catch (...) {
      dictionary_.truncate(n_codes);
      throw;
    }
    dictionary_.fit(n_codes);
    return made;
  }
  /// Drops the values that no row has.
  void compact() {
    Dictionary kept;
    std::vector<std::uint32_t> codes(size());
    for (std::size_t row = 0; row < size(); ++row)
      if (has_value(row)) codes[row] = kept.add(dictionary_[cells_[row]]);
    dictionary_ = std::move(kept);
    cells_ = std::move(codes);
    index_.forget();
  }
  void note(std::size_t row, bool known) noexcept override {
    index_.note(row, known ? std::optional(cells_[row]) : std::nullopt);
  }

  Dictionary dictionary_;
  Lazy<Postings, std::uint32_t> index_;
};

}  // namespace engine::attributes
