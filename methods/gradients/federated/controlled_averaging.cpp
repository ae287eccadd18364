#include "methods/gradients/federated/controlled_averaging.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/saved_state.h"

namespace laconic {
namespace {

FeedbackForm control_form(const ControlledAveragingForm& form) {
  FeedbackForm feedback;
  feedback.estimator = true;
  feedback.damping = form.alpha;
  feedback.average = form.beta;
  return feedback;
}

}  // namespace

ControlledAveraging::ControlledAveraging(const FederatedRequest& request, const ControlledAveragingForm& form)
    : request_(request),
      feedback_(control_form(form)),
      codec_(request.tensors, form.codec, form.scope, request.seed),
      wire_(request.tensors, request.clients, codec_.text()),
      memories_(feedback_, request.clients, codec_.size()),
      x_(request.initial),
      c_(codec_.size(), 0.0f) {
  require(x_.size() == codec_.size(), "the initial point has the length of the model");
  const CodecProperties properties = codec_.properties();
  if (!properties.delta && !properties.omega) {
    fail(ErrorKind::usage, "is neither a contraction nor unbiased with a bounded variance", codec_.text(),
         "control variates need one of the two: outliers, qsgd, randk, ternary or natural, say");
  }
}

std::string ControlledAveraging::text() const {
  return fmt::format("controlled averaging, {}; {}; {} local steps of {}, server rate {}; population {}",
                     feedback_.text(), codec_.text(), request_.local_steps, request_.local_rate,
                     request_.server_rate, request_.population);
}

std::vector<std::string> ControlledAveraging::notes() const {
  const CodecProperties properties = codec_.properties();
  const bool damps = feedback_.damping < 1;
  if (damps && !properties.unbiased)
    return {codec_.text() + " is biased: damping alone is made for unbiased messages; scafcom fits it"};
  if (!damps && !properties.delta && properties.omega.value_or(0) >= 1) {
    return {
        fmt::format("{} may enlarge what it sends (omega {:.3g}) and nothing is damped: scallion with "
                    "alpha near {:.2g} fits it",
                    codec_.text(), *properties.omega, 1 / (1 + *properties.omega))};
  }
  return {};
}

Bytes ControlledAveraging::broadcast(std::uint64_t round) const { return wire_.broadcast(round, {x_, c_}); }

ClientUpdate ControlledAveraging::client_round(std::uint64_t round, int client, ByteSpan broadcast,
                                               LocalTraining& local) {
  std::vector<std::vector<float>> received = wire_.read_broadcast(broadcast, round, 2);
  std::vector<float>& y = received[0];
  std::vector<float>& correction = received[1];  // c - c_i
  const std::span<const float> own = memories_.estimate(client);
  for (std::size_t j = 0; j < own.size(); ++j) correction[j] -= own[j];
  std::vector<float> gradient(y.size());
  ClientUpdate update;
  update.loss = local.run(y, correction, gradient);
  update.refusal = not_finite(gradient, request_.tensors);
  if (!update.refusal.empty()) return update;
  std::vector<float> increment(y.size());
  memories_.make(client, gradient, increment);
  update.refusal = not_finite(increment, request_.tensors);
  if (!update.refusal.empty()) {
    memories_.undo(client);
    return update;
  }
  try {
    ByteWriter writer = wire_.begin_update({round, client, local.examples()});
    codec_.encode(increment, round, client, writer, memories_.decoded(client));
    update.message = FederatedWire::sealed_update(std::move(writer));
  } catch (const Error& error) {  // a codec refuses numbers it cannot scale
    if (error.kind() != ErrorKind::input) throw;
    memories_.undo(client);
    update.refusal = error.what();
  }
  return update;
}

RoundOutcome ControlledAveraging::server_round(std::uint64_t round, const std::vector<Bytes>& messages) {
  RoundOutcome outcome;
  std::vector<bool> arrived(static_cast<std::size_t>(request_.clients), false);
  std::vector<double> sum(x_.size(), 0.0);
  std::vector<float> increment(x_.size());
  double count = 0;
  outcome.rejected =
      wire_.for_each_update(round, messages, [&](const UpdateHeader& header, ByteReader& body) {
        codec_.decode(body, increment);
        body.expect_end();
        for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += static_cast<double>(increment[j]);
        arrived[static_cast<std::size_t>(header.client)] = true;
        ++count;
      });
  if (count > 0) {
    std::vector<float> x(x_.size()), c(x_.size());
    const double rate =
        request_.server_rate * request_.local_rate * static_cast<double>(request_.local_steps);
    for (std::size_t j = 0; j < sum.size(); ++j) {
      x[j] = static_cast<float>(x_[j] - rate * (sum[j] / count + c_[j]));
      c[j] = static_cast<float>(c_[j] + sum[j] / request_.population);
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

Bytes ControlledAveraging::save() const {
  ByteWriter writer;
  writer.text(text());
  write_numbers(writer, x_);
  write_numbers(writer, c_);
  memories_.write(writer);
  return sealed(std::move(writer));
}

void ControlledAveraging::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.text(1 << 16) != text())
    fail(ErrorKind::usage, "is the state of another algorithm", where, "resume with what wrote it");
  std::vector<float> x = read_numbers<float>(reader, x_.size()), c = read_numbers<float>(reader, c_.size());
  memories_.read(reader, where);
  reader.expect_end();
  x_ = std::move(x);
  c_ = std::move(c);
}

}  // namespace laconic
