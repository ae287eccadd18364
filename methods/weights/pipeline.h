// A composition (docs/composition.md) as a weight method: rules choose a codec per linear layer.
#pragma once

#include <string_view>

#include "methods/method.h"

namespace laconic {

// True for text that can only be a composition: it is no method's name and names a codec or uses the syntax
// of compositions.
bool is_pipeline(std::string_view text);

// request.parameters are those of pipeline_parameters(). With a calibration text, codecs see the second
// moment of each layer's input; without one those that want it take H = I. A size cannot be asked for.
CompressionResult compress_pipeline(const CompressionRequest& request, std::string_view rules);
std::vector<ParameterSpec> pipeline_parameters();

}  // namespace laconic
