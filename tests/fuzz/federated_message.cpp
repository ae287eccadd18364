// Bytes that reach a federated server or client: updates, broadcasts, saved states and label streams, each as
// any bytes and as edits of what a peer wrote. Checksums are made right, so that damage reaches the parsers
// behind them. Messages are left out by name and change nothing, the rest is refused as corrupt; what is
// accepted leaves finite numbers and memories that can be saved again.
#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/codec/codec.h"
#include "engine/codec/label_stream.h"
#include "methods/gradients/federated/controlled_averaging.h"
#include "methods/gradients/federated/federated_checkpoint.h"
#include "methods/gradients/federated/update_averaging.h"
#include "methods/gradients/scaffold/scaffold.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

constexpr std::size_t model_size = 40;
constexpr std::uint64_t first_round = 1, second_round = 2;
constexpr int own_client = 3;
const std::string settings = "task fuzz\nseed 1";

FederatedRequest request() {
  FederatedRequest request;
  request.tensors = {{"weight", {4, 8}, 0, 32}, {"bias", {8}, 32, 8}};
  request.initial.assign(model_size, 0.5f);
  request.clients = 6;
  request.population = 6;
  request.seed = 1;
  return request;
}

class Pull final : public LocalTraining {
 public:
  std::int64_t examples() const override { return 7; }
  double run(std::span<float> point, std::span<const float>, std::span<float> mean_gradient) override {
    RandomStream random(1, "fuzz", "gradient");
    for (std::size_t j = 0; j < point.size(); ++j) {
      const float gradient = random.gaussian();
      if (!mean_gradient.empty()) mean_gradient[j] = gradient;
      point[j] -= 0.1f * gradient;
    }
    return 1;
  }
};

std::unique_ptr<FederatedAlgorithm> algorithm(std::size_t kind) {
  UpdateAveragingForm averaging;
  ControlledAveragingForm controlled;
  switch (kind) {
    case 0:
      averaging.codec = "kmeans(clusters=3,prune=0.9)";
      averaging.scope = UpdateCodec::Scope::tensor;
      averaging.error_feedback = true;
      return std::make_unique<UpdateAveraging>(request(), averaging);
    case 1:
      return std::make_unique<UpdateAveraging>(request(), averaging);
    case 2:
      controlled.codec = "qsgd(bits=2,block=8)";
      controlled.alpha = 0.1;
      return std::make_unique<ControlledAveraging>(request(), controlled);
    case 3:
      controlled.codec = "outliers(fraction=0.1,dtype=f32)";
      controlled.beta = 0.2;
      return std::make_unique<ControlledAveraging>(request(), controlled);
    default:
      return std::make_unique<Scaffold>(request());
  }
}
constexpr std::size_t kinds = 5;

// What an honest peer of each kind writes, without the checksum.
struct Written {
  Bytes update, broadcast, state, checkpoint;
  Bytes whole_state;  // with it
};

Bytes without(Bytes bytes, std::size_t checksum) {
  bytes.resize(bytes.size() - checksum);
  return bytes;
}

template <class Checksum>
Bytes checked(Bytes bytes) {
  const auto sum = static_cast<Checksum>(xxh3_64(bytes));
  const auto* raw = reinterpret_cast<const std::byte*>(&sum);
  bytes.insert(bytes.end(), raw, raw + sizeof(sum));
  return bytes;
}

Written written(std::size_t kind) {
  const auto peer = algorithm(kind);
  Pull local;
  Written all;
  const Bytes down = peer->broadcast(first_round);
  if (!peer->server_round(first_round, {peer->client_round(first_round, own_client, down, local).message})
           .accepted) {
    std::abort();
  }
  all.whole_state = peer->save();
  FederatedState state;
  state.round = 1;
  state.algorithm = all.whole_state;
  all.checkpoint = without(federated_bytes(settings, state), sizeof(std::uint64_t));
  all.state = without(all.whole_state, sizeof(std::uint64_t));
  const Bytes broadcast = peer->broadcast(second_round);
  all.update =
      without(peer->client_round(second_round, own_client, broadcast, local).message, sizeof(std::uint32_t));
  all.broadcast = without(broadcast, sizeof(std::uint32_t));
  return all;
}

