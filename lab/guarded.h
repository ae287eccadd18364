// LibTorch reports with its own exceptions; callers know only laconic::Error.
#pragma once

#include <c10/util/Exception.h>

#include "engine/base/error.h"

namespace laconic::lab {

template <class Body>
auto guarded(const Body& body) {
  try {
    return body();
  } catch (const c10::Error& error) {
    fail(ErrorKind::internal, error.what_without_backtrace(), "LibTorch");
  }
}

}  // namespace laconic::lab
