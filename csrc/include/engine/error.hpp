#pragma once
#include <stdexcept>
#include <string>

namespace engine {

/// What went wrong, in the terms of the Python exceptions that the bindings raise.
enum class ErrorCode { invalid_argument, not_built, corrupt, io, unsupported, cancelled };

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

[[noreturn]] inline void invalid(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

}  // namespace engine
