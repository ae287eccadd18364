// What the verbs about stored contexts share.
#pragma once

#include <memory>
#include <string>

#include "apps/cli/verb.h"
#include "runtime/cache/context_file.h"

namespace laconic::cli {

// A file, or a file on a server (--stall).
std::unique_ptr<ContextSource> open_context(const std::string& place, const Arguments& arguments);
OptionSpec stall_option_spec();

// Level n of a context with f forms is form f - n; 0, text, is form f. Error(usage) on any other.
std::size_t form_of_level(const std::string& level, const ContextIndex& index);

// Sizes of all forms, as text or JSON on standard output.
void print_context(const ContextIndex& index, bool json);

}  // namespace laconic::cli
