#include "engine/exchange/owned_codec_exchange.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/hash.h"
#include "engine/base/saved_state.h"
#include "engine/codec/message.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

constexpr std::size_t owned_checksum_size = 4;

std::uint32_t owned_checksum(ByteSpan bytes) { return static_cast<std::uint32_t>(xxh3_64(bytes)); }

Bytes owned_refusal() {
  ByteWriter writer;
  writer.u8(1);
  writer.u32(owned_checksum(writer.span()));
  return writer.take();
}

Shape row_of(std::size_t size) { return {static_cast<std::int64_t>(size)}; }

}  // namespace

OwnedCodecExchange::OwnedCodecExchange(std::vector<TensorSlice> tensors,
                                       std::vector<std::shared_ptr<const TensorCodec>> codecs,
                                       const OwnedCodecSettings& settings)
    : GradientExchange(std::move(tensors), settings.bucket_bytes),
      codecs_(std::move(codecs)),
      settings_(settings) {
  require(codecs_.size() == this->tensors().size() &&
              std::all_of(codecs_.begin(), codecs_.end(), [](const auto& codec) { return codec != nullptr; }),
          "every tensor has a codec");
  const auto memories_for = [&](const std::vector<Piece>& pieces) {
    std::vector<Memory> memories(pieces.size());
    for (std::size_t i = 0; settings_.feedback && i < pieces.size(); ++i)
      memories[i].feedback = std::make_unique<Feedback>(*settings_.feedback, pieces[i].size);
    return memories;
  };
  for (const Bucket& bucket : buckets()) {
    BucketState state;
    state.bounds = parts_of(bucket.size, settings_.ranks);
    for (std::size_t part = 0; part + 1 < state.bounds.size(); ++part) {
      const std::size_t begin = bucket.offset + state.bounds[part],
                        end = bucket.offset + state.bounds[part + 1];
      std::vector<Piece> pieces;
      for (std::size_t t = bucket.first; t < bucket.last; ++t) {
        const TensorSlice& tensor = this->tensors()[t];
        const std::size_t first = std::max(begin, tensor.offset);
        const std::size_t last = std::min(end, tensor.offset + tensor.size);
        if (first < last)
          pieces.push_back({t, first - begin, last - first, fmt::format("{}.{}", tensor.name, part)});
      }
      state.worker.push_back(memories_for(pieces));
      state.pieces.push_back(std::move(pieces));
    }
    state.owner = memories_for(state.pieces[static_cast<std::size_t>(settings_.rank)]);
    states_.push_back(std::move(state));
  }
}

std::string OwnedCodecExchange::text() const {
  std::string text = "owners";
  for (std::size_t i = 0; i < codecs_.size(); ++i) {
    text += (i == 0 ? " " : "; ") + codecs_[i]->canonical();
    std::size_t same = 1;
    while (i + 1 < codecs_.size() && codecs_[i + 1] == codecs_[i]) {
      ++i;
      ++same;
    }
    if (same > 1) text += fmt::format(" x {}", same);
  }
  if (settings_.feedback) text += " with " + settings_.feedback->text();
  return text;
}

Bytes OwnedCodecExchange::encode(std::uint64_t step, const std::vector<Piece>& pieces,
                                 std::vector<Memory>& memories, std::span<const float> values,
                                 std::uint16_t peer) {
  const Timing timing = encoding();
  if (!all_finite(values)) return owned_refusal();
  ByteWriter writer;
  writer.u8(0);
  std::vector<float> to_send;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    Memory& memory = memories[i];
    std::span<const float> numbers = values.subspan(piece.first, piece.size);
    if (memory.feedback) {
      to_send.resize(piece.size);
      memory.feedback->make(numbers, to_send);
      memory.made = true;
      numbers = to_send;
      if (!all_finite(numbers)) return owned_refusal();
    }
    const TensorCodec& codec = *codecs_[piece.tensor];
    EncodeContext context;
    context.seed = settings_.seed;
    context.tensor_name = piece.name;
    context.step = step;
    context.peer = peer;
    const TensorView view{DType::f32, row_of(piece.size), reinterpret_cast<const std::byte*>(numbers.data())};
    const Payload payload = codec.encode(view, context);
    write_message(writer, payload);
    if (memory.feedback) {
      memory.decoded.assign(piece.size, 0.0f);
      codec.add_decoded(payload, memory.decoded);
    }
  }
  writer.u32(owned_checksum(writer.span()));
  return writer.take();
}

