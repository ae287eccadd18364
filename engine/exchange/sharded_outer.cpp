#include "engine/exchange/sharded_outer.h"

#include <algorithm>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

// By owner's part: rank r ends a ring reduce-scatter with part ring_part_of(r).
std::vector<std::vector<double>> shared_sums(Communicator& communicator, const std::vector<double>& own) {
  const std::vector<Bytes> all = all_gather(communicator, std::as_bytes(std::span(own)));
  std::vector<std::vector<double>> by_part(all.size(), std::vector<double>(own.size()));
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const Bytes& bytes = all[static_cast<std::size_t>(rank)];
    if (bytes.size() != own.size() * sizeof(double))
      fail(ErrorKind::corrupt, "sums of another length", "from rank " + std::to_string(rank));
    const auto part = static_cast<std::size_t>(ring_part_of(rank, communicator.size()));
    std::memcpy(by_part[part].data(), bytes.data(), bytes.size());
  }
  return by_part;
}

}  // namespace

ShardedOuter::ShardedOuter(const OuterForm& form, const std::vector<TensorSlice>& tensors,
                           const std::vector<Bucket>& buckets, int ranks, int rank,
                           std::span<const float> start)
    : buckets_(buckets),
      update_(form, tensors, bucket_parts(buckets, ranks), start, ring_part_of(rank, ranks)) {}

bool ShardedOuter::reduce(Communicator& communicator, std::span<const float> own, std::span<float> result,
                          RoundMean what, double rate_then, double rate_now) {
  const int ranks = communicator.size();
  std::copy(own.begin(), own.end(), result.begin());
  for (const Bucket& bucket : buckets_)
    reduce_scatter(communicator, result.subspan(bucket.offset, bucket.size), parts_of(bucket.size, ranks));
  std::vector<float> mean;
  mean.reserve(update_.kept());
  for (const NumberRun& run : update_.kept_runs()) {
    for (const float sum : result.subspan(run.offset, run.size))
      mean.push_back(sum / static_cast<float>(ranks));
  }
  // Before anything of the state changes.
  const bool accepted = agree(communicator, all_finite(mean) ? 1 : 0).least == 1;
  if (accepted) {
    step_ = update_.advance(mean, what, rate_then, rate_now,
                            [&](const std::vector<double>& sums) { return shared_sums(communicator, sums); });
  } else {
    update_.stay();
  }
  const std::vector<Bytes> points = all_gather(communicator, std::as_bytes(update_.point()));
  const std::vector<std::vector<NumberRun>> parts = bucket_parts(buckets_, ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    const Bytes& bytes = points[static_cast<std::size_t>(rank)];
    std::size_t at = 0;
    for (const NumberRun& run : parts[static_cast<std::size_t>(ring_part_of(rank, ranks))]) {
      if (at + run.size * sizeof(float) > bytes.size())
        fail(ErrorKind::corrupt, "a part of another length", "from rank " + std::to_string(rank));
      std::memcpy(result.data() + run.offset, bytes.data() + at, run.size * sizeof(float));
      at += run.size * sizeof(float);
    }
    if (at != bytes.size())
      fail(ErrorKind::corrupt, "a part of another length", "from rank " + std::to_string(rank));
  }
  return accepted;
}

}  // namespace laconic
