// What federated algorithms share around their formulas when the server moves by the sum of what its clients
// send.
//
//   down      the server's vectors: x, and what stands beside it
//   client i  train(): one or more vectors; the last goes through the client's memory, all through the codec
//   server    move(): by the sums of what the messages that arrived decode to; kept when it is finite
//
// A client's memory is settled once the server has moved with its message, else taken back. State is the
// server's vectors and the memories.
#pragma once

#include <optional>

#include "methods/gradients/federated/client_memories.h"
#include "methods/gradients/federated/federated_algorithm.h"
#include "methods/gradients/federated/federated_message.h"
#include "methods/gradients/federated/update_codec.h"

namespace laconic {

struct SummingForm {
  std::string codec = "none";
  UpdateCodec::Scope scope = UpdateCodec::Scope::model;
  std::optional<FeedbackForm> memory;  // without one, what a client makes is what it sends
  std::size_t server_vectors = 1;      // x first; the others begin at zero
  std::size_t message_vectors = 1;
  std::string agreed;  // what messages carry the hash of; empty: the codec's text
};

class SummingAlgorithm : public FederatedAlgorithm {
 public:
  const std::vector<float>& point() const final { return server_.front(); }
  // Null for a client that has not taken part yet.
  const Feedback* memory(int client) const { return memories_.memory(client); }

  Bytes broadcast(std::uint64_t round) const final;
  ClientUpdate client_round(std::uint64_t round, int client, ByteSpan broadcast, LocalTraining& local) final;
  RoundOutcome server_round(std::uint64_t round, const std::vector<Bytes>& messages) final;
  Bytes save() const final;
  // Changes nothing unless all of it is read.
  void restore(ByteSpan bytes, std::string_view where) final;

 protected:
  using Vectors = std::vector<std::vector<float>>;
  struct Trained {
    double loss = 0;
    Vectors sent;
  };
  struct Sums {
    std::vector<std::vector<double>> of;  // by vector of a message, weighted
    double weight = 0;
  };

  SummingAlgorithm(const FederatedRequest& request, const SummingForm& form);

  // `received`: the server's vectors. `estimate`: of this client's memory; empty before its first round.
  virtual Trained train(Vectors received, std::span<const float> estimate, LocalTraining& local) const = 0;
  virtual double weight(std::int64_t examples) const;  // of a client's message: 1
  virtual void move(const Sums& sums, Vectors& server) const = 0;

  const FederatedRequest& request() const { return request_; }
  const UpdateCodec& codec() const { return codec_; }
  const std::vector<float>& server_vector(std::size_t index) const { return server_[index]; }

 private:
  FederatedRequest request_;
  std::size_t message_vectors_;
  UpdateCodec codec_;
  FederatedWire wire_;
  ClientMemories memories_;
  Vectors server_;
};

}  // namespace laconic
