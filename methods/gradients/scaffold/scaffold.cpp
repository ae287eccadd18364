#include "methods/gradients/scaffold/scaffold.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/saved_state.h"
#include "methods/method.h"

namespace laconic {
namespace {

FeedbackForm control_variate() {
  FeedbackForm form;
  form.estimator = true;
  return form;
}

}  // namespace

Scaffold::Scaffold(const FederatedRequest& request)
    : request_(request),
      whole_(request.tensors, "none", UpdateCodec::Scope::model, request.seed),
      wire_(request.tensors, request.clients, "two vectors"),
      memories_(control_variate(), request.clients, whole_.size()),
      x_(request.initial),
      c_(whole_.size(), 0.0f) {
  require(x_.size() == whole_.size(), "the initial point has the length of the model");
}

std::string Scaffold::text() const {
  return fmt::format("scaffold; {} local steps of {}, server rate {}; population {}", request_.local_steps,
                     request_.local_rate, request_.server_rate, request_.population);
}

Bytes Scaffold::broadcast(std::uint64_t round) const { return wire_.broadcast(round, {x_, c_}); }

ClientUpdate Scaffold::client_round(std::uint64_t round, int client, ByteSpan broadcast,
                                    LocalTraining& local) {
  std::vector<std::vector<float>> received = wire_.read_broadcast(broadcast, round, 2);
  const std::vector<float>& x = received[0];
  std::vector<float>& correction = received[1];  // c - c_i
  const std::span<const float> own = memories_.estimate(client);
  for (std::size_t j = 0; j < own.size(); ++j) correction[j] -= own[j];
  std::vector<float> change = x, gradient(x.size()), increment(x.size());
  ClientUpdate update;
  update.loss = local.run(change, correction, gradient);
  for (std::size_t j = 0; j < x.size(); ++j) change[j] -= x[j];
  update.refusal = not_finite(gradient, request_.tensors);
  if (update.refusal.empty()) update.refusal = not_finite(change, request_.tensors);
  if (!update.refusal.empty()) return update;
  memories_.make(client, gradient, increment);
  update.refusal = not_finite(increment, request_.tensors);
  if (!update.refusal.empty()) {
    memories_.undo(client);
    return update;
  }
  ByteWriter writer = wire_.begin_update({round, client, local.examples()});
  std::vector<float> ignored(x.size());
  whole_.encode(change, round, client, writer, ignored);
  whole_.encode(increment, round, client, writer, memories_.decoded(client));
  update.message = FederatedWire::sealed_update(std::move(writer));
  return update;
}

RoundOutcome Scaffold::server_round(std::uint64_t round, const std::vector<Bytes>& messages) {
  RoundOutcome outcome;
  std::vector<bool> arrived(static_cast<std::size_t>(request_.clients), false);
  std::vector<double> changes(x_.size(), 0.0), increments(x_.size(), 0.0);
  std::vector<float> change(x_.size()), increment(x_.size());
  double count = 0;
  outcome.rejected =
      wire_.for_each_update(round, messages, [&](const UpdateHeader& header, ByteReader& body) {
        whole_.decode(body, change);
        whole_.decode(body, increment);
        body.expect_end();
        for (std::size_t j = 0; j < x_.size(); ++j) {
          changes[j] += static_cast<double>(change[j]);
          increments[j] += static_cast<double>(increment[j]);
        }
        arrived[static_cast<std::size_t>(header.client)] = true;
        ++count;
      });
  if (count > 0) {
    std::vector<float> x(x_.size()), c(x_.size());
    for (std::size_t j = 0; j < x.size(); ++j) {
      x[j] = static_cast<float>(x_[j] + request_.server_rate * (changes[j] / count));
      c[j] = static_cast<float>(c_[j] + increments[j] / request_.population);
    }
    outcome.accepted = all_finite(x) && all_finite(c);
    if (outcome.accepted) {
      x_ = std::move(x);
      c_ = std::move(c);
    }
  }
  if (!outcome.accepted) arrived.assign(arrived.size(), false);
  memories_.settle(arrived);
  return outcome;
}

Bytes Scaffold::save() const {
  ByteWriter writer;
  writer.text(text());
  write_numbers(writer, x_);
  write_numbers(writer, c_);
  memories_.write(writer);
  return sealed(std::move(writer));
}

void Scaffold::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.text(1 << 16) != text())
    fail(ErrorKind::usage, "is the state of another algorithm", where, "resume with what wrote it");
  std::vector<float> x = read_numbers<float>(reader, x_.size()), c = read_numbers<float>(reader, c_.size());
  memories_.read(reader, where);
  reader.expect_end();
  x_ = std::move(x);
  c_ = std::move(c);
}

MethodDescription describe_scaffold() {
  MethodDescription method;
  method.slug = "scaffold";
  method.title = "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning";
  method.paper = "Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, ICML 2020, arXiv 1910.06378";
  method.subject = "gradients";
  method.summary = "federated training with control variates, two whole vectors up";
  method.federated = [](const FederatedRequest& request) { return std::make_unique<Scaffold>(request); };
  return method;
}

}  // namespace laconic
