#include "methods/gradients/federated/federated_message.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/hash.h"

namespace laconic {
namespace {

constexpr std::size_t message_checksum_size = 4;
constexpr std::uint64_t most_examples = std::uint64_t{1} << 48;

std::uint32_t low_hash(ByteSpan bytes) { return static_cast<std::uint32_t>(xxh3_64(bytes)); }

Bytes with_checksum(ByteWriter&& writer) {
  writer.u32(low_hash(writer.span()));
  return writer.take();
}

ByteReader checked_reader(ByteSpan message, const std::string& where) {
  if (message.size() <= message_checksum_size) fail(ErrorKind::corrupt, "is too short", where);
  const ByteSpan content = message.first(message.size() - message_checksum_size);
  if (ByteReader(message.last(message_checksum_size)).u32() != low_hash(content))
    fail(ErrorKind::corrupt, "has a checksum that does not fit its bytes", where);
  return ByteReader(content, where);
}

}  // namespace

FederatedWire::FederatedWire(const std::vector<TensorSlice>& tensors, int clients, std::string_view codec)
    : size_(layout_size(tensors)),
      clients_(clients),
      agreed_(low_hash(as_byte_span(layout_text(tensors) + std::string(codec)))) {}

Bytes FederatedWire::broadcast(std::uint64_t round, const std::vector<std::vector<float>>& vectors) const {
  ByteWriter writer;
  writer.varint(round);
  writer.u32(agreed_);
  for (const std::vector<float>& vector : vectors) {
    require(vector.size() == size_, "a broadcast vector has the length of the model");
    writer.append(std::as_bytes(std::span(vector)));
  }
  return with_checksum(std::move(writer));
}

std::vector<std::vector<float>> FederatedWire::read_broadcast(ByteSpan message, std::uint64_t round,
                                                              std::size_t vectors) const {
  ByteReader reader = checked_reader(message, "broadcast");
  if (reader.varint() != round) reader.corrupt("the broadcast of another round");
  if (reader.u32() != agreed_) reader.corrupt("the broadcast of another model or codec");
  std::vector<std::vector<float>> read;
  for (std::size_t i = 0; i < vectors; ++i) {
    const ByteSpan bytes = reader.take(size_ * sizeof(float));
    std::vector<float>& vector = read.emplace_back(size_);
    if (size_ > 0) std::memcpy(vector.data(), bytes.data(), bytes.size());
    if (!all_finite(vector)) reader.corrupt("a number that is not finite");
  }
  reader.expect_end();
  return read;
}

ByteWriter FederatedWire::begin_update(const UpdateHeader& header) const {
  ByteWriter writer;
  writer.varint(header.round);
  writer.varint(static_cast<std::uint64_t>(header.client));
  writer.varint(static_cast<std::uint64_t>(header.examples));
  writer.u32(agreed_);
  return writer;
}

Bytes FederatedWire::sealed_update(ByteWriter&& writer) { return with_checksum(std::move(writer)); }

std::vector<std::string> FederatedWire::for_each_update(
    std::uint64_t round, const std::vector<Bytes>& messages,
    const std::function<void(const UpdateHeader& header, ByteReader& body)>& take) const {
  std::vector<std::string> rejected;
  std::vector<bool> seen(static_cast<std::size_t>(clients_), false);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    try {
      ByteReader reader = checked_reader(messages[i], fmt::format("message {} of round {}", i + 1, round));
      UpdateHeader header;
      header.round = reader.varint();
      const std::uint64_t client = reader.varint();
      header.examples = static_cast<std::int64_t>(reader.length(most_examples));
      if (header.round != round) reader.corrupt("of another round");
      if (reader.u32() != agreed_) reader.corrupt("of another model or codec");
      if (client >= seen.size()) reader.corrupt("from a client that is not there");
      if (header.examples < 1) reader.corrupt("from a client without examples");
      if (seen[static_cast<std::size_t>(client)]) reader.corrupt("a second one of the same client");
      header.client = static_cast<int>(client);
      take(header, reader);
      seen[static_cast<std::size_t>(client)] = true;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      rejected.emplace_back(error.what());
    }
  }
  return rejected;
}

std::string not_finite(std::span<const float> vector, const std::vector<TensorSlice>& tensors) {
  for (const TensorSlice& tensor : tensors) {
    if (!all_finite(slice_of(vector, tensor))) return tensor.name + " is not finite";
  }
  return {};
}

}  // namespace laconic
