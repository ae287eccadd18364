// Federated optimisation as rounds: a server tells the sampled clients where it stands, each takes some local
// steps on examples of its own and answers with one message, and the server moves. Everything between the two
// is bytes.
//
//   down    = algorithm.broadcast(round)
//   update  = algorithm.client_round(round, client, down, local)     for every sampled client
//   outcome = algorithm.server_round(round, messages)                those that arrived, by client
//
// State is the server's (the point, control variates) and that of every client that has taken part. Nothing
// changes before server_round() accepts: the memories of clients are settled there with what their messages
// decode to, and those of rejected messages are as before.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/codec/codec.h"
#include "engine/exchange/tensor_layout.h"

namespace laconic {

struct FederatedRequest {
  std::vector<TensorSlice> tensors;
  std::vector<float> initial;
  Parameters parameters;                     // of the method
  int clients = 1;                           // have the numbers 0 .. clients - 1, of which
  int population = 1;                        // have examples and may be sampled: N of the formulas
  std::int64_t local_steps = 10;             // K
  double local_rate = 0.1, server_rate = 1;  // eta_l, eta_g
  std::uint64_t seed = 0;
};

// One client's examples in one round.
class LocalTraining {
 public:
  virtual ~LocalTraining() = default;
  virtual std::int64_t examples() const = 0;  // that the client has
  // K times y -= eta_l (g(y) + correction), from `point` and in place; an empty correction is none.
  // `mean_gradient` (may be empty) becomes the mean of the g. Returns the mean loss of the minibatches.
  virtual double run(std::span<float> point, std::span<const float> correction,
                     std::span<float> mean_gradient) = 0;
};

struct ClientUpdate {
  Bytes message;        // empty when the client reports that its round failed, and
  std::string refusal;  // why: a number that is not finite
  double loss = 0;
};

struct RoundOutcome {
  bool accepted = false;              // else nothing has changed
  std::vector<std::string> rejected;  // messages that were left out, and why
};

class FederatedAlgorithm {
 public:
  virtual ~FederatedAlgorithm() = default;
  // Everything that decides the numbers, but for the seed: checkpoints carry it.
  virtual std::string text() const = 0;
  // What a user should know about this choice of parameters; mostly empty.
  virtual std::vector<std::string> notes() const { return {}; }
  virtual const std::vector<float>& point() const = 0;

  // What one client receives. Rounds count from 1.
  virtual Bytes broadcast(std::uint64_t round) const = 0;
  // May be called for different clients at the same time.
  virtual ClientUpdate client_round(std::uint64_t round, int client, ByteSpan broadcast,
                                    LocalTraining& local) = 0;
  // The messages of this round's clients, in their order.
  virtual RoundOutcome server_round(std::uint64_t round, const std::vector<Bytes>& messages) = 0;

  // Between rounds. restore() throws Error(corrupt) on damage and Error(usage) on the state of another run.
  virtual Bytes save() const = 0;
  virtual void restore(ByteSpan bytes, std::string_view where) = 0;
};

}  // namespace laconic
