#include "methods/gradients/channel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/base/error.h"
#include "engine/codec/composition.h"
#include "engine/codec/payload.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

class CodecChannel : public Channel {
 public:
  CodecChannel(std::string_view composition, std::uint64_t seed, std::string name)
      : codec_(parse_codec(composition)), seed_(seed), name_(std::move(name)) {}

  std::string text() const override { return codec_->canonical(); }

  Bytes encode(std::span<const double> vector, const MessageKey& key) const override {
    const std::vector<float> narrow(vector.begin(), vector.end());
    EncodeContext context;
    context.seed = seed_;
    context.tensor_name = name_;
    context.step = key.step;
    context.peer = key.sender;
    const Tensor tensor = Tensor::from_f32({static_cast<std::int64_t>(narrow.size())}, narrow);
    return to_frame(codec_->encode(tensor.view(), context));
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

[[noreturn]] void wrong_length(std::size_t bytes) {
  fail(ErrorKind::corrupt, fmt::format("a message of {} bytes is not one of this channel", bytes));
}

class ExactChannel : public Channel {
 public:
  std::string text() const override { return "f64"; }
  Bytes encode(std::span<const double> vector, const MessageKey&) const override {
    const auto bytes = std::as_bytes(vector);
    return {bytes.begin(), bytes.end()};
  }
  void decode(ByteSpan message, std::span<double> vector) const override {
    if (message.size() != vector.size_bytes()) wrong_length(message.size());
    if (!message.empty()) std::memcpy(vector.data(), message.data(), message.size());
  }
  CodecProperties properties(std::size_t) const override {
    CodecProperties properties;
    properties.lossless = properties.positively_homogeneous = properties.unbiased = true;
    properties.delta = 1;
    properties.omega = 0;
    return properties;
  }
};

class ExactTopKChannel : public Channel {
 public:
  explicit ExactTopKChannel(std::int64_t k) : k_(static_cast<std::size_t>(k)) {
    if (k < 1) fail(ErrorKind::usage, "top-k keeps at least one number", "k");
  }
  std::string text() const override { return fmt::format("top-{} in f64", k_); }
  Bytes encode(std::span<const double> vector, const MessageKey&) const override {
    ByteWriter writer;
    for (const std::int64_t position : top_k(vector, static_cast<std::int64_t>(k_))) {
      writer.u32(static_cast<std::uint32_t>(position));
      writer.f64(vector[static_cast<std::size_t>(position)]);
    }
    return writer.take();
  }
  void decode(ByteSpan message, std::span<double> vector) const override {
    if (message.size() != std::min(k_, vector.size()) * 12) wrong_length(message.size());
    std::fill(vector.begin(), vector.end(), 0.0);
    ByteReader reader(message, "message");
    std::int64_t before = -1;
    while (!reader.at_end()) {
      const std::uint32_t position = reader.u32();
      if (position >= vector.size() || std::int64_t{position} <= before)
        reader.corrupt("positions are not ascending");
      before = position;
      vector[position] = reader.f64();
    }
  }
  CodecProperties properties(std::size_t dimension) const override {
    CodecProperties properties;
    properties.positively_homogeneous = true;
    properties.delta = static_cast<double>(std::min(k_, dimension)) / static_cast<double>(dimension);
    return properties;
  }

 private:
  std::size_t k_;
};

}  // namespace

std::unique_ptr<Channel> codec_channel(std::string_view composition, std::uint64_t seed, std::string name) {
  return std::make_unique<CodecChannel>(composition, seed, std::move(name));
}
std::unique_ptr<Channel> exact_channel() { return std::make_unique<ExactChannel>(); }
std::unique_ptr<Channel> exact_top_k_channel(std::int64_t k) { return std::make_unique<ExactTopKChannel>(k); }

}  // namespace laconic
