#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "graph/searcher.hpp"

namespace engine::graph {

/// Workspaces that threads borrow: as many as there ever were walks at a time.
class Workspaces {
 public:
  class Lease {
   public:
    explicit Lease(Workspaces& from) : from_(from), work_(from.take()) {}
    ~Lease() { from_.give_back(std::move(work_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Workspace& operator*() const noexcept { return *work_; }

   private:
    Workspaces& from_;
    std::unique_ptr<Workspace> work_;
  };

 private:
  std::unique_ptr<Workspace> take() {
    {
      std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        std::unique_ptr<Workspace> work = std::move(free_.back());
        free_.pop_back();
        return work;
      }
      free_.reserve(++n_made_);  // so that giving back cannot fail
    }
    return std::make_unique<Workspace>();
  }
  void give_back(std::unique_ptr<Workspace> work) noexcept {
    std::lock_guard lock(mutex_);
    free_.push_back(std::move(work));
  }

  std::mutex mutex_;
  std::size_t n_made_ = 0;
  std::vector<std::unique_ptr<Workspace>> free_;
};

}  // namespace engine::graph
