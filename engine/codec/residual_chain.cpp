#include "engine/codec/residual_chain.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

std::string prefix_of(std::size_t stage) { return std::to_string(stage) + "."; }

// The stage a name belongs to and the name without its prefix.
struct Owner {
  std::size_t stage = 0;
  std::string_view name;
};

Owner owner_of(std::string_view name, std::size_t stages, std::string_view where) {
  if (stages == 1) return {0, name};
  for (std::size_t stage = 0; stage < stages; ++stage) {
    const std::string prefix = prefix_of(stage);
    if (name.substr(0, prefix.size()) == prefix) return {stage, name.substr(prefix.size())};
  }
  fail(ErrorKind::corrupt, "\"" + std::string(name) + "\" belongs to no stage", where);
}

}  // namespace

Payload join_stages(std::vector<Payload> stages) {
  require(!stages.empty(), "a chain has a stage");
  if (stages.size() == 1) return std::move(stages.front());
  Payload joined;
  joined.dtype = stages.front().dtype;
  joined.shape = stages.front().shape;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    require(stages[i].shape == joined.shape, "stages of a chain have one shape");
    if (i > 0) joined.codec += '+';
    joined.codec += stages[i].codec;
    const std::string prefix = prefix_of(i);
    for (const auto& [key, value] : stages[i].attributes.values()) joined.attributes.set(prefix + key, value);
    for (Field& field : stages[i].fields) joined.add(prefix + field.name, std::move(field.data));
  }
  return joined;
}

ResidualChain::ResidualChain(std::vector<std::unique_ptr<TensorCodec>> stages, std::vector<CoderSpan> spans)
    : stages_(std::move(stages)), spans_(std::move(spans)) {
  require(!stages_.empty(), "a chain has a stage");
}

std::string ResidualChain::canonical_text(bool with_coders) const {
  std::string text;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    if (i > 0) text += '+';
    // A span over the whole chain needs no parentheses. Wider spans open first.
    for (const CoderSpan& span : spans_) {
      if (with_coders && span.begin == i && (i > 0 || span.end < stages_.size())) text += '(';
    }
    text += stages_[i]->canonical();
    for (const CoderSpan& span : spans_) {
      if (!with_coders || span.end != i + 1) continue;
      text += '|';
      text += name_of(span.coder);
      if (span.begin > 0 || span.end < stages_.size()) text += ')';
    }
  }
  return text;
}

Payload ResidualChain::encode(const TensorView& tensor, const EncodeContext& context) const {
  const std::vector<float> values = finite_values(tensor, context.tensor_name);
  std::vector<float> sum(values.size(), 0.0f), residual = values;
  std::vector<Payload> parts;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    throw_if_interrupted();
    // The first stage sees the tensor in its own dtype, the others a residual in f32.
    const TensorView rest{DType::f32, tensor.shape, reinterpret_cast<const std::byte*>(residual.data())};
    Payload part = stages_[i]->encode(i == 0 ? tensor : rest, context);
    if (i + 1 < stages_.size()) {
      const Tensor decoded = stages_[i]->decode(part);
      for (std::size_t at = 0; at < values.size(); ++at) {
        sum[at] = i == 0 ? decoded.f32()[at] : sum[at] + decoded.f32()[at];
        residual[at] = values[at] - sum[at];
      }
    }
    parts.push_back(std::move(part));
  }
  Payload payload = join_stages(std::move(parts));
  payload.codec = canonical();
  for (const CoderSpan& span : spans_) {
    code_fields(payload, span.coder, [&](std::string_view field) {
      const std::size_t stage = owner_of(field, stages_.size(), payload.codec).stage;
      return stage >= span.begin && stage < span.end;
    });
  }
  return payload;
}

std::vector<Payload> ResidualChain::split(const Payload& payload) const {
  std::vector<Payload> parts(stages_.size());
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    parts[i].codec = stages_[i]->canonical();
    parts[i].dtype = i == 0 ? payload.dtype : DType::f32;
    parts[i].shape = payload.shape;
  }
  for (const auto& [key, value] : payload.attributes.values()) {
    const Owner owner = owner_of(key, stages_.size(), payload.codec);
    if (owner.name.empty()) fail(ErrorKind::corrupt, "attribute has no name", payload.codec);
    parts[owner.stage].attributes.set(std::string(owner.name), value);
  }
  Payload expanded = expand_fields(payload);
  for (Field& field : expanded.fields) {
    const Owner owner = owner_of(field.name, stages_.size(), payload.codec);
    parts[owner.stage].fields.push_back(Field{std::string(owner.name), std::move(field.data)});
  }
  for (const Payload& part : parts) validate(part, payload.codec);
  return parts;
}

Tensor ResidualChain::decode(const Payload& payload) const {
  require_decodable(payload);
  const std::vector<Payload> parts = split(payload);
  Tensor sum = stages_.front()->decode(parts.front());
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const Tensor decoded = stages_[i]->decode(parts[i]);
    require(decoded.shape() == payload.shape, "a stage decodes to the shape of its payload");
    for (std::size_t at = 0; at < sum.f32().size(); ++at) sum.f32()[at] += decoded.f32()[at];
  }
  return sum;
}

CodecProperties ResidualChain::properties(const Shape& shape) const {
  if (stages_.size() == 1) return stages_.front()->properties(shape);
  CodecProperties result;
  result.positively_homogeneous = true;
  double rest = 1;
  bool contractive = true;
  for (const auto& stage : stages_) {
    const CodecProperties properties = stage->properties(shape);
    result.positively_homogeneous = result.positively_homogeneous && properties.positively_homogeneous;
    contractive = contractive && properties.delta.has_value();
    rest *= 1 - properties.delta.value_or(0);
  }
  // Each f32 sum and difference may lose 2^-24 of what it holds, a little more than nothing.
  const double root = std::sqrt(rest) + 1e-6 * static_cast<double>(stages_.size());
  if (contractive && root < 1) result.delta = 1 - root * root;
  return result;
}

}  // namespace laconic
