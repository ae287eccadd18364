#include "engine/exchange/owned_sign_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/hash.h"
#include "engine/base/saved_state.h"
#include "engine/coding/sign_bits.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

constexpr std::uint64_t owned_sign_schema = 1;
constexpr std::size_t part_head = 1, part_checksum = 4;

void seal_part(Bytes& message) {
  const std::size_t body = message.size() - part_checksum;
  const auto hash = static_cast<std::uint32_t>(xxh3_64(ByteSpan(message).first(body)));
  std::memcpy(message.data() + body, &hash, part_checksum);
}

Bytes refusal_of_part() {
  Bytes message(part_head + part_checksum);
  message[0] = std::byte{1};
  seal_part(message);
  return message;
}

// The signs of a piece inside a message.
std::span<std::uint8_t> signs_of(Bytes& message, std::size_t at, std::size_t count) {
  return {reinterpret_cast<std::uint8_t*>(message.data()) + at, sign_bytes(count)};
}
std::span<const std::uint8_t> signs_of(ByteSpan message, std::size_t at, std::size_t count) {
  return {reinterpret_cast<const std::uint8_t*>(message.data()) + at, sign_bytes(count)};
}

void write_scale(Bytes& message, std::size_t piece, float scale) {
  std::memcpy(message.data() + part_head + piece * sizeof(float), &scale, sizeof(float));
}

}  // namespace

OwnedSignExchange::OwnedSignExchange(std::vector<TensorSlice> tensors, const OwnedSignSettings& settings)
    : GradientExchange(std::move(tensors), settings.bucket_bytes),
      settings_(settings),
      sends_signs_(!settings.starts_dense) {
  require(settings.ranks >= 1 && settings.rank >= 0 && settings.rank < settings.ranks, "a rank among ranks");
  require(settings.dense.empty() || settings.dense.size() == this->tensors().size(),
          "every tensor has a way to travel");
  plan();
}

void OwnedSignExchange::start_signs(std::vector<std::uint8_t> carried) {
  require(carried.empty() || carried.size() == size(), "every number is carried or not");
  require(std::none_of(states_.begin(), states_.end(), [](const BucketState& state) { return state.made; }),
          "how tensors travel changes between steps");
  is_carried_ = std::move(carried);
  sends_signs_ = true;
  compared_ = false;
  plan();
}

void OwnedSignExchange::plan() {
  states_.assign(buckets().size(), {});
  for (std::size_t b = 0; b < buckets().size(); ++b) {
    BucketState& state = states_[b];
    for (std::size_t i = buckets()[b].first; i < buckets()[b].last; ++i) plan_tensor(i, state);
    plan_parts(state);
    if (settings_.worker_error && sends_signs_) state.worker.error.assign(state.carried_size, 0.0f);
    if (settings_.owner_error && sends_signs_) {
      const auto own = static_cast<std::size_t>(settings_.rank);
      state.owner.error.assign(state.bounds[own + 1] - state.bounds[own], 0.0f);
    }
  }
}

void OwnedSignExchange::plan_tensor(std::size_t tensor, BucketState& state) const {
  const TensorSlice& slice = tensors()[tensor];
  const auto extend = [](std::vector<Run>& runs, std::size_t offset, std::size_t size) {
    if (size == 0) return;
    if (!runs.empty() && runs.back().offset + runs.back().size == offset) {
      runs.back().size += size;
    } else {
      runs.push_back({offset, size});
    }
  };
  if (!sends_signs_ || (!settings_.dense.empty() && settings_.dense[tensor])) {
    extend(state.dense, slice.offset, slice.size);
    state.dense_size += slice.size;
    return;
  }
  std::size_t count = slice.size;
  if (is_carried_.empty()) {
    extend(state.carried, slice.offset, slice.size);
  } else {
    for (std::size_t j = slice.offset; j < slice.offset + slice.size; ++j) {
      extend(is_carried_[j] != 0 ? state.carried : state.left_out, j, 1);
      if (is_carried_[j] == 0) --count;
    }
  }
  const std::size_t block = settings_.block == 0 ? std::max<std::size_t>(count, 1) : settings_.block;
  for (std::size_t begin = 0; begin < count; begin += block)
    state.units.push_back(std::min(block, count - begin));
  state.carried_size += count;
}

