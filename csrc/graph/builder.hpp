#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "engine/bitmap.hpp"
#include "engine/cancel.hpp"
#include "engine/matrix_view.hpp"
#include "graph/entrance.hpp"
#include "graph/links.hpp"
#include "graph/workspaces.hpp"
#include "quant/nibble_codes.hpp"

namespace engine::graph {

/// Links as they were before they changed, so that a change that fails can be taken back.
class Undo {
 public:
  /// Rows from `n_rows` on are new: nothing of theirs is kept.
  Undo(std::size_t n_rows, std::size_t degree) : degree_(degree), known_(n_rows) {}

  /// Before the first change of a row; later ones do nothing.
  void keep(const Links& links, std::size_t row) {
    if (row >= known_.size()) return;
    std::lock_guard lock(mutex_);
    if (known_.test(row)) return;
    places_.insert(places_.end(), links.place(row), links.place(row) + degree_);
    rows_.push_back(static_cast<std::uint32_t>(row));  // last: it counts the places
    known_.set(row);
  }
  std::span<const std::uint32_t> rows() const noexcept { return rows_; }
  void take_back(Links& links) const noexcept {
    for (std::size_t i = 0; i < rows_.size(); ++i) links.set(rows_[i], {places_.data() + i * degree_, degree_});
  }

 private:
  std::size_t degree_;
  std::mutex mutex_;
  Bitmap known_;
  std::vector<std::uint32_t> rows_, places_;
};

struct BuildOptions {
  std::size_t ef = 200;  // rows that an insertion looks at
  float alpha = 1.2f;    // how much nearer another link must be for a candidate to be left out
  bool fills = false;    // room that a row has left takes no time to walk past, so it may as well hold links
  std::size_t n_threads = 1;
  Undo* undo = nullptr;
};

/// What is linked: rows by their codes and, where the vectors themselves are needed, in full.
struct Base {
  RowsView rows;
  const quant::NibbleCodes& codes;
  const float* lift = nullptr;  // ip: sqrt(most - |x|^2), which makes the largest inner product the nearest of all rows
};

/// Runs a change of links that walks may be reading: whoever owns the links keeps walks out meanwhile.
using Change = std::function<void(const std::function<void()>&)>;

/// Links the rows of `order`, whose places in `links` are there and empty, in that order. Rows come in batches, each half as many
/// as are linked already at most: a batch walks the graph as it was before, so that the result depends on the order alone and not
/// on threads. All else that changes, links of rows linked before and `entrance`, changes within `change`.
void link(const Base& base, std::span<const std::uint32_t> order, const BuildOptions& options, Links& links, Entrance& entrance,
          Workspaces& workspaces, Cancel& cancel, const Change& change);

/// Rows are hard to find if few link to them: of those that each of `rows` links to, the nearest that have room link back, until
/// half as many do as there can be links.
void support(std::span<const std::uint32_t> rows, const BuildOptions& options, Links& links, Cancel& cancel,
             const Change& change);

/// Gives rows new links where some of their present ones are `gone`: to the nearest of those left and of those that the
/// lost ones led to. Links of other rows stay.
void relink(const Base& base, const Bitmap& gone, const BuildOptions& options, Links& links, Cancel& cancel);

/// What a graph looks like; sound where the middle four are 0.
struct Report {
  std::size_t n_rows = 0, n_links = 0;
  std::size_t n_out_of_range = 0, n_self_links = 0, n_repeated = 0, n_after_end = 0;
  std::size_t n_reached = 0;  // from the entries
};
Report inspect(const Links& links, std::span<const std::uint32_t> entries);

/// Links every row that no walk could reach to a near one that walks do reach.
void mend(const Base& base, const BuildOptions& options, Links& links, const Entrance& entrance, Workspaces& workspaces,
          Cancel& cancel);

}  // namespace engine::graph
