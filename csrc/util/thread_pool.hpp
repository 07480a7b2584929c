#pragma once
#include <cstddef>
#include <functional>

namespace engine {

/// Runs `task(0) .. task(n_tasks - 1)`, each once, on up to `n_threads` threads, the calling one among them, and returns when
/// all are done. The first exception is rethrown here; tasks not yet started are then left out. Any thread may call it at any
/// time, from inside a task too. The workers are shared by the process, started on first need, and started anew after fork.
void parallel_for(std::size_t n_tasks, std::size_t n_threads, const std::function<void(std::size_t)>& task);

}  // namespace engine
