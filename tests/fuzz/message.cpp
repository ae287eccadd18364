// Any bytes as a message between agreed peers, and edits of messages that encoders wrote: they are refused as
// corrupt, or decode to the tensor's shape and can be added.
#include <cstdlib>

#include "engine/base/random.h"
#include "engine/codec/composition.h"
#include "engine/codec/message.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

struct Written {
  std::shared_ptr<const TensorCodec> codec;
  Bytes message;
};
const Shape message_shape = {9, 12};

std::vector<Written> written_messages() {
  RandomStream random(1, "fuzz", "message");
  Tensor tensor(DType::f32, message_shape);
  for (float& value : tensor.f32()) value = random.below(3) == 0 ? 0.0f : random.gaussian();
  std::vector<double> moment(12 * 12, 0.0);
  for (std::size_t i = 0; i < 12; ++i) moment[i * 13] = 1;
  EncodeContext context;
  context.second_moment = moment.data();
  context.second_moment_size = 12;
  std::vector<std::string> texts = {"sign + lowrank(rank=2)", "qsgd(bits=3,block=16)|best"};
  for (const CodecDescription& description : codec_registry()) texts.push_back(description.name);
  std::vector<Written> all;
  for (const std::string& text : texts) {
    Written written;
    written.codec = parse_codec(text);
    ByteWriter writer;
    write_message(writer, written.codec->encode(tensor.view(), context));
    written.message = writer.take();
    all.push_back(std::move(written));
  }
  return all;
}

void decode(const TensorCodec& codec, ByteSpan message) {
  try {
    ByteReader reader(message, "fuzz");
    const Payload payload = read_message(reader, codec.canonical(), DType::f32, message_shape);
    std::vector<float> sum(108);
    codec.add_decoded(payload, sum);
    if (const auto positions = codec.positions(payload)) {
      for (const std::int64_t position : *positions) {
        if (position < 0 || position >= 108) std::abort();
      }
    }
    if (codec.decode(payload).shape() != message_shape) std::abort();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<Written> messages = [] {
    set_decode_limit(1 << 16);
    return written_messages();
  }();
  if (size < 2) return 0;
  const Written& written = messages[data[1] % messages.size()];
  if (data[0] % 2 == 0) {
    decode(*written.codec, {reinterpret_cast<const std::byte*>(data + 2), size - 2});
    return 0;
  }
  Bytes message = written.message;
  apply_edits({data + 2, size - 2}, message);
  decode(*written.codec, message);
  return 0;
}
