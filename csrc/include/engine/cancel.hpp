#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>

#include "engine/error.hpp"

namespace engine {

/// Lets a long search be interrupted: the thread that started it asks now and then,
/// all others look at a flag.
class Cancel {
 public:
  explicit Cancel(std::function<bool()> should_stop = {}) : should_stop_(std::move(should_stop)) {}

  /// Called between tiles by every thread that works on the search; throws once it was cancelled. The thread that made this
  /// object asks `should_stop`, at most every 50 ms.
  void check() {
    if (should_stop_ && std::this_thread::get_id() == owner_) {
      const auto now = std::chrono::steady_clock::now();
      if (now - last_ > std::chrono::milliseconds(50)) {
        last_ = now;
        if (should_stop_()) stopped_.store(true, std::memory_order_relaxed);
      }
    }
    if (stopped_.load(std::memory_order_relaxed)) throw Error(ErrorCode::cancelled, "interrupted");
  }

 private:
  std::function<bool()> should_stop_;
  std::thread::id owner_ = std::this_thread::get_id();
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::atomic<bool> stopped_{false};
};

}  // namespace engine
