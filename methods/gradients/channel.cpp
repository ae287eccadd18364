#include "methods/gradients/channel.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/codec/composition.h"
#include "engine/codec/payload.h"

namespace laconic {
namespace {

class CodecChannel : public Channel {
 public:
  CodecChannel(std::string_view composition, std::uint64_t seed, std::string name)
      : codec_(parse_codec(composition)), seed_(seed), name_(std::move(name)) {}

  std::string text() const override { return codec_->canonical(); }

  void encode_into(std::span<const double> vector, const MessageKey& key, Bytes& message) const override {
    const std::vector<float> narrow(vector.begin(), vector.end());
    EncodeContext context;
    context.seed = seed_;
    context.tensor_name = name_;
    context.step = key.step;
    context.peer = key.sender;
    const Tensor tensor = Tensor::from_f32({static_cast<std::int64_t>(narrow.size())}, narrow);
    message = to_frame(codec_->encode(tensor.view(), context));
  }

  void decode(ByteSpan message, std::span<double> vector) const override {
    const Payload payload = parse_frame(message, name_);
    if (element_count(payload.shape) != static_cast<std::int64_t>(vector.size())) {
      fail(ErrorKind::corrupt,
           fmt::format("a message of {} numbers where {} were expected", element_count(payload.shape),
                       vector.size()),
           name_);
    }
    // The receiver knows which codec it listens to: a message cannot choose another one.
    if (payload.codec != codec_->canonical()) {
      fail(ErrorKind::corrupt,
           fmt::format("a message of {} where {} was agreed", payload.codec, codec_->canonical()), name_);
    }
    const Tensor decoded = codec_->decode(payload);
    std::copy(decoded.f32().begin(), decoded.f32().end(), vector.begin());
  }

  CodecProperties properties(std::size_t dimension) const override {
    return codec_->properties({static_cast<std::int64_t>(dimension)});
  }

 private:
  std::unique_ptr<TensorCodec> codec_;
  std::uint64_t seed_;
  std::string name_;
};

}  // namespace

Bytes Channel::encode(std::span<const double> vector, const MessageKey& key) const {
  Bytes message;
  encode_into(vector, key, message);
  return message;
}

std::unique_ptr<Channel> codec_channel(std::string_view composition, std::uint64_t seed, std::string name) {
  return std::make_unique<CodecChannel>(composition, seed, std::move(name));
}

}  // namespace laconic
