#include "engine/exchange/gathered_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/hash.h"
#include "engine/base/saved_state.h"
#include "engine/codec/message.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

// A bucket's f32 tensors go along in its message up to here; beyond, a ring sends fewer bytes.
constexpr std::size_t most_numbers_in_message = 1024;
constexpr std::size_t checksum_size = 4;

std::uint32_t short_hash(ByteSpan bytes) { return static_cast<std::uint32_t>(xxh3_64(bytes)); }

std::uint64_t hash_of_estimates(const std::vector<std::vector<float>>& estimates) {
  StreamingHash128 hash;
  for (const std::vector<float>& estimate : estimates) hash.update(std::as_bytes(std::span(estimate)));
  const Hash128 digest = hash.digest();
  std::uint64_t first = 0;
  std::memcpy(&first, digest.data(), sizeof(first));
  return first;
}

}  // namespace

GatheredExchange::GatheredExchange(std::vector<TensorSlice> tensors, std::vector<TensorTravel> travel,
                                   const GatheredSettings& settings)
    : GradientExchange(std::move(tensors), settings.bucket_bytes),
      travel_(std::move(travel)),
      settings_(settings) {
  require(travel_.size() == this->tensors().size(), "every tensor has a way to travel");
  double sum = 0;
  for (const double weight : settings_.weights) {
    if (!(weight > 0)) fail(ErrorKind::usage, "a weight is not positive", "weights of the ranks");
    sum += weight;
  }
  if (!settings_.weights.empty() && !(std::abs(sum - 1) <= 1e-9))
    fail(ErrorKind::usage, "do not sum to 1", "weights of the ranks");
  memories_.resize(travel_.size());
  estimates_.resize(travel_.size());
  pending_.resize(travel_.size());
  for (std::size_t i = 0; i < travel_.size(); ++i) {
    require(travel_[i].codec || !travel_[i].feedback, "a memory goes with a codec");
    require(settings_.weights.empty() || !travel_[i].codec || travel_[i].feedback,
            "weights go with a memory");
    if (!travel_[i].feedback) continue;
    const std::size_t size = this->tensors()[i].size;
    memories_[i] = std::make_unique<Feedback>(*travel_[i].feedback, size);
    if (travel_[i].feedback->estimator) estimates_[i].assign(size, 0.0f);
  }
}

void GatheredExchange::set_codec(std::size_t tensor, std::shared_ptr<const TensorCodec> codec) {
  require(codec && travel_[tensor].codec && !pending_[tensor].made, "levels change between steps");
  travel_[tensor].codec = std::move(codec);
}

// Levels that change are not part of it: they follow from what is.
std::string GatheredExchange::text() const {
  std::string text = "gathered";
  for (std::size_t i = 0; i < travel_.size(); ++i) {
    const TensorTravel& travel = travel_[i];
    const std::string way = travel.codec
                                ? travel.codec->canonical() + (travel.flat ? " flat" : "") +
                                      (travel.feedback ? " with " + travel.feedback->text() : std::string())
                                : std::string("f32");
    text += (i == 0 ? " " : "; ") + way;
    std::size_t same = 1;
    while (i + 1 < travel_.size() && travel_[i + 1].codec == travel.codec &&
           travel_[i + 1].flat == travel.flat &&
           travel_[i + 1].feedback.has_value() == travel.feedback.has_value() &&
           (!travel.feedback || travel_[i + 1].feedback->text() == travel.feedback->text())) {
      ++i;
      ++same;
    }
    if (same > 1) text += fmt::format(" x {}", same);
  }
  for (std::size_t i = 0; i < settings_.weights.size(); ++i)
    text += fmt::format("{}{}", i == 0 ? "; weights " : " ", settings_.weights[i]);
  if (settings_.whole_start) text += "; whole start";
  return text;
}

Shape GatheredExchange::shape_of(std::size_t tensor) const {
  const TensorSlice& slice = tensors()[tensor];
  return travel_[tensor].flat ? Shape{static_cast<std::int64_t>(slice.size)} : slice.shape;
}

bool GatheredExchange::in_message(std::size_t tensor) const { return travel_[tensor].codec != nullptr; }

bool GatheredExchange::goes_whole(std::size_t tensor) const {
  return settings_.whole_start && !begun_ && !estimates_[tensor].empty();
}

void GatheredExchange::begin_step(Communicator& communicator, std::uint64_t step) {
  const bool has_estimate = std::any_of(estimates_.begin(), estimates_.end(),
                                        [](const std::vector<float>& estimate) { return !estimate.empty(); });
  if (!has_estimate || settings_.compare_every == 0 || step % settings_.compare_every != 0) return;
  const Agreement agreement = agree(communicator, hash_of_estimates(estimates_));
  if (agreement.least != agreement.most) {
    fail(ErrorKind::corrupt,
         fmt::format("ranks {} and {} no longer hold the same estimate", agreement.least_rank,
                     agreement.most_rank),
         fmt::format("step {}", step), "go on from the last checkpoint");
  }
}

