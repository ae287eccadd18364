#include "methods/gradients/federated/update_averaging.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/saved_state.h"

namespace laconic {

UpdateAveraging::UpdateAveraging(const FederatedRequest& request, const UpdateAveragingForm& form)
    : request_(request),
      weighted_(form.weighted),
      error_feedback_(form.error_feedback),
      codec_(request.tensors, form.codec, form.scope, request.seed),
      wire_(request.tensors, request.clients, codec_.text()),
      memories_(form.error_feedback ? std::optional(plain_error_feedback()) : std::nullopt, request.clients,
                codec_.size()),
      x_(request.initial) {
  require(x_.size() == codec_.size(), "the initial point has the length of the model");
}

std::string UpdateAveraging::text() const {
  return fmt::format("averaging by {}{}; {}; {} local steps of {}, server rate {}",
                     weighted_ ? "examples" : "clients", error_feedback_ ? ", error feedback" : "",
                     codec_.text(), request_.local_steps, request_.local_rate, request_.server_rate);
}

Bytes UpdateAveraging::broadcast(std::uint64_t round) const { return wire_.broadcast(round, {x_}); }

ClientUpdate UpdateAveraging::client_round(std::uint64_t round, int client, ByteSpan broadcast,
                                           LocalTraining& local) {
  std::vector<float> x = std::move(wire_.read_broadcast(broadcast, round, 1)[0]);
  std::vector<float> change = x;
  ClientUpdate update;
  update.loss = local.run(change, {}, {});
  for (std::size_t j = 0; j < x.size(); ++j) change[j] -= x[j];
  update.refusal = not_finite(change, request_.tensors);
  if (!update.refusal.empty()) return update;
  std::vector<float> to_send(x.size());
  memories_.make(client, change, to_send);
  update.refusal = not_finite(to_send, request_.tensors);
  if (!update.refusal.empty()) {
    memories_.undo(client);
    return update;
  }
  try {
    ByteWriter writer = wire_.begin_update({round, client, local.examples()});
    codec_.encode(to_send, round, client, writer, memories_.decoded(client));
    update.message = FederatedWire::sealed_update(std::move(writer));
  } catch (const Error& error) {  // a codec refuses numbers it cannot scale
    if (error.kind() != ErrorKind::input) throw;
    memories_.undo(client);
    update.refusal = error.what();
  }
  return update;
}

RoundOutcome UpdateAveraging::server_round(std::uint64_t round, const std::vector<Bytes>& messages) {
  RoundOutcome outcome;
  std::vector<bool> arrived(static_cast<std::size_t>(request_.clients), false);
  std::vector<double> sum(x_.size(), 0.0);
  std::vector<float> change(x_.size());
  double weights = 0;
  outcome.rejected =
      wire_.for_each_update(round, messages, [&](const UpdateHeader& header, ByteReader& body) {
        codec_.decode(body, change);
        body.expect_end();
        const double weight = weighted_ ? static_cast<double>(header.examples) : 1.0;
        for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += weight * static_cast<double>(change[j]);
        weights += weight;
        arrived[static_cast<std::size_t>(header.client)] = true;
      });
  if (weights > 0) {
    std::vector<float> x(x_.size());
    for (std::size_t j = 0; j < sum.size(); ++j)
      x[j] = static_cast<float>(x_[j] + request_.server_rate * (sum[j] / weights));
    outcome.accepted = all_finite(x);
    if (outcome.accepted) x_ = std::move(x);
  }
  if (!outcome.accepted) arrived.assign(arrived.size(), false);
  memories_.settle(arrived);
  return outcome;
}

Bytes UpdateAveraging::save() const {
  ByteWriter writer;
  writer.text(text());
  write_numbers(writer, x_);
  memories_.write(writer);
  return sealed(std::move(writer));
}

void UpdateAveraging::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.text(1 << 16) != text())
    fail(ErrorKind::usage, "is the state of another algorithm", where, "resume with what wrote it");
  std::vector<float> x = read_numbers<float>(reader, x_.size());
  memories_.read(reader, where);
  reader.expect_end();
  x_ = std::move(x);
}

}  // namespace laconic