bool OwnedCodecExchange::decode(ByteSpan message, const std::vector<Piece>& pieces, const std::string& where,
                                std::span<float> values) {
  const Timing timing = decoding();
  std::fill(values.begin(), values.end(), 0.0f);
  if (message.size() < 1 + owned_checksum_size) fail(ErrorKind::corrupt, "is too short", where);
  const ByteSpan body = message.first(message.size() - owned_checksum_size);
  if (ByteReader(message.last(owned_checksum_size)).u32() != owned_checksum(body))
    fail(ErrorKind::corrupt, "has a checksum that does not fit its bytes", where);
  ByteReader reader(body, where);
  const std::uint8_t refused = reader.u8();
  if (refused > 1) reader.corrupt("neither a part nor a refusal");
  if (refused == 0) {
    for (const Piece& piece : pieces) {
      const TensorCodec& codec = *codecs_[piece.tensor];
      codec.add_decoded(read_message(reader, codec.canonical(), DType::f32, row_of(piece.size)),
                        values.subspan(piece.first, piece.size));
    }
  }
  reader.expect_end();
  return refused == 0 && all_finite(std::span<const float>(values));
}

bool OwnedCodecExchange::exchange(Communicator& communicator, std::uint64_t step, std::size_t index,
                                  std::span<const float> own, std::span<float> agreed) {
  require(communicator.size() == settings_.ranks && communicator.rank() == settings_.rank,
          "parts were planned for these ranks");
  const Bucket& bucket = buckets()[index];
  BucketState& state = states_[index];
  const std::span<float> values = agreed.subspan(bucket.offset, bucket.size);
  const std::span<const float> input = own.subspan(bucket.offset, bucket.size);
  if (input.data() != values.data()) std::copy(input.begin(), input.end(), values.begin());
  const auto rank = static_cast<std::uint16_t>(settings_.rank);
  bool accepted = true, arrived_whole = true;
  const auto pieces = [&](int part) -> const std::vector<Piece>& {
    return state.pieces[static_cast<std::size_t>(part)];
  };
  std::vector<float> mean;
  reduce_through_owners(
      communicator, values, state.bounds,
      {[&](int part, std::span<const float> part_values) {
         return encode(step, pieces(part), state.worker[static_cast<std::size_t>(part)], part_values, rank);
       },
       [&](int source, int part, ByteSpan bytes, std::span<float> to) {
         if (!decode(bytes, pieces(part), fmt::format("part {} of rank {}", part, source), to))
           arrived_whole = false;
       },
       [&](int part, std::span<const float> sum) {
         if (!arrived_whole) return owned_refusal();
         mean.assign(sum.begin(), sum.end());
         for (float& value : mean) value /= static_cast<float>(settings_.ranks);
         // Owners draw other random numbers than workers.
         return encode(step, pieces(part), state.owner, mean,
                       static_cast<std::uint16_t>(settings_.ranks + settings_.rank));
       },
       [&](int owner, ByteSpan bytes, std::span<float> to) {
         if (!decode(bytes, pieces(owner), fmt::format("mean of owner {}", owner), to)) accepted = false;
       }});
  return accepted;
}

void OwnedCodecExchange::end_step(bool accepted) {
  const auto settle = [&](Memory& memory) {
    if (!memory.made) return;
    if (accepted) {
      memory.feedback->settle(memory.decoded);
    } else {
      memory.feedback->undo();
    }
    memory.made = false;
  };
  for (BucketState& state : states_) {
    for (std::vector<Memory>& part : state.worker) std::for_each(part.begin(), part.end(), settle);
    std::for_each(state.owner.begin(), state.owner.end(), settle);
  }
}

std::vector<const OwnedCodecExchange::Memory*> OwnedCodecExchange::memories() const {
  std::vector<const Memory*> all;
  for (const BucketState& state : states_) {
    for (const std::vector<Memory>& part : state.worker) {
      for (const Memory& memory : part) all.push_back(&memory);
    }
    for (const Memory& memory : state.owner) all.push_back(&memory);
  }
  return all;
}

Bytes OwnedCodecExchange::save() const {
  ByteWriter writer;
  writer.text(text());
  for (const Memory* memory : memories()) {
    const Bytes bytes = memory->feedback ? memory->feedback->save() : Bytes();
    writer.varint(bytes.size());
    writer.append(bytes);
  }
  return sealed(std::move(writer));
}

void OwnedCodecExchange::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.text(std::uint64_t{1} << 24) != text())
    fail(ErrorKind::usage, "is the state of another exchange", where,
         "resume with the settings that wrote it");
  for (const Memory* memory : memories()) {
    const ByteSpan part = reader.take(reader.length(reader.remaining()));
    if (memory->feedback) {
      memory->feedback->restore(part, where);
    } else if (!part.empty()) {
      reader.corrupt("a memory where there is none");
    }
  }
  reader.expect_end();
}

}  // namespace laconic