Bytes GatheredExchange::encode_bucket(std::uint64_t step, const Bucket& bucket, std::span<const float> own) {
  const Timing timing = encoding();
  ByteWriter writer;
  writer.u8(0);
  bool refused = false;
  std::vector<float> to_send;
  for (std::size_t i = bucket.first; i < bucket.last && !refused; ++i) {
    if (!in_message(i)) continue;
    const TensorSlice& tensor = tensors()[i];
    std::span<const float> values = slice_of(own, tensor);
    refused = !all_finite(values);
    if (refused) break;
    Pending& pending = pending_[i];
    if (memories_[i]) {
      to_send.resize(tensor.size);
      const double share = settings_.weights.empty()
                               ? 1
                               : 1 / (static_cast<double>(settings_.weights.size()) *
                                      settings_.weights[static_cast<std::size_t>(settings_.rank)]);
      memories_[i]->make(values, to_send, static_cast<float>(share));
      pending.made = true;
      values = to_send;
      refused = !all_finite(values);
      if (refused) break;
    }
    if (watcher_) watcher_(i, values);
    if (goes_whole(i)) {
      pending.decoded.assign(values.begin(), values.end());
      pending.all_positions = true;
      write_numbers(writer, pending.decoded);
      continue;
    }
    EncodeContext context;
    context.seed = settings_.seed;
    context.tensor_name = tensor.name;
    context.step = step;
    context.peer = static_cast<std::uint16_t>(settings_.rank);
    const TensorView view{DType::f32, shape_of(i), reinterpret_cast<const std::byte*>(values.data())};
    const Payload payload = travel_[i].codec->encode(view, context);
    write_message(writer, payload);
    if (memories_[i]) {
      // What the others will read, not what was meant.
      pending.decoded.assign(tensor.size, 0.0f);
      travel_[i].codec->add_decoded(payload, pending.decoded);
      auto positions = travel_[i].codec->positions(payload);
      pending.all_positions = !positions;
      pending.positions = positions ? std::move(*positions) : std::vector<std::int64_t>();
    }
  }
  if (refused) {
    ByteWriter refusal;
    refusal.u8(1);
    writer = std::move(refusal);
  }
  writer.u32(short_hash(writer.span()));
  return writer.take();
}

bool GatheredExchange::add_message(ByteSpan message, int source, const Bucket& bucket, std::span<float> sum) {
  const std::string where = fmt::format("message of rank {}", source);
  if (message.size() < 1 + checksum_size) fail(ErrorKind::corrupt, "is too short", where);
  const ByteSpan body = message.first(message.size() - checksum_size);
  if (ByteReader(message.last(checksum_size)).u32() != short_hash(body))
    fail(ErrorKind::corrupt, "has a checksum that does not fit its bytes", where);
  ByteReader reader(body, where);
  const std::uint8_t refused = reader.u8();
  if (refused > 1) reader.corrupt("neither a bucket nor a refusal");
  if (refused == 1) {
    reader.expect_end();
    return false;
  }
  for (std::size_t i = bucket.first; i < bucket.last; ++i) {
    if (!in_message(i)) continue;
    const TensorSlice& tensor = tensors()[i];
    const std::span<float> part = slice_of(sum, tensor);
    const auto add_to = [&](std::span<float> out) {
      if (goes_whole(i)) {
        const std::vector<float> values = read_numbers<float>(reader, tensor.size);
        for (std::size_t j = 0; j < out.size(); ++j) out[j] += values[j];
        return;
      }
      const TensorCodec& codec = *travel_[i].codec;
      codec.add_decoded(read_message(reader, codec.canonical(), DType::f32, shape_of(i)), out);
    };
    if (settings_.weights.empty()) {
      add_to(part);
      continue;
    }
    // The sum is divided by the number of ranks later on.
    const auto share = static_cast<float>(settings_.weights[static_cast<std::size_t>(source)] *
                                          static_cast<double>(settings_.weights.size()));
    weighted_.assign(tensor.size, 0.0f);
    add_to(weighted_);
    for (std::size_t j = 0; j < part.size(); ++j) part[j] += share * weighted_[j];
  }
  reader.expect_end();
  return true;
}

