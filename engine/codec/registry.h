// The list of codecs. A codec's file defines one of these functions; registry.cpp calls them all. A new codec
// is a file, a line here and a line there.
#pragma once

#include "engine/codec/codec.h"

namespace laconic {

CodecDescription describe_uniform();
CodecDescription describe_raw();
CodecDescription describe_low_rank();
CodecDescription describe_outliers();
CodecDescription describe_sparse();
CodecDescription describe_sign();
CodecDescription describe_gptq_codec();
CodecDescription describe_decoupled();
CodecDescription describe_zero();
CodecDescription describe_qsgd_codec();
CodecDescription describe_ternary();
CodecDescription describe_natural();
CodecDescription describe_one_bit();
CodecDescription describe_rand_k();
CodecDescription describe_kmeans();

}  // namespace laconic
