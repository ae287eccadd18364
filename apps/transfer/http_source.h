// A stored context on a server of files (http:// or https://), read part by part with range requests. A
// broken connection is taken up again where it broke.
#pragma once

#include <memory>
#include <string>

#include "runtime/cache/context_file.h"

namespace laconic {

struct HttpSourceOptions {
  double stall_seconds = 10;  // without a byte, after which a connection counts as broken
  int attempts = 3;           // that may break one after the other without a byte
};

bool is_url(const std::string& text);

// read() throws Error(io) where the server cannot be reached, answers with something else than the part that
// was asked for, or nothing comes any more; Error(input) where there is no such context.
std::unique_ptr<ContextSource> open_context_url(const std::string& url,
                                                const HttpSourceOptions& options = {});

}  // namespace laconic
