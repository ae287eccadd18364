#include "engine/transport/reductions.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "engine/base/error.h"
#include "engine/tensor/dtype.h"
#include "engine/transport/collectives.h"

namespace laconic {
namespace {

std::size_t wrapped(int part, int ranks) { return static_cast<std::size_t>((part % ranks + ranks) % ranks); }

std::span<float> part_of(std::span<float> values, const std::vector<std::size_t>& bounds, std::size_t part) {
  return values.subspan(bounds[part], bounds[part + 1] - bounds[part]);
}

void check_bounds(std::span<const float> values, const std::vector<std::size_t>& bounds, int ranks) {
  require(bounds.size() == static_cast<std::size_t>(ranks) + 1 && bounds.front() == 0 &&
              bounds.back() == values.size() && std::is_sorted(bounds.begin(), bounds.end()),
          "parts cover the vector, one for each rank");
}

Bytes bytes_of(std::span<const float> values) {
  const auto* raw = reinterpret_cast<const std::byte*>(values.data());
  return {raw, raw + values.size_bytes()};
}

// A message that should be the numbers of a part.
void expect_size(ByteSpan bytes, std::size_t wanted, int from) {
  if (bytes.size() != wanted) {
    fail(ErrorKind::corrupt,
         "a message of " + std::to_string(bytes.size()) + " bytes where " + std::to_string(wanted) +
             " were expected",
         "from rank " + std::to_string(from), "do all ranks reduce vectors of the same length?");
  }
}

}  // namespace

std::vector<std::size_t> parts_of(std::size_t n, int ranks, std::size_t align) {
  require(ranks >= 1 && align >= 1, "there is a rank, and an alignment");
  const auto parts = static_cast<std::size_t>(ranks);
  const std::size_t units = (n + align - 1) / align;
  const std::size_t length = (units + parts - 1) / parts * align;
  std::vector<std::size_t> bounds = {0};
  for (std::size_t i = 1; i <= parts; ++i) bounds.push_back(std::min(n, i * length));
  return bounds;
}

int ring_part_of(int rank, int ranks) { return (rank + 1) % ranks; }

void reduce_scatter(Communicator& communicator, std::span<float> values,
                    const std::vector<std::size_t>& bounds) {
  const Communicator::Counting counting(communicator, Exchange::reduce_scatter);
  const int ranks = communicator.size(), rank = communicator.rank();
  check_bounds(values, bounds, ranks);
  const std::uint32_t tag = communicator.next_collective_tag();
  const int next = (rank + 1) % ranks, before = (rank - 1 + ranks) % ranks;
  for (int step = 0; step + 1 < ranks; ++step) {
    communicator.send(next, tag, bytes_of(part_of(values, bounds, wrapped(rank - step, ranks))));
    const std::span<float> own = part_of(values, bounds, wrapped(rank - step - 1, ranks));
    const Bytes arrived = communicator.receive(before, tag);
    expect_size(arrived, own.size_bytes(), before);
    for (std::size_t i = 0; i < own.size(); ++i) {
      float partial;
      std::memcpy(&partial, arrived.data() + i * sizeof(float), sizeof(float));
      own[i] = partial + own[i];
    }
  }
}

void all_reduce_sum(Communicator& communicator, std::span<float> values) {
  const Communicator::Counting counting(communicator, Exchange::all_reduce);
  const int ranks = communicator.size(), rank = communicator.rank();
  const std::vector<std::size_t> bounds = parts_of(values.size(), ranks);
  reduce_scatter(communicator, values, bounds);
  const std::uint32_t tag = communicator.next_collective_tag();
  const int next = (rank + 1) % ranks, before = (rank - 1 + ranks) % ranks;
  Bytes passing;
  for (int step = 0; step + 1 < ranks; ++step) {
    if (step == 0) passing = bytes_of(part_of(values, bounds, wrapped(rank + 1, ranks)));
    communicator.send(next, tag, std::move(passing));
    passing = communicator.receive(before, tag);
    const std::span<float> part = part_of(values, bounds, wrapped(rank - step, ranks));
    expect_size(passing, part.size_bytes(), before);
    if (!part.empty()) std::memcpy(part.data(), passing.data(), passing.size());
  }
}

void reduce_through_owners(Communicator& communicator, std::span<float> values,
                           const std::vector<std::size_t>& bounds, const OwnedReduction& reduction) {
  const Communicator::Counting counting(communicator, Exchange::all_reduce);
  const int ranks = communicator.size(), rank = communicator.rank();
  check_bounds(values, bounds, ranks);
  std::vector<Bytes> parts;
  for (int part = 0; part < ranks; ++part) {
    parts.push_back(reduction.encode_part(part, part_of(values, bounds, static_cast<std::size_t>(part))));
  }
  parts = all_to_all(communicator, std::move(parts));
  const std::size_t own_size = part_of(values, bounds, static_cast<std::size_t>(rank)).size();
  std::vector<float> sum(own_size), contribution(reduction.add_part ? 0 : own_size);
  for (int source = 0; source < ranks; ++source) {
    if (reduction.add_part) {
      reduction.add_part(source, rank, parts[static_cast<std::size_t>(source)], sum);
      continue;
    }
    reduction.decode_part(source, rank, parts[static_cast<std::size_t>(source)],
                          source == 0 ? sum : contribution);
    if (source == 0) continue;
    for (std::size_t i = 0; i < own_size; ++i) sum[i] += contribution[i];
  }
  const std::vector<Bytes> sums = all_gather(communicator, reduction.encode_sum(rank, sum));
  for (int part = 0; part < ranks; ++part) {
    reduction.decode_sum(part, sums[static_cast<std::size_t>(part)],
                         part_of(values, bounds, static_cast<std::size_t>(part)));
  }
}

void all_reduce_sum_bf16(Communicator& communicator, std::span<float> values) {
  const auto encode = [](std::span<const float> from) {
    Bytes bytes(from.size() * size_of(DType::bf16));
    convert_from_f32(from, DType::bf16, bytes.data());
    return bytes;
  };
  const auto decode = [](int from, ByteSpan bytes, std::span<float> to) {
    expect_size(bytes, to.size() * size_of(DType::bf16), from);
    convert_to_f32(DType::bf16, bytes.data(), to);
  };
  reduce_through_owners(
      communicator, values, parts_of(values.size(), communicator.size()),
      {[&](int, std::span<const float> part) { return encode(part); },
       [&](int source, int, ByteSpan bytes, std::span<float> to) { decode(source, bytes, to); },
       [&](int, std::span<const float> sum) { return encode(sum); },
       [&](int owner, ByteSpan bytes, std::span<float> to) { decode(owner, bytes, to); }});
}

}  // namespace laconic
