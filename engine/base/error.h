// The one way to report failure: an exception that says what was wrong, where, and what to do about it.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace laconic {

enum class ErrorKind {
  usage,        // the caller asked for something that makes no sense
  input,        // the user's data cannot be used as it is
  unsupported,  // understood, but outside what this version does
  corrupt,      // data that was written whole is damaged
  io,           // the operating system refused
  interrupted,  // the user asked to stop
  internal,     // a broken promise of our own
};

class Error : public std::runtime_error {
 public:
  // `what` is the fault, `where` the file, tensor or option it was found in, `advice` the next step.
  // `where` and `advice` may be empty.
  Error(ErrorKind kind, std::string_view what, std::string_view where = {}, std::string_view advice = {});

  ErrorKind kind() const { return kind_; }
  // 2 bad input or usage, 3 corrupt data, 130 interrupted, 70 a fault of ours.
  int exit_code() const;

 private:
  ErrorKind kind_;
};

[[noreturn]] void fail(ErrorKind kind, std::string_view what, std::string_view where = {},
                       std::string_view advice = {});

// Preconditions between our own parts; never for checking a user's data.
inline void require(bool condition, std::string_view promise) {
  if (!condition) [[unlikely]]
    fail(ErrorKind::internal, promise);
}

}  // namespace laconic