void OwnedSignExchange::plan_parts(BucketState& state) const {
  state.bounds = parts_of(state.carried_size, settings_.ranks, settings_.align);
  state.parts.assign(static_cast<std::size_t>(settings_.ranks), {});
  std::size_t unit = 0, unit_begin = 0;
  for (std::size_t p = 0; p < state.parts.size(); ++p) {
    Part& part = state.parts[p];
    for (std::size_t at = state.bounds[p]; at < state.bounds[p + 1];) {
      const std::size_t end = std::min(unit_begin + state.units[unit], state.bounds[p + 1]);
      part.pieces.push_back({at, end - at, unit, 0});
      at = end;
      if (end == unit_begin + state.units[unit]) unit_begin += state.units[unit++];
    }
    std::size_t bytes = part_head + part.pieces.size() * sizeof(float);
    for (Piece& piece : part.pieces) {
      piece.bits = bytes;
      bytes += sign_bytes(piece.size);
    }
    part.message_size = bytes + part_checksum;
  }
}

std::string OwnedSignExchange::text() const {
  std::string text =
      fmt::format("signs through owners, scale {} per {}",
                  settings_.scale == OwnedSignSettings::Scale::rms ? "rms" : "mean",
                  settings_.block == 0 ? "tensor" : fmt::format("{} numbers", settings_.block));
  text += fmt::format(", worker error {}, owner error {}, parts of {}", settings_.worker_error ? "on" : "off",
                      settings_.owner_error ? "on" : "off", settings_.align);
  if (settings_.starts_dense) text += ", dense at first";
  std::string dense;
  for (std::size_t i = 0; i < settings_.dense.size(); ++i) {
    if (settings_.dense[i]) dense += fmt::format(" {}", i);
  }
  if (!dense.empty()) text += ", always dense tensors" + dense;
  return text;
}

std::uint64_t OwnedSignExchange::travel_hash() const {
  ByteWriter writer;
  writer.u8(sends_signs_ ? 1 : 0);
  writer.append(std::as_bytes(std::span(is_carried_)));
  return xxh3_64(writer.span());
}

void OwnedSignExchange::begin_step(Communicator& communicator, std::uint64_t step) {
  require(communicator.size() == settings_.ranks && communicator.rank() == settings_.rank,
          "the exchange was made for this rank");
  if (compared_) return;
  const Agreement agreement = agree(communicator, travel_hash());
  if (agreement.least != agreement.most) {
    fail(ErrorKind::corrupt,
         fmt::format("ranks {} and {} do not send the same numbers as signs", agreement.least_rank,
                     agreement.most_rank),
         fmt::format("step {}", step), "go on from the last checkpoint");
  }
  compared_ = true;
}

float OwnedSignExchange::scale_of(double sum, std::size_t count) const {
  const double mean = sum / static_cast<double>(count);
  return static_cast<float>(settings_.scale == OwnedSignSettings::Scale::rms ? std::sqrt(mean) : mean);
}

