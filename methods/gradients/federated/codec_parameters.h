// The parameters by which federated methods choose what their messages are made of.
#pragma once

#include "engine/codec/codec.h"
#include "methods/gradients/federated/update_codec.h"

namespace laconic {

// "codec" and "scope", with these defaults.
std::vector<ParameterSpec> update_codec_parameters(const char* codec, const char* scope);
UpdateCodec::Scope update_scope(const Parameters& parameters);

}  // namespace laconic
