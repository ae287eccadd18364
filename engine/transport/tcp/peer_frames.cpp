#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/transport/tcp/big_endian.h"
#include "engine/transport/tcp/peer_links.h"

namespace laconic {

void write_frame_header(const FrameHeader& header, std::span<std::byte, FrameHeader::size> to) {
  store_big_endian<std::uint64_t>(header.payload + FrameHeader::least, to.data());
  store_big_endian<std::uint64_t>(header.stream.tag, to.data() + 8);
  store_big_endian<std::uint64_t>(header.stream.sequence << 8 | header.stream.part, to.data() + 16);
}

FrameHeader read_frame_header(std::span<const std::byte, FrameHeader::size> from) {
  const auto length = load_big_endian<std::uint64_t>(from.data());
  if (length < FrameHeader::least || length > FrameHeader::most)
    fail(ErrorKind::corrupt, fmt::format("a frame of {} bytes where 16 to 1 GiB are allowed", length));
  const auto stream = load_big_endian<std::uint64_t>(from.data() + 16);
  return {length - FrameHeader::least,
          {load_big_endian<std::uint64_t>(from.data() + 8), stream >> 8, static_cast<std::uint8_t>(stream)}};
}

Bytes encode_hello(const PeerHello& hello) {
  ByteWriter writer;
  writer.append(std::as_bytes(std::span(hello.from)));
  writer.append(std::as_bytes(std::span(hello.to)));
  Bytes bytes = writer.take();
  append_big_endian(bytes, hello.number);
  append_big_endian(bytes, hello.count);
  return bytes;
}

PeerHello decode_hello(ByteSpan bytes) {
  ByteReader reader(bytes, "HELLO of a peer");
  PeerHello hello;
  hello.from = reader.read<PeerId>();
  hello.to = reader.read<PeerId>();
  hello.number = load_big_endian<std::uint32_t>(reader.take(4).data());
  hello.count = load_big_endian<std::uint32_t>(reader.take(4).data());
  reader.expect_end();
  if (hello.count < 1 || hello.count > most_pool_connections || hello.number >= hello.count)
    reader.corrupt("a pool has 1 to 64 connections, numbered from 0");
  return hello;
}

}  // namespace laconic
