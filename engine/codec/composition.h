// The composition language (docs/composition.md):
//   uniform(bits=2,group=64) + lowrank(rank=4) + outliers(fraction=0.02) | rans
// `+` adds a stage on the residual of the decoded, rounded stages before it; `|` codes the serialised fields
// of the chain before it, or of one stage in parentheses; `[attn] codec ; [*.down_proj] codec ; codec`
// selects layers. Printing is canonical and a fixed point of parsing.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/codec/codec.h"

namespace laconic {

// Parses one chain (no selectors). Throws Error(usage) that shows the place and the nearest known name.
std::unique_ptr<TensorCodec> parse_codec(std::string_view text);

// The codec that wrote a payload (from payload.codec); decoding needs no flags. Error(corrupt) on a payload
// that no codec of this version writes.
Tensor decode_payload(const Payload& payload);

// The payload without its `|` stages: every field in the packed form that kernels run on, the codec text
// without coders. A payload that has none is copied.
Payload expand_entropy(const Payload& payload);

// The payloads of the stages of a chain, expanded; their decoded sum, added in order in f32, is the tensor.
// One for a payload of a single codec.
std::vector<Payload> stage_payloads(const Payload& payload);

// A list of (selectors, codec). The first rule whose selector matches a tensor name wins; the codec may be
// the word "keep": the tensor stays as it is.
class LayerRules {
 public:
  static LayerRules parse(std::string_view text);
  // Null when the tensor stays as it is: no rule matches, or the rule says keep.
  const TensorCodec* codec_for(std::string_view tensor_name) const;
  std::string canonical() const;

 private:
  struct Rule {
    std::vector<std::string> selectors;  // attn, mlp or globs; empty: all
    std::shared_ptr<const TensorCodec> codec;
  };
  std::vector<Rule> rules_;
};

}  // namespace laconic