std::vector<Bytes> OwnedSignExchange::encode_parts(BucketState& state, std::span<const float> input) {
  const Timing timing = encoding();
  const SignSum kind =
      settings_.scale == OwnedSignSettings::Scale::rms ? SignSum::squares : SignSum::magnitudes;
  std::vector<float>& total = state.worker.next;
  if (settings_.worker_error) total.resize(state.carried_size);
  std::vector<Bytes> messages;
  std::vector<double> sums(state.units.size(), 0.0);
  for (const Part& part : state.parts) {
    Bytes message(part.message_size);
    for (const Piece& piece : part.pieces) {
      const auto values = input.subspan(piece.offset, piece.size);
      const auto bits = signs_of(message, piece.bits, piece.size);
      sums[piece.unit] +=
          settings_.worker_error
              ? pack_signs_of_sum(values, std::span(state.worker.error).subspan(piece.offset, piece.size),
                                  std::span(total).subspan(piece.offset, piece.size), kind, bits)
              : pack_signs(values, kind, bits);
    }
    messages.push_back(std::move(message));
  }
  std::vector<float> scales;
  for (std::size_t u = 0; u < sums.size(); ++u) scales.push_back(scale_of(sums[u], state.units[u]));
  if (!all_finite(scales)) {
    for (Bytes& message : messages) message = refusal_of_part();
    return messages;
  }
  for (std::size_t p = 0; p < messages.size(); ++p) {
    const std::vector<Piece>& pieces = state.parts[p].pieces;
    for (std::size_t k = 0; k < pieces.size(); ++k) {
      const Piece& piece = pieces[k];
      write_scale(messages[p], k, scales[piece.unit]);
      if (settings_.worker_error) {
        add_signs(signs_of(ByteSpan(messages[p]), piece.bits, piece.size), -scales[piece.unit],
                  std::span(total).subspan(piece.offset, piece.size));
      }
    }
    seal_part(messages[p]);
  }
  return messages;
}

Bytes OwnedSignExchange::encode_mean(BucketState& state, std::span<const float> sum, int ranks) {
  const Timing timing = encoding();
  const SignSum kind =
      settings_.scale == OwnedSignSettings::Scale::rms ? SignSum::squares : SignSum::magnitudes;
  const auto own = static_cast<std::size_t>(settings_.rank);
  const Part& part = state.parts[own];
  std::vector<float>& mean = state.owner.next;
  mean.resize(sum.size());
  for (std::size_t j = 0; j < sum.size(); ++j) mean[j] = sum[j] / static_cast<float>(ranks);
  Bytes message(part.message_size);
  for (std::size_t k = 0; k < part.pieces.size(); ++k) {
    const Piece& piece = part.pieces[k];
    const std::size_t at = piece.offset - state.bounds[own];
    const auto values = std::span(mean).subspan(at, piece.size);
    const auto bits = signs_of(message, piece.bits, piece.size);
    const double total = settings_.owner_error
                             ? pack_signs_of_sum(values, std::span(state.owner.error).subspan(at, piece.size),
                                                 values, kind, bits)
                             : pack_signs(values, kind, bits);
    const float scale = scale_of(total, piece.size);
    if (!std::isfinite(scale)) return refusal_of_part();
    write_scale(message, k, scale);
    if (settings_.owner_error) add_signs(bits, -scale, values);
  }
  seal_part(message);
  return message;
}

bool OwnedSignExchange::read_part(ByteSpan message, const Part& part, const std::string& where,
                                  std::vector<float>& scales) const {
  if (message.size() < part_head + part_checksum) fail(ErrorKind::corrupt, "is too short", where);
  const ByteSpan body = message.first(message.size() - part_checksum);
  if (ByteReader(message.last(part_checksum)).u32() != static_cast<std::uint32_t>(xxh3_64(body)))
    fail(ErrorKind::corrupt, "has a checksum that does not fit its bytes", where);
  ByteReader reader(body, where);
  const std::uint8_t refused = reader.u8();
  if (refused > 1) reader.corrupt("neither signs nor a refusal");
  if (refused == 1) {
    reader.expect_end();
    return false;
  }
  if (message.size() != part.message_size) {
    reader.corrupt(fmt::format("{} bytes where {} were expected: do all ranks have the same tensors?",
                               message.size(), part.message_size));
  }
  scales.clear();
  for (std::size_t k = 0; k < part.pieces.size(); ++k) {
    scales.push_back(reader.f32());
    if (!std::isfinite(scales.back()) || scales.back() < 0)
      reader.corrupt("a scale that is negative or not finite");
  }
  for (const Piece& piece : part.pieces) {
    const auto bits = signs_of(message, piece.bits, piece.size);
    if (piece.size % 8 != 0 && bits.back() >> piece.size % 8 != 0)
      reader.corrupt("signs beyond the last number");
  }
  return true;
}