bool GatheredExchange::exchange(Communicator& communicator, std::uint64_t step, std::size_t index,
                                std::span<const float> own, std::span<float> agreed) {
  const Bucket& bucket = buckets()[index];
  if (!settings_.weights.empty() && settings_.weights.size() != static_cast<std::size_t>(communicator.size()))
    fail(ErrorKind::usage, "one weight per rank", "weights of the ranks");
  const auto ranks = static_cast<float>(communicator.size());
  bool accepted = true;

  // What goes without a codec, by a ring: any number that is not finite shows in the sum.
  dense_.clear();
  for (std::size_t i = bucket.first; i < bucket.last; ++i) {
    if (in_message(i)) continue;
    const auto values = slice_of(own, tensors()[i]);
    dense_.insert(dense_.end(), values.begin(), values.end());
  }
  const bool has_message = dense_.size() < bucket.size;
  const bool dense_in_message = has_message && dense_.size() <= most_numbers_in_message;
  if (!dense_.empty() && !dense_in_message) all_reduce_sum(communicator, dense_);

  std::vector<float> dense_sum;
  if (has_message) {
    Bytes own_message = encode_bucket(step, bucket, own);
    if (dense_in_message && !dense_.empty()) {
      // Behind the checksum of the rest, with their own: the sum tells whether they are finite.
      const auto raw = std::as_bytes(std::span<const float>(dense_));
      own_message.insert(own_message.begin(), raw.begin(), raw.end());
    }
    const std::vector<Bytes> messages = all_gather(communicator, own_message);
    const Timing timing = decoding();
    const std::span<float> sum = agreed;
    for (std::size_t i = bucket.first; i < bucket.last; ++i) {
      if (in_message(i)) {
        const auto part = slice_of(sum, tensors()[i]);
        std::fill(part.begin(), part.end(), 0.0f);
      }
    }
    if (dense_in_message) dense_sum.assign(dense_.size(), 0.0f);
    for (int source = 0; source < communicator.size(); ++source) {
      ByteSpan message = messages[static_cast<std::size_t>(source)];
      if (dense_in_message && !dense_.empty()) {
        const std::size_t bytes = dense_.size() * sizeof(float);
        if (message.size() < bytes)
          fail(ErrorKind::corrupt, "is too short", fmt::format("message of rank {}", source));
        for (std::size_t j = 0; j < dense_.size(); ++j) {
          float value;
          std::memcpy(&value, message.data() + j * sizeof(float), sizeof(float));
          dense_sum[j] += value;
        }
        message = message.subspan(bytes);
      }
      if (!add_message(message, source, bucket, sum)) accepted = false;
    }
    if (dense_in_message) dense_ = dense_sum;
  }
  if (!all_finite(std::span<const float>(dense_))) accepted = false;
  if (!accepted) return false;

  std::size_t next = 0;
  for (std::size_t i = bucket.first; i < bucket.last; ++i) {
    const auto part = slice_of(agreed, tensors()[i]);
    if (!in_message(i)) {
      for (float& value : part) value = dense_[next++] / ranks;
      continue;
    }
    for (float& value : part) value /= ranks;
    if (!all_finite(std::span<const float>(part))) accepted = false;
    if (!estimates_[i].empty()) {
      pending_[i].change.assign(part.begin(), part.end());
      for (std::size_t j = 0; j < part.size(); ++j) part[j] += estimates_[i][j];
    }
  }
  return accepted;
}

void GatheredExchange::end_step(bool accepted) {
  begun_ = begun_ || accepted;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    Pending& pending = pending_[i];
    if (!pending.made) continue;
    if (accepted) {
      memories_[i]->settle(pending.decoded, pending.all_positions
                                                ? std::span<const std::int64_t>()
                                                : std::span<const std::int64_t>(pending.positions));
      for (std::size_t j = 0; j < pending.change.size(); ++j) estimates_[i][j] += pending.change[j];
    } else {
      memories_[i]->undo();
    }
    pending.made = false;
    pending.change.clear();
  }
}

Bytes GatheredExchange::save() const {
  ByteWriter writer;
  writer.text(text());
  if (settings_.whole_start) writer.u8(begun_ ? 1 : 0);
  for (std::size_t i = 0; i < memories_.size(); ++i) {
    const Bytes memory = memories_[i] ? memories_[i]->save() : Bytes();
    writer.varint(memory.size());
    writer.append(memory);
    write_numbers(writer, estimates_[i]);
  }
  return sealed(std::move(writer));
}

void GatheredExchange::inherit(GradientExchange& before) {
  auto* other = dynamic_cast<GatheredExchange*>(&before);
  require(other != nullptr && other->memories_.size() == memories_.size(),
          "an exchange inherits from one of its kind");
  for (std::size_t i = 0; i < memories_.size(); ++i) {
    require(!other->pending_[i].made, "memories are inherited between steps");
    if (memories_[i] && !memories_[i]->form().estimator) memories_[i] = std::move(other->memories_[i]);
  }
}

void GatheredExchange::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.text(std::uint64_t{1} << 24) != text())
    fail(ErrorKind::usage, "is the state of another exchange", where,
         "resume with the settings that wrote it");
  if (settings_.whole_start) {
    const std::uint8_t begun = reader.u8();
    if (begun > 1) reader.corrupt("neither begun nor not begun");
    begun_ = begun == 1;
  }
  for (std::size_t i = 0; i < memories_.size(); ++i) {
    const ByteSpan memory = reader.take(reader.length(reader.remaining()));
    if (memories_[i]) {
      memories_[i]->restore(memory, where);
    } else if (!memory.empty()) {
      reader.corrupt("a memory where there is none");
    }
    estimates_[i] = read_numbers<float>(reader, estimates_[i].size());
  }
  reader.expect_end();
}

}  // namespace laconic
