#include "methods/gradients/federated/update_codec.h"

#include <algorithm>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/codec/message.h"

namespace laconic {

UpdateCodec::UpdateCodec(const std::vector<TensorSlice>& tensors, std::string_view composition, Scope scope,
                         std::uint64_t seed)
    : size_(layout_size(tensors)), seed_(seed) {
  const bool none = composition.empty() || composition == "none";
  if (scope == Scope::model) {
    if (!none) whole_ = parse_codec(composition);
    const TensorSlice model = {"model", {static_cast<std::int64_t>(size_)}, 0, size_};
    parts_.push_back({model, whole_.get()});
    text_ = (none ? std::string("none") : whole_->canonical()) + " of the whole model";
    return;
  }
  if (!none) rules_ = LayerRules::parse(composition);
  for (const TensorSlice& tensor : tensors)
    parts_.push_back({tensor, none ? nullptr : rules_.codec_for(tensor.name)});
  text_ = (none ? std::string("none") : rules_.canonical()) + " by tensor";
}

std::string UpdateCodec::text() const { return text_; }

CodecProperties UpdateCodec::properties() const {
  CodecProperties all;
  all.lossless = all.positively_homogeneous = all.unbiased = true;
  all.delta = 1;
  all.omega = 0;
  for (const Part& part : parts_) {
    if (part.codec == nullptr) continue;
    const CodecProperties own = part.codec->properties(part.slice.shape);
    all.lossless = all.lossless && own.lossless;
    all.positively_homogeneous = all.positively_homogeneous && own.positively_homogeneous;
    all.unbiased = all.unbiased && own.unbiased;
    all.delta = all.delta && own.delta ? std::optional(std::min(*all.delta, *own.delta)) : std::nullopt;
    all.omega = all.omega && own.omega ? std::optional(std::max(*all.omega, *own.omega)) : std::nullopt;
  }
  return all;
}

void UpdateCodec::encode(std::span<const float> vector, std::uint64_t round, int client, ByteWriter& writer,
                         std::span<float> decoded) const {
  require(vector.size() == size_ && decoded.size() == size_, "an update has the length of the model");
  std::fill(decoded.begin(), decoded.end(), 0.0f);
  for (const Part& part : parts_) {
    const auto values = slice_of(vector, part.slice);
    const auto back = slice_of(decoded, part.slice);
    if (part.codec == nullptr) {
      writer.append(std::as_bytes(values));
      std::copy(values.begin(), values.end(), back.begin());
      continue;
    }
    EncodeContext context;
    context.seed = seed_;
    context.tensor_name = part.slice.name;
    context.step = round;
    context.peer = static_cast<std::uint16_t>(client);
    const TensorView view{DType::f32, part.slice.shape, reinterpret_cast<const std::byte*>(values.data())};
    const Payload payload = part.codec->encode(view, context);
    write_message(writer, payload);
    part.codec->add_decoded(payload, back);
  }
}

void UpdateCodec::decode(ByteReader& reader, std::span<float> vector) const {
  require(vector.size() == size_, "an update has the length of the model");
  std::fill(vector.begin(), vector.end(), 0.0f);
  for (const Part& part : parts_) {
    const auto values = slice_of(vector, part.slice);
    if (part.codec == nullptr) {
      const ByteSpan bytes = reader.take(values.size_bytes());
      if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    } else {
      const Payload payload = read_message(reader, part.codec->canonical(), DType::f32, part.slice.shape);
      part.codec->add_decoded(payload, values);
    }
  }
  if (!all_finite(vector)) reader.corrupt("a number that is not finite");
}

}  // namespace laconic