bool OwnedSignExchange::exchange_signs(Communicator& communicator, BucketState& state,
                                       std::span<const float> input, std::span<float> agreed) {
  bool refused_part = false, refused = false;
  std::vector<float> scales;
  std::vector<Bytes> messages = encode_parts(state, input);
  state.made = true;
  OwnedReduction reduction;
  reduction.encode_part = [&](int part, std::span<const float>) {
    return std::move(messages[static_cast<std::size_t>(part)]);
  };
  reduction.add_part = [&](int source, int own, ByteSpan message, std::span<float> sum) {
    const Timing timing = decoding();
    const auto index = static_cast<std::size_t>(own);
    const Part& part = state.parts[index];
    if (!read_part(message, part, fmt::format("part from rank {}", source), scales)) {
      refused_part = true;
      return;
    }
    for (std::size_t k = 0; k < part.pieces.size(); ++k) {
      const Piece& piece = part.pieces[k];
      add_signs(signs_of(message, piece.bits, piece.size), scales[k],
                sum.subspan(piece.offset - state.bounds[index], piece.size));
    }
  };
  reduction.encode_sum = [&](int, std::span<const float> sum) {
    return refused_part ? refusal_of_part() : encode_mean(state, sum, communicator.size());
  };
  reduction.decode_sum = [&](int owner, ByteSpan message, std::span<float> values) {
    const Timing timing = decoding();
    const auto index = static_cast<std::size_t>(owner);
    const Part& part = state.parts[index];
    if (!read_part(message, part, fmt::format("mean from rank {}", owner), scales)) {
      refused = true;
      return;
    }
    for (std::size_t k = 0; k < part.pieces.size(); ++k) {
      const Piece& piece = part.pieces[k];
      unpack_signs(signs_of(message, piece.bits, piece.size), scales[k],
                   values.subspan(piece.offset - state.bounds[index], piece.size));
    }
  };
  reduce_through_owners(communicator, agreed, state.bounds, reduction);
  return !refused;
}

bool OwnedSignExchange::exchange(Communicator& communicator, std::uint64_t, std::size_t index,
                                 std::span<const float> own, std::span<float> agreed) {
  BucketState& state = states_[index];
  const auto gather = [&](const std::vector<Run>& runs, std::vector<float>& to) {
    to.clear();
    for (const Run& run : runs) {
      const auto values = own.subspan(run.offset, run.size);
      to.insert(to.end(), values.begin(), values.end());
    }
  };
  const auto scatter = [&](const std::vector<Run>& runs, std::span<const float> from) {
    for (const Run& run : runs) {
      std::copy_n(from.begin(), run.size, agreed.subspan(run.offset, run.size).begin());
      from = from.subspan(run.size);
    }
  };
  bool accepted = true;
  // Any number that is not finite shows in the sum, on all ranks.
  if (state.dense_size > 0) {
    gather(state.dense, dense_);
    all_reduce_sum(communicator, dense_);
    const auto ranks = static_cast<float>(communicator.size());
    for (float& value : dense_) value /= ranks;
    accepted = all_finite(dense_);
  }
  if (state.carried.size() == 1) {
    const Run run = state.carried.front();
    accepted &= exchange_signs(communicator, state, own.subspan(run.offset, run.size),
                               agreed.subspan(run.offset, run.size));
  } else if (state.carried_size > 0) {
    gather(state.carried, gathered_);
    accepted &= exchange_signs(communicator, state, gathered_, gathered_);
    scatter(state.carried, gathered_);
  }
  if (state.dense_size > 0) scatter(state.dense, dense_);
  for (const Run& run : state.left_out) {
    const auto values = agreed.subspan(run.offset, run.size);
    std::fill(values.begin(), values.end(), 0.0f);
  }
  return accepted;
}

void OwnedSignExchange::end_step(bool accepted) {
  for (BucketState& state : states_) {
    if (!state.made) continue;
    state.made = false;
    if (!accepted) continue;
    if (settings_.worker_error) state.worker.error.swap(state.worker.next);
    if (settings_.owner_error) state.owner.error.swap(state.owner.next);
  }
}

