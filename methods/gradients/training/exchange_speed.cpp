#include "methods/gradients/training/exchange_speed.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/exchange/overlapped_exchange.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

// Square matrices with a bias each, as a network has them, until the numbers are used up.
std::vector<TensorSlice> model_tensors(std::size_t numbers) {
  std::vector<TensorSlice> tensors;
  std::size_t offset = 0;
  const std::int64_t side = 1024;
  const auto add = [&](std::string name, Shape shape) {
    const auto size = static_cast<std::size_t>(element_count(shape));
    tensors.push_back({std::move(name), std::move(shape), offset, size});
    offset += size;
  };
  int layer = 0;
  while (offset < numbers) {
    const auto left = static_cast<std::int64_t>(numbers - offset);
    const std::int64_t rows = std::clamp<std::int64_t>(left / side, 1, side);
    add("layer" + std::to_string(layer) + ".weight", {rows, side});
    if (offset < numbers) add("layer" + std::to_string(layer) + ".bias", {rows});
    ++layer;
  }
  return tensors;
}

// Gaussian numbers times a scale of each tensor's own: few are large, as in gradients.
std::vector<float> gradient_of(const std::vector<TensorSlice>& tensors, int rank) {
  std::vector<float> gradient(layout_size(tensors));
  for (const TensorSlice& tensor : tensors) {
    RandomStream random(1, "exchange speed", tensor.name, 0, static_cast<std::uint16_t>(rank));
    const auto scale = static_cast<float>(std::exp(2.0 * random.gaussian()));
    for (std::size_t i = 0; i < tensor.size; ++i) {
      const float x = random.gaussian();
      gradient[tensor.offset + i] = scale * x * x * x;
    }
  }
  return gradient;
}

double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double copy_seconds(std::span<const float> from, std::vector<float>& to) {
  const double begin = steady_seconds();
  std::memcpy(to.data(), from.data(), from.size_bytes());
  return steady_seconds() - begin;
}

}  // namespace

std::vector<ExchangeSpeed> measure_exchanges(const ExchangeSpeedOptions& options,
                                             const ProgressListener& listener) {
  if (options.workers < 2) fail(ErrorKind::usage, "an exchange has at least two workers", "--workers");
  std::vector<ExchangeCandidate> candidates;
  for (const std::string& name : options.exchanges.empty() ? exchange_names() : options.exchanges)
    candidates.push_back(step_exchange_by_name(name));
  const std::vector<TensorSlice> tensors = model_tensors(options.numbers);
  std::vector<std::vector<float>> gradients;
  for (int rank = 0; rank < options.workers; ++rank) gradients.push_back(gradient_of(tensors, rank));

  std::vector<ExchangeSpeed> speeds;
  Progress progress(listener, "exchanges",
                    static_cast<std::int64_t>(candidates.size() * options.bucket_bytes.size()));
  for (const ExchangeCandidate& candidate : candidates) {
    for (const std::size_t bucket_bytes : options.bucket_bytes) {
      throw_if_interrupted();
      ExchangeSpeed speed;
      run_training_ranks(options.workers, [&](CommunicationThread& thread) {
        ExchangeRequest request;
        request.tensors = tensors;
        request.parameters = candidate.parameters;
        request.optimizer.momentum = 0;
        request.ranks = thread.size();
        request.rank = thread.rank();
        // Warm-ups end with the first round, which is not counted: what is measured is the compressed step.
        request.steps = static_cast<std::uint64_t>(options.rounds) + 1;
        request.steps_per_epoch = 1;
        request.bucket_bytes = bucket_bytes;
        const TrainingExchange made = candidate.exchange(request);
        OverlappedExchange overlapped(*made.exchange, thread);
        const std::vector<float>& gradient = gradients[static_cast<std::size_t>(thread.rank())];
        std::vector<float> own = gradient, agreed(gradient.size()), copy(gradient.size()),
                           point(gradient.size());
        std::vector<double> encode, decode, total, copied;
        std::uint64_t sent = 0;
        for (int round = 0; round <= options.rounds; ++round) {  // the first one warms up
          own = gradient;
          if (made.optimizer) {
            for (std::size_t i = 0; i < tensors.size(); ++i)
              made.optimizer->prepare(i, slice_of(std::span(own), tensors[i]));
          }
          thread.run("together", [](Communicator& communicator) { barrier(communicator); });
          const CodecSeconds before = made.exchange->codec_seconds();
          const Traffic traffic = thread.traffic();
          const double begin = steady_seconds();
          overlapped.begin(static_cast<std::uint64_t>(round) + 1, own, agreed);
          if (!overlapped.end()) fail(ErrorKind::internal, "a finite gradient was refused", candidate.name);
          const double seconds = steady_seconds() - begin;
          sent = (thread.traffic() - traffic).sent_bytes;
          const CodecSeconds after = made.exchange->codec_seconds();
          if (made.optimizer) made.optimizer->apply(agreed, point, 1e-3);
          if (round == 0) continue;
          total.push_back(seconds);
          encode.push_back(after.encode - before.encode);
          decode.push_back(after.decode - before.decode);
          if (thread.rank() == 0) copied.push_back(copy_seconds(gradient, copy));
        }
        if (thread.rank() != 0) return;
        speed.exchange = candidate.name;
        speed.bucket_bytes = bucket_bytes;
        speed.buckets = made.exchange->buckets().size();
        speed.sent_bytes = sent;
        speed.encode = middle(encode);
        speed.decode = middle(decode);
        speed.total = middle(total);
        speed.transfer = std::max(0.0, speed.total - speed.encode - speed.decode);
        speed.copy = middle(copied);
      });
      const double dense =
          2.0 * (options.workers - 1) / options.workers * 4 * static_cast<double>(gradients.front().size());
      speed.ratio = speed.sent_bytes > 0 ? dense / static_cast<double>(speed.sent_bytes) : 0;
      speeds.push_back(std::move(speed));
      progress.advance();
    }
  }
  return speeds;
}

}  // namespace laconic
