#include "engine/exchange/block_quantized_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/transport/tcp/reduction_form.h"
#include "engine/transport/tcp/ring_all_reduce.h"

namespace laconic {
namespace {

constexpr std::size_t chunk_checksum_size = 4;

std::string_view name_of_rounding(WireRounding rounding) {
  switch (rounding) {
    case WireRounding::nearest_even:
      return "nearest";
    case WireRounding::stochastic:
      return "stochastic";
    case WireRounding::truncate:
      return "truncated";
  }
  return {};
}

class BlockQuantizedExchange final : public GradientExchange {
 public:
  BlockQuantizedExchange(std::vector<TensorSlice> tensors, const BlockQuantizedSettings& settings)
      : GradientExchange(std::move(tensors), settings.bucket_bytes), settings_(settings) {
    check_quantization(settings.quantization);
    require(settings.quantization.kind != QuantizationKind::none, "numbers that travel as integers");
  }

  std::string text() const override {
    const Quantization& q = settings_.quantization;
    return fmt::format("{} of {} bits in blocks of {}, {}, {}",
                       q.kind == QuantizationKind::min_max ? "min-max" : "zero-point", q.bits, q.block,
                       name_of_rounding(q.rounding),
                       settings_.route == QuantizedRoute::ring ? "ring" : "direct");
  }

  bool exchange(Communicator& communicator, std::uint64_t step, std::size_t index, std::span<const float> own,
                std::span<float> agreed) override {
    require(communicator.size() == settings_.ranks && communicator.rank() == settings_.rank,
            "chunks were planned for these ranks");
    const Bucket& bucket = buckets()[index];
    const std::span<const float> input = own.subspan(bucket.offset, bucket.size);
    const std::span<float> values = agreed.subspan(bucket.offset, bucket.size);
    if (input.data() != values.data()) std::copy(input.begin(), input.end(), values.begin());
    if (settings_.ranks == 1) return all_finite(std::span<const float>(values));
    const RandomStream draws(settings_.quantization.seed, "block quantized exchange", std::to_string(index),
                             step, static_cast<std::uint16_t>(settings_.rank));
    const ReductionForm form(NumberType::f32, ReduceOp::avg, settings_.quantization,
                             static_cast<std::size_t>(settings_.ranks), draws);
    const Communicator::Counting counting(communicator, Exchange::all_reduce);
    Chunks chunks{*this,
                  communicator,
                  form,
                  values,
                  chunk_bounds(bucket.size, static_cast<std::size_t>(settings_.ranks)),
                  communicator.next_collective_tag()};
    const bool accepted =
        settings_.route == QuantizedRoute::ring ? chunks.around_the_ring() : chunks.through_owners();
    return accepted && all_finite(std::span<const float>(values));
  }

 private:
  using Wire = std::optional<Bytes>;  // nothing: some rank had a number that is not finite

  // One bucket on its way.
  struct Chunks {
    BlockQuantizedExchange& exchange;
    Communicator& communicator;
    const ReductionForm& form;
    std::span<float> values;
    std::vector<std::size_t> bounds;
    std::uint32_t tag;

    int ranks() const { return communicator.size(); }
    int rank() const { return communicator.rank(); }
    int around(int chunk) const { return (chunk % ranks() + ranks()) % ranks(); }
    std::size_t first(int chunk) const { return bounds[static_cast<std::size_t>(chunk)]; }
    std::size_t size(int chunk) const { return bounds[static_cast<std::size_t>(chunk) + 1] - first(chunk); }
    std::byte* numbers(int chunk) const {
      return std::as_writable_bytes(values.subspan(first(chunk), size(chunk))).data();
    }

