// Any bytes as a compact frame, and as a list of edits to frames that encoders wrote. The checksum is made
// right, so that damage reaches the parser and the decoders behind it: they refuse, or decode to the shape
// the frame states.
#include <cstdlib>
#include <cstring>

#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/codec/composition.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

std::vector<Bytes> written_frames() {
  RandomStream random(1, "fuzz", "payload");
  Tensor tensor(DType::f32, {9, 12});
  for (float& value : tensor.f32()) value = random.below(3) == 0 ? 0.0f : random.gaussian();
  std::vector<Bytes> frames;
  std::vector<std::string> texts = {"sparse|best", "sign+lowrank(rank=2)+outliers(fraction=0.1)",
                                    "(sparse|zstd)+raw(dtype=f16)", "raw|best", "outliers(fraction=0.3)"};
  for (const CodecDescription& description : codec_registry()) texts.push_back(description.name);
  std::vector<double> moment(12 * 12, 0.0);
  for (std::size_t i = 0; i < 12; ++i) moment[i * 13] = 1;
  EncodeContext context;
  context.second_moment = moment.data();
  context.second_moment_size = 12;
  for (const std::string& text : texts) {
    frames.push_back(to_frame(parse_codec(text)->encode(tensor.view(), context)));
    frames.back().resize(frames.back().size() - 4);
  }
  // Codes that straddle bytes, mostly the same: coded phase by phase.
  Tensor wide(DType::f32, {64, 96});
  for (std::size_t i = 0; i < wide.f32().size(); i += 37) wide.f32()[i] = random.gaussian();
  for (const char* text : {"uniform(bits=3,group=0)|rans", "uniform(bits=5,group=0)|huffman"}) {
    frames.push_back(to_frame(parse_codec(text)->encode(wide.view(), {})));
    frames.back().resize(frames.back().size() - 4);
  }
  return frames;
}

void decode(Bytes body) {
  const auto sum = static_cast<std::uint32_t>(xxh3_64(body));
  const auto* raw = reinterpret_cast<const std::byte*>(&sum);
  body.insert(body.end(), raw, raw + 4);
  try {
    const Payload payload = parse_frame(body, "fuzz");
    if (to_frame(payload) != body) std::abort();  // one form per content
    const Tensor tensor = decode_payload(payload);
    if (tensor.shape() != payload.shape || tensor.dtype() != DType::f32) std::abort();
    if (to_frame(parse_frame(to_frame(expand_entropy(payload)), "fuzz")) !=
        to_frame(expand_entropy(payload))) {
      std::abort();
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<Bytes> frames = [] {
    set_decode_limit(1 << 16);
    return written_frames();
  }();
  if (size == 0) return 0;
  if (data[0] % 2 == 0) {
    const auto* bytes = reinterpret_cast<const std::byte*>(data + 1);
    try {
      parse_frame({bytes, size - 1}, "fuzz");
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::internal) std::abort();
    }
    decode(Bytes(bytes, bytes + size - 1));
    return 0;
  }
  Bytes body = frames[(data[0] / 2) % frames.size()];
  apply_edits({data + 1, size - 1}, body);
  decode(std::move(body));
  return 0;
}
