// Messages between agreed peers: what is read is what was written, in few bytes, and nothing else is read.
#include "engine/codec/message.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/composition.h"

namespace laconic {
namespace {

const char* const codecs[] = {"outliers(fraction=0.02)",
                              "qsgd(bits=3,block=64)",
                              "uniform(bits=4)",
                              "sign",
                              "ternary",
                              "natural",
                              "lowrank(rank=2)",
                              "raw(dtype=bf16)",
                              "zero",
                              "randk(fraction=0.05)",
                              "onebit",
                              "uniform(bits=2) + outliers(fraction=0.01)",
                              "uniform(bits=3) | rans"};

Tensor some_tensor(const Shape& shape) {
  Tensor tensor(DType::f32, shape);
  const RandomStream random(9, "test", "message");
  for (std::size_t i = 0; i < tensor.f32().size(); ++i) tensor.f32()[i] = random.gaussian_at(i);
  return tensor;
}

Bytes message_of(const Payload& payload) {
  ByteWriter writer;
  write_message(writer, payload);
  return writer.take();
}

TEST(Message, DecodesToTheSameNumbers) {
  const Shape shape = {24, 40};
  const Tensor tensor = some_tensor(shape);
  for (const char* text : codecs) {
    const auto codec = parse_codec(text);
    const Payload payload = codec->encode(tensor.view(), {});
    const Bytes message = message_of(payload);
    ByteReader reader(message, "message");
    const Payload read = read_message(reader, codec->canonical(), DType::f32, shape);
    reader.expect_end();
    const Tensor wanted = codec->decode(payload), decoded = codec->decode(read);
    EXPECT_TRUE(std::equal(wanted.f32().begin(), wanted.f32().end(), decoded.f32().begin())) << text;
    std::vector<float> sum(960, 1.0f);
    codec->add_decoded(read, sum);
    for (std::size_t i = 0; i < sum.size(); ++i) EXPECT_EQ(sum[i], 1.0f + wanted.f32()[i]) << text;
  }
}

TEST(Message, IsShorterThanAFrameOfItsOwn) {
  const Tensor tensor = some_tensor({24, 40});
  for (const char* text : codecs) {
    const Payload payload = parse_codec(text)->encode(tensor.view(), {});
    EXPECT_LT(message_of(payload).size(), to_frame(payload).size()) << text;
  }
}

TEST(Message, TruncatedOrDamagedIsRefusedOrDecodesToSomething) {
  const Shape shape = {24, 40};
  const Tensor tensor = some_tensor(shape);
  for (const char* text : codecs) {
    const auto codec = parse_codec(text);
    const Bytes message = message_of(codec->encode(tensor.view(), {}));
    const auto decode = [&](ByteSpan bytes) {
      ByteReader reader(bytes, "message");
      const Payload payload = read_message(reader, codec->canonical(), DType::f32, shape);
      reader.expect_end();
      std::vector<float> sum(960);
      codec->add_decoded(payload, sum);
    };
    for (std::size_t length = 0; length < message.size(); ++length) {
      try {
        decode(ByteSpan(message).first(length));
        ADD_FAILURE() << text << ": " << length << " of " << message.size() << " bytes are accepted";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt) << text;
      }
    }
    // A flipped bit is another message: either it is refused as corrupt, or it decodes without a fault.
    for (std::size_t i = 0; i < message.size(); ++i) {
      Bytes damaged = message;
      damaged[i] ^= static_cast<std::byte>(1u << (i % 8));
      try {
        decode(damaged);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt) << text << " byte " << i << ": " << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace laconic