    // What `make` writes of a chunk; nothing where a number is not finite.
    template <class Make>
    Wire made(int chunk, const Make& make) const {
      const Timing timing = exchange.encoding();
      Bytes wire(form.partial_bytes(size(chunk)));
      if (size(chunk) == 0) return wire;
      try {
        make(wire.data());
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::input) throw;
        return {};
      }
      return wire;
    }
    Wire own_part(int chunk) const {
      return made(chunk,
                  [&](std::byte* wire) { form.begin(numbers(chunk), first(chunk), size(chunk), wire); });
    }
    Wire folded(int chunk, const Wire& partial) const {
      if (!partial) return {};
      return made(chunk, [&](std::byte* wire) {
        form.fold(partial->data(), numbers(chunk), first(chunk), size(chunk), wire);
      });
    }
    // Of the owner; its own numbers become the mean that all hold.
    Wire finished(int chunk, const std::vector<const std::byte*>& parts) const {
      return made(chunk, [&](std::byte* wire) {
        form.finish(parts, numbers(chunk), first(chunk), size(chunk), numbers(chunk), wire);
      });
    }
    bool take(int chunk, const Wire& wire) const {
      const Timing timing = exchange.decoding();
      if (wire && size(chunk) > 0) form.take_result(wire->data(), size(chunk), numbers(chunk));
      return wire.has_value();
    }

    void send(int to, const Wire& wire) const {
      ByteWriter writer;
      writer.u8(wire ? 0 : 1);
      if (wire) writer.append(*wire);
      writer.u32(static_cast<std::uint32_t>(xxh3_64(writer.span())));
      communicator.send(to, tag, writer.take());
    }
    Wire receive(int from, int chunk) const {
      const Bytes message = communicator.receive(from, tag);
      const std::string where = fmt::format("chunk {} from rank {}", chunk, from);
      if (message.size() < 1 + chunk_checksum_size) fail(ErrorKind::corrupt, "is too short", where);
      const ByteSpan body = ByteSpan(message).first(message.size() - chunk_checksum_size);
      if (ByteReader(ByteSpan(message).last(chunk_checksum_size)).u32() !=
          static_cast<std::uint32_t>(xxh3_64(body)))
        fail(ErrorKind::corrupt, "has a checksum that does not fit its bytes", where);
      ByteReader reader(body, where);
      const std::uint8_t refused = reader.u8();
      if (refused > 1) reader.corrupt("neither a chunk nor a refusal");
      Wire wire;
      if (refused == 0) {
        const ByteSpan blocks = reader.take(form.partial_bytes(size(chunk)));
        wire.emplace(blocks.begin(), blocks.end());
      }
      reader.expect_end();
      return wire;
    }

    bool around_the_ring() const {
      const int next = around(rank() + 1), before = around(rank() - 1);
      Wire travelling = own_part(rank());
      for (int step = 0; step + 1 < ranks(); ++step) {
        send(next, travelling);
        const int chunk = around(rank() - step - 1);
        travelling = receive(before, chunk);
        if (step + 2 < ranks()) {
          travelling = folded(chunk, travelling);
        } else if (travelling) {
          travelling = finished(chunk, {travelling->data(), nullptr});
        }
      }
      bool accepted = travelling.has_value();
      for (int step = 0; step + 1 < ranks(); ++step) {
        send(next, travelling);
        const int chunk = around(rank() - step);
        travelling = receive(before, chunk);
        accepted = take(chunk, travelling) && accepted;
      }
      return accepted;
    }

    bool through_owners() const {
      for (int step = 1; step < ranks(); ++step) {
        const int owner = around(rank() + step);
        send(owner, own_part(owner));
      }
      std::vector<Wire> wires(static_cast<std::size_t>(ranks()));
      std::vector<const std::byte*> parts;
      bool whole = true;
      for (int from = 0; from < ranks(); ++from) {
        Wire& wire = wires[static_cast<std::size_t>(from)];
        if (from != rank()) {
          wire = receive(from, rank());
          whole = whole && wire;
        }
        parts.push_back(wire ? wire->data() : nullptr);
      }
      const Wire mean = whole ? finished(rank(), parts) : Wire();
      for (int step = 1; step < ranks(); ++step) send(around(rank() + step), mean);
      bool accepted = mean.has_value();
      for (int step = 1; step < ranks(); ++step) {
        const int owner = around(rank() - step);
        accepted = take(owner, receive(owner, owner)) && accepted;
      }
      return accepted;
    }
  };

  BlockQuantizedSettings settings_;
};

}  // namespace

std::unique_ptr<GradientExchange> block_quantized_exchange(std::vector<TensorSlice> tensors,
                                                           const BlockQuantizedSettings& settings) {
  return std::make_unique<BlockQuantizedExchange>(std::move(tensors), settings);
}

}  // namespace laconic
