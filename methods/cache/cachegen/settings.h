// The settings of `cachegen(...)` as the coder takes them.
#pragma once

#include "engine/codec/codec.h"
#include "methods/cache/cachegen/coded_rows.h"

namespace laconic {

// Error(usage) where they contradict each other.
CodedRowForm cachegen_form(const Parameters& parameters);

}  // namespace laconic