void OwnedSignExchange::write_travel(ByteWriter& writer) const {
  writer.u8(sends_signs_ ? 1 : 0);
  // One bit a number, as few are left out.
  writer.u8(is_carried_.empty() ? 0 : 1);
  std::vector<std::uint8_t> packed(is_carried_.empty() ? 0 : sign_bytes(size()), 0);
  for (std::size_t j = 0; j < is_carried_.size(); ++j) {
    if (is_carried_[j] != 0) packed[j / 8] = static_cast<std::uint8_t>(packed[j / 8] | 1u << j % 8);
  }
  writer.append(std::as_bytes(std::span(packed)));
}

std::unique_ptr<OwnedSignExchange> OwnedSignExchange::read_travel(ByteReader& reader) const {
  const std::uint8_t signs = reader.u8(), partial = reader.u8();
  if (signs > 1 || partial > signs) reader.corrupt("an unknown way to travel");
  std::vector<std::uint8_t> carried;
  if (partial == 1) {
    const ByteSpan packed = reader.take(sign_bytes(size()));
    if (size() % 8 != 0 && std::to_integer<unsigned>(packed.back()) >> size() % 8 != 0)
      reader.corrupt("numbers beyond the last one");
    for (std::size_t j = 0; j < size(); ++j)
      carried.push_back(static_cast<std::uint8_t>(std::to_integer<unsigned>(packed[j / 8]) >> j % 8 & 1u));
  }
  auto fresh = std::make_unique<OwnedSignExchange>(tensors(), settings_);
  if (signs == 1) {
    fresh->start_signs(std::move(carried));
  } else if (!settings_.starts_dense) {
    reader.corrupt("a way to travel that the settings do not know");
  }
  return fresh;
}

void OwnedSignExchange::become(OwnedSignExchange& other) {
  sends_signs_ = other.sends_signs_;
  is_carried_ = std::move(other.is_carried_);
  states_ = std::move(other.states_);
  compared_ = false;
}

Bytes OwnedSignExchange::save_shared() const {
  ByteWriter writer;
  writer.varint(owned_sign_schema);
  write_travel(writer);
  return sealed(std::move(writer));
}

void OwnedSignExchange::restore_shared(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.varint() != owned_sign_schema) reader.corrupt("memories of another version");
  const auto fresh = read_travel(reader);
  reader.expect_end();
  become(*fresh);
}

void OwnedSignExchange::inherit(GradientExchange& before) {
  auto* other = dynamic_cast<OwnedSignExchange*>(&before);
  require(other != nullptr && other->states_.size() == states_.size(),
          "an exchange inherits from one of its kind");
  // Errors of numbers that travel another way now have no meaning.
  if (other->travel_hash() != travel_hash()) return;
  for (std::size_t b = 0; b < states_.size(); ++b) {
    require(!other->states_[b].made, "memories are inherited between steps");
    states_[b].worker.error = std::move(other->states_[b].worker.error);
  }
}

Bytes OwnedSignExchange::save() const {
  ByteWriter writer;
  writer.varint(owned_sign_schema);
  writer.text(text());
  writer.text(fmt::format("rank {} of {}", settings_.rank, settings_.ranks));
  write_travel(writer);
  for (const BucketState& state : states_) {
    require(!state.made, "memories are saved between steps");
    write_numbers(writer, state.worker.error);
    write_numbers(writer, state.owner.error);
  }
  return sealed(std::move(writer));
}

void OwnedSignExchange::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.varint() != owned_sign_schema) reader.corrupt("memories of another version");
  const std::string other = reader.text(std::uint64_t{1} << 24), rank = reader.text(64);
  const std::string own_rank = fmt::format("rank {} of {}", settings_.rank, settings_.ranks);
  if (other != text() || rank != own_rank) {
    fail(ErrorKind::usage,
         fmt::format("is the state of another exchange ({}, {}), not of {}, {}", other, rank, text(),
                     own_rank),
         where, "resume with the settings and the number of workers that wrote it");
  }
  const auto fresh = read_travel(reader);
  for (BucketState& state : fresh->states_) {
    state.worker.error = read_numbers<float>(reader, state.worker.error.size());
    state.owner.error = read_numbers<float>(reader, state.owner.error.size());
  }
  reader.expect_end();
  become(*fresh);
}

}  // namespace laconic
