#include "engine/coding/rans_lanes.h"

#include "engine/base/error.h"

namespace laconic {

void RansEncoder::append_to(ByteWriter& writer) const {
  for (int lane = 0; lane < lanes_; ++lane) writer.u32(states_[static_cast<std::size_t>(lane)]);
  writer.append(std::as_bytes(std::span(words_.get() + first_, end_ - first_)));
}

RansDecoder::RansDecoder(ByteReader& reader, int lanes, std::string_view where)
    : lanes_(lanes), where_(where) {
  states_.fill(rans_low);
  for (int lane = 0; lane < lanes_; ++lane) {
    std::uint32_t& state = states_[static_cast<std::size_t>(lane)];
    state = reader.u32();
    if (state < rans_low) corrupt("rANS state is out of range");
  }
  words_ = reader.take(reader.remaining());
}

void RansDecoder::expect_end() const {
  for (const std::uint32_t state : states_) {
    if (state != rans_low) corrupt("rANS stream does not end where it began");
  }
  if (!words_.empty()) corrupt("bytes are left behind the rANS stream");
}

void RansDecoder::corrupt(std::string_view what) const { fail(ErrorKind::corrupt, what, where_); }

}  // namespace laconic
