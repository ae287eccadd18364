#include "engine/codec/composition.h"

#include "engine/base/error.h"
#include "engine/codec/residual_chain.h"

namespace laconic {
namespace {

std::unique_ptr<TensorCodec> codec_of(const Payload& payload) {
  try {
    return parse_codec(payload.codec);
  } catch (const Error& error) {
    fail(ErrorKind::corrupt, std::string("payload names no codec of this version: ") + error.what());
  }
}

}  // namespace

Tensor decode_payload(const Payload& payload) {
  require_decodable(payload);
  return codec_of(payload)->decode(payload);
}

std::vector<Payload> stage_payloads(const Payload& payload) {
  const std::unique_ptr<TensorCodec> codec = codec_of(payload);
  if (const auto* chain = dynamic_cast<const ResidualChain*>(codec.get())) return chain->split(payload);
  std::vector<Payload> parts;
  parts.push_back(payload.copy());
  return parts;
}

Payload expand_entropy(const Payload& payload) {
  const std::unique_ptr<TensorCodec> codec = codec_of(payload);
  const auto* chain = dynamic_cast<const ResidualChain*>(codec.get());
  if (chain == nullptr) return payload.copy();
  Payload expanded = expand_fields(payload);
  expanded.codec = chain->packed_canonical();
  return expanded;
}

}  // namespace laconic
