#include "util/thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#endif

namespace engine {
namespace {

#ifdef __linux__
int current_cpu() { return ::sched_getcpu(); }

/// Moves the calling thread to another CPU than `cpu` if it is there and may be elsewhere. After a pause Linux may wake a worker
/// on the CPU of the thread that woke it and leave both there for tens of milliseconds, whatever else is idle
/// (docs/decisions/0022-workers-leave-the-callers-cpu.md).
void leave(int cpu) {
  cpu_set_t allowed;
  if (cpu < 0 || cpu != ::sched_getcpu() || ::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<std::size_t>(cpu), &others);
  if (CPU_COUNT(&others) && ::sched_setaffinity(0, sizeof others, &others) == 0) ::sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
int current_cpu() { return -1; }
void leave(int) {}
#endif

/// One parallel_for: tasks are claimed by counting up, so whoever has time takes the next.
class Job {
 public:
  Job(std::size_t n_tasks, std::size_t n_helpers, const std::function<void(std::size_t)>& task)
      : n_tasks_(n_tasks), seats_(n_helpers), task_(task) {}

  /// Helpers, who come after a pause, are to be elsewhere than the caller. Not once they know of the job.
  void keep_apart() noexcept { cpu_ = current_cpu(); }

  /// A worker asks to take part; at most `n_helpers` do.
  bool join() {
    std::lock_guard lock(mutex_);
    if (seats_ == 0 || next_.load() >= n_tasks_) return false;
    --seats_;
    ++active_;
    return true;
  }
  bool open() {
    std::lock_guard lock(mutex_);
    return seats_ > 0 && next_.load() < n_tasks_;
  }
  void help() noexcept {
    leave(cpu_);
    work();
    std::lock_guard lock(mutex_);
    if (--active_ == 0) done_.notify_all();
  }

  void work() noexcept {
    for (std::size_t i; (i = next_.fetch_add(1)) < n_tasks_;) {
      try {
        task_(i);
      } catch (...) {
        std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        next_.store(n_tasks_);
      }
    }
  }

  void wait() {
    std::unique_lock lock(mutex_);
    seats_ = 0;
    done_.wait(lock, [this] { return active_ == 0; });
    // Taken out of the job, so that the caller's is the last reference to the exception.
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  const std::size_t n_tasks_;
  int cpu_ = -1;  // of the caller, who goes on there
  std::size_t seats_;
  std::size_t active_ = 0;
  const std::function<void(std::size_t)>& task_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::condition_variable done_;
  std::exception_ptr error_;
};

class Pool {
 public:
  void run(const std::shared_ptr<Job>& job, std::size_t n_helpers) {
    bool was_idle;
    {
      std::lock_guard lock(mutex_);
      was_idle = Clock::now() - last_ > kLong;
      if (was_idle) job->keep_apart();
      while (n_workers_ < n_helpers) {
        std::thread([this] { serve(); }).detach();
        ++n_workers_;
      }
      jobs_.push_back(job);
    }
    wake_.notify_all();
    if (was_idle) std::this_thread::yield();  // a worker that woke up here can leave now
    job->work();
    {
      std::lock_guard lock(mutex_);
      std::erase(jobs_, job);
      last_ = Clock::now();
    }
    job->wait();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kLong{10};  // until then workers wake up where they were

  void serve() {
    for (std::unique_lock lock(mutex_);;) {
      wake_.wait(lock, [this] { return std::any_of(jobs_.begin(), jobs_.end(), [](auto& job) { return job->open(); }); });
      const auto found = std::find_if(jobs_.begin(), jobs_.end(), [](auto& job) { return job->join(); });
      if (found == jobs_.end()) continue;
      const std::shared_ptr<Job> job = *found;
      lock.unlock();
      job->help();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> jobs_;
  std::size_t n_workers_ = 0;
  Clock::time_point last_;
};

// Never destroyed: detached workers may still look at it while the process ends. A forked child has no workers, and the
// lock may be held by a thread that is not there any more: it starts with a new pool.
std::atomic<Pool*> g_pool{nullptr};

Pool& pool() {
  static const bool registered = [] {
    g_pool = new Pool;
    ::pthread_atfork(nullptr, nullptr, [] { g_pool = new Pool; });
    return true;
  }();
  (void)registered;
  return *g_pool.load();
}

}  // namespace

void parallel_for(std::size_t n_tasks, std::size_t n_threads, const std::function<void(std::size_t)>& task) {
  const std::size_t n_helpers = std::min(n_threads, n_tasks);
  if (n_helpers <= 1) {
    for (std::size_t i = 0; i < n_tasks; ++i) task(i);
    return;
  }
  pool().run(std::make_shared<Job>(n_tasks, n_helpers - 1, task), n_helpers - 1);
}

}  // namespace engine