void expect_corrupt(const Error& error) {
  if (error.kind() != ErrorKind::corrupt) std::abort();
}

void expect_whole(const FederatedAlgorithm& algorithm) {
  if (algorithm.point().size() != model_size) std::abort();
  for (const float value : algorithm.point()) {
    if (!std::isfinite(value)) std::abort();
  }
}

void receive_update(FederatedAlgorithm& server, const Bytes& message) {
  const std::vector<float> before = server.point();
  // A copy of a message is a second one of its client.
  const RoundOutcome outcome = server.server_round(second_round, {message, message});
  if (outcome.rejected.empty()) std::abort();
  if (outcome.rejected.size() == 2 && (outcome.accepted || server.point() != before)) std::abort();
  expect_whole(server);
  server.save();
}

void receive_broadcast(FederatedAlgorithm& client, const Bytes& message) {
  Pull local;
  try {
    client.client_round(second_round, own_client, message, local);
  } catch (const Error& error) {
    expect_corrupt(error);
  }
}

void restore(FederatedAlgorithm& algorithm, const Bytes& state) {
  try {
    algorithm.restore(state, "fuzz");
    expect_whole(algorithm);
    if (algorithm.save() != state) {
      // Client memories may stand in another order; the state that is written is then the same again.
      const Bytes again = algorithm.save();
      algorithm.restore(again, "fuzz");
      if (algorithm.save() != again) std::abort();
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) expect_corrupt(error);  // usage: of another algorithm
  }
}

void read_checkpoint(const Bytes& bytes) {
  try {
    const FederatedState state = parse_federated(bytes, settings, "fuzz");
    if (parse_federated(federated_bytes(settings, state), settings, "fuzz").algorithm != state.algorithm)
      std::abort();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) expect_corrupt(error);  // usage: of other settings
  }
}

void read_labels(const Bytes& stream, std::size_t elements, int labels) {
  try {
    const std::vector<std::uint8_t> read = decode_labels(stream, elements, labels, "fuzz");
    if (read.size() != elements) std::abort();
    for (const std::uint8_t label : read) {
      if (label >= labels) std::abort();
    }
    if (decode_labels(encode_labels(read, labels), elements, labels, "fuzz") != read) std::abort();
  } catch (const Error& error) {
    expect_corrupt(error);
  }
}

Bytes labels_of(std::uint8_t form, std::size_t elements, int labels) {
  RandomStream random(1, "fuzz", "labels");
  std::vector<std::uint8_t> own(elements);
  for (std::uint8_t& label : own) {
    if (random.below(4) == 0) label = static_cast<std::uint8_t>(random.below(static_cast<unsigned>(labels)));
  }
  return encode_labels(own, labels, static_cast<LabelForm>(form % label_forms));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<Written, kinds> all = [] {
    set_decode_limit(1 << 16);
    std::array<Written, kinds> all;
    for (std::size_t kind = 0; kind < kinds; ++kind) all[kind] = written(kind);
    return all;
  }();
  if (size < 4) return 0;
  const bool edited = data[0] % 2 == 1;
  const int target = data[0] / 2 % 5;
  const std::span<const std::uint8_t> rest(data + 4, size - 4);
  const auto input = [&](Bytes own) {
    if (edited) {
      apply_edits(rest, own);
      return own;
    }
    const auto bytes = std::as_bytes(rest);
    return Bytes(bytes.begin(), bytes.end());
  };
  if (target == 4) {
    const int labels = 1 + data[1] % most_labels;
    const std::size_t elements = data[2];
    read_labels(input(labels_of(data[3], elements, labels)), elements, labels);
    return 0;
  }
  const std::size_t kind = data[1] % kinds;
  const auto peer = algorithm(kind);
  if (data[2] % 2 == 1) peer->restore(all[kind].whole_state, "fuzz");  // else a peer without memories
  if (target == 0) receive_update(*peer, checked<std::uint32_t>(input(all[kind].update)));
  if (target == 1) receive_broadcast(*peer, checked<std::uint32_t>(input(all[kind].broadcast)));
  if (target == 2) restore(*peer, checked<std::uint64_t>(input(all[kind].state)));
  if (target == 3) read_checkpoint(checked<std::uint64_t>(input(all[kind].checkpoint)));
  return 0;
}
