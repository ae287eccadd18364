#include "methods/gradients/federated/summing_algorithm.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/saved_state.h"

namespace laconic {

SummingAlgorithm::SummingAlgorithm(const FederatedRequest& request, const SummingForm& form)
    : request_(request),
      message_vectors_(form.message_vectors),
      codec_(request.tensors, form.codec, form.scope, request.seed),
      wire_(request.tensors, request.clients, form.agreed.empty() ? codec_.text() : form.agreed),
      memories_(form.memory, request.clients, codec_.size()),
      server_(form.server_vectors, std::vector<float>(codec_.size(), 0.0f)) {
  require(request.initial.size() == codec_.size(), "the initial point has the length of the model");
  server_.front() = request.initial;
}

double SummingAlgorithm::weight(std::int64_t) const { return 1; }

Bytes SummingAlgorithm::broadcast(std::uint64_t round) const { return wire_.broadcast(round, server_); }

ClientUpdate SummingAlgorithm::client_round(std::uint64_t round, int client, ByteSpan broadcast,
                                            LocalTraining& local) {
  const Trained trained =
      train(wire_.read_broadcast(broadcast, round, server_.size()), memories_.estimate(client), local);
  require(trained.sent.size() == message_vectors_, "a client sends the vectors of its algorithm");
  ClientUpdate update;
  update.loss = trained.loss;
  for (auto vector = trained.sent.rbegin(); vector != trained.sent.rend(); ++vector) {
    update.refusal = not_finite(*vector, request_.tensors);
    if (!update.refusal.empty()) return update;
  }
  std::vector<float> remembered(codec_.size());
  memories_.make(client, trained.sent.back(), remembered);
  update.refusal = not_finite(remembered, request_.tensors);
  if (update.refusal.empty()) {
    try {
      ByteWriter writer = wire_.begin_update({round, client, local.examples()});
      std::vector<float> ignored(message_vectors_ > 1 ? codec_.size() : 0);
      for (std::size_t i = 0; i + 1 < message_vectors_; ++i)
        codec_.encode(trained.sent[i], round, client, writer, ignored);
      codec_.encode(remembered, round, client, writer, memories_.decoded(client));
      update.message = FederatedWire::sealed_update(std::move(writer));
    } catch (const Error& error) {  // a codec refuses numbers it cannot scale
      if (error.kind() != ErrorKind::input) throw;
      update.refusal = error.what();
    }
  }
  if (!update.refusal.empty()) memories_.undo(client);
  return update;
}

RoundOutcome SummingAlgorithm::server_round(std::uint64_t round, const std::vector<Bytes>& messages) {
  RoundOutcome outcome;
  std::vector<bool> arrived(static_cast<std::size_t>(request_.clients), false);
  Vectors decoded(message_vectors_, std::vector<float>(codec_.size()));
  Sums sums;
  sums.of.assign(message_vectors_, std::vector<double>(codec_.size(), 0.0));
  outcome.rejected =
      wire_.for_each_update(round, messages, [&](const UpdateHeader& header, ByteReader& body) {
        for (std::vector<float>& vector : decoded) codec_.decode(body, vector);
        body.expect_end();
        const double own = weight(header.examples);
        for (std::size_t i = 0; i < decoded.size(); ++i) {
          for (std::size_t j = 0; j < decoded[i].size(); ++j)
            sums.of[i][j] += own * static_cast<double>(decoded[i][j]);
        }
        sums.weight += own;
        arrived[static_cast<std::size_t>(header.client)] = true;
      });
  if (sums.weight > 0) {
    Vectors moved = server_;
    move(sums, moved);
    outcome.accepted = std::all_of(moved.begin(), moved.end(),
                                   [](const std::vector<float>& vector) { return all_finite(vector); });
    if (outcome.accepted) server_ = std::move(moved);
  }
  if (!outcome.accepted) arrived.assign(arrived.size(), false);
  memories_.settle(arrived);
  return outcome;
}

Bytes SummingAlgorithm::save() const {
  ByteWriter writer;
  writer.text(text());
  for (const std::vector<float>& vector : server_) write_numbers(writer, vector);
  memories_.write(writer);
  return sealed(std::move(writer));
}

void SummingAlgorithm::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.text(1 << 16) != text())
    fail(ErrorKind::usage, "is the state of another algorithm", where, "resume with what wrote it");
  Vectors server;
  for (const std::vector<float>& vector : server_)
    server.push_back(read_numbers<float>(reader, vector.size()));
  ClientMemories memories = memories_.read(reader, where);
  reader.expect_end();
  server_ = std::move(server);
  memories_ = std::move(memories);
}

}  // namespace laconic
