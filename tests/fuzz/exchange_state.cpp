// Edits of what exchanges, optimizers, memories, federated algorithms and rounds of local steps save, with
// the checksum made right: refused, or a state that is written back as the same bytes and from which a next
// step can be taken.
#include <cstdlib>
#include <functional>
#include <span>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/saved_state.h"
#include "engine/exchange/round_reduction.h"
#include "engine/feedback/feedback.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "methods/gradients/training/local_state.h"
#include "tests/engine/exchange/exchange_step.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

constexpr std::size_t seal = 8;

// What is saved, without its checksum, and what is done with other bytes in its place.
struct Subject {
  std::string name;
  Bytes content;
  std::function<void(ByteSpan)> restore;  // throws, or has checked what it restored
};

const std::vector<TensorSlice>& tensors() {
  static const std::vector<TensorSlice> slices = {
      {"matrix", {9, 12}, 0, 108}, {"vector", {12}, 108, 12}, {"cube", {2, 3, 4}, 120, 24}};
  return slices;
}

std::vector<float> gradient_of(std::uint64_t step) {
  RandomStream random(1, "fuzz", "gradient", step);
  std::vector<float> gradient(layout_size(tensors()));
  for (float& value : gradient) value = random.gaussian();
  return gradient;
}

void expect_same(const Bytes& saved, ByteSpan restored) {
  if (!std::equal(saved.begin(), saved.end(), restored.begin(), restored.end())) std::abort();
}

Bytes without_seal(Bytes bytes) {
  if (bytes.size() >= seal) bytes.resize(bytes.size() - seal);
  return bytes;
}

struct Training {
  std::unique_ptr<GradientExchange> exchange;
  std::unique_ptr<Optimizer> optimizer;
};

Training training_of(const ExchangeCandidate& candidate, OptimizerSettings::Kind kind) {
  ExchangeRequest request;
  request.tensors = tensors();
  request.parameters = candidate.parameters;
  request.optimizer.kind = kind;
  request.optimizer.weight_decay = 0.01;
  request.steps = 10;
  request.bucket_bytes = 480;
  TrainingExchange made = candidate.exchange(request);
  Training training;
  training.exchange = std::move(made.exchange);
  training.optimizer =
      made.optimizer ? std::move(made.optimizer) : make_optimizer(request.optimizer, tensors());
  return training;
}

void one_step(Training& training, Communicator& communicator, std::uint64_t step) {
  std::vector<float> own = gradient_of(step), agreed, point(own.size(), 0.5f);
  for (std::size_t i = tensors().size(); i-- > 0;)
    training.optimizer->prepare(i, slice_of(std::span(own), tensors()[i]));
  if (exchange_step(*training.exchange, communicator, step, own, agreed))
    training.optimizer->apply(agreed, point, 0.01);
}

void add_training(std::vector<Subject>& subjects, Communicator& communicator, const std::string& name,
                  OptimizerSettings::Kind kind) {
  const ExchangeCandidate candidate = exchange_by_name(name);
  Training training = training_of(candidate, kind);
  for (std::uint64_t step = 1; step <= 4; ++step) one_step(training, communicator, step);
  const Bytes exchange = training.exchange->save(), optimizer = training.optimizer->save();
  if (!exchange.empty()) {
    subjects.push_back({name, without_seal(exchange), [=, &communicator](ByteSpan bytes) {
                          Training other = training_of(candidate, kind);
                          other.optimizer->restore(optimizer, "fuzz");
                          other.exchange->restore(bytes, "fuzz");
                          expect_same(other.exchange->save(), bytes);
                          one_step(other, communicator, 5);
                        }});
  }
  subjects.push_back({name + " optimizer", without_seal(optimizer), [=, &communicator](ByteSpan bytes) {
                        Training other = training_of(candidate, kind);
                        other.optimizer->restore(bytes, "fuzz");
                        expect_same(other.optimizer->save(), bytes);
                        other.exchange->restore(exchange, "fuzz");
                        one_step(other, communicator, 5);
                      }});
}

// Memories inside other states have checksums of their own: they are reached here.
void add_feedback(std::vector<Subject>& subjects) {
  FeedbackForm all;
  all.error = all.estimator = true;
  all.average = 0.5;
  FeedbackForm velocity;
  velocity.velocity = true;
  velocity.momentum = 0.9;
  for (const FeedbackForm& form : {all, velocity}) {
    Feedback memory(form, 12);
    std::vector<float> input = gradient_of(1), to_send(12);
    input.resize(12);
    memory.make(input, to_send);
    memory.settle(to_send);
    subjects.push_back({"feedback", without_seal(memory.save()), [=](ByteSpan bytes) {
                          Feedback other(form, 12);
                          other.restore(bytes, "fuzz");
                          expect_same(other.save(), bytes);
                        }});
  }
}

class QuadraticSteps : public LocalTraining {
 public:
  std::int64_t examples() const override { return 3; }
  double run(std::span<float> point, std::span<const float> correction,
             std::span<float> mean_gradient) override {
    for (std::size_t j = 0; j < point.size(); ++j) {
      const float gradient = point[j] - 1;
      point[j] -= 0.1f * (correction.empty() ? gradient : gradient + correction[j]);
      if (!mean_gradient.empty()) mean_gradient[j] = gradient;
    }
    return 1;
  }
};

std::unique_ptr<FederatedAlgorithm> algorithm_of(const MethodDescription& method) {
  FederatedRequest request;
  request.tensors = tensors();
  request.initial = gradient_of(0);
  request.parameters = Parameters(method.parameters);
  request.clients = request.population = 3;
  return method.federated(request);
}

void one_round(FederatedAlgorithm& algorithm, std::uint64_t round) {
  QuadraticSteps local;
  const Bytes down = algorithm.broadcast(round);
  std::vector<Bytes> messages;
  for (const int client : {0, 2}) {
    ClientUpdate update = algorithm.client_round(round, client, down, local);
    if (!update.message.empty()) messages.push_back(std::move(update.message));
  }
  algorithm.server_round(round, messages);
}

void add_federated(std::vector<Subject>& subjects, const MethodDescription& method) {
  const std::unique_ptr<FederatedAlgorithm> algorithm = algorithm_of(method);
  for (std::uint64_t round = 1; round <= 2; ++round) one_round(*algorithm, round);
  subjects.push_back({method.slug, without_seal(algorithm->save()), [&method](ByteSpan bytes) {
                        const std::unique_ptr<FederatedAlgorithm> other = algorithm_of(method);
                        other->restore(bytes, "fuzz");
                        one_round(*other, 3);
                      }});
}

std::unique_ptr<RoundRule> rule_of(const MethodDescription& method, const std::vector<float>& start) {
  LocalRequest request;
  request.tensors = tensors();
  request.buckets = buckets_of(tensors(), 480);
  request.parameters = Parameters(method.parameters);
  request.start = start;
  return method.local(request).rule;
}

void one_round(RoundRule& rule, std::int64_t round) {
  const std::vector<float> local = gradient_of(static_cast<std::uint64_t>(round));
  std::vector<float> contribution(local.size());
  const RoundPlace place{round, 0.1, 0.1};
  const ArrivedMean arrived{local, 1, true, 0.1};
  const bool late = rule.delay() > 0;
  rule.contribute(local, late && round > 0 ? &arrived : nullptr, place, contribution);
  rule.advance(late && round == 0 ? nullptr : &arrived, place);
}

void add_local(std::vector<Subject>& subjects, const MethodDescription& method) {
  const std::vector<float> start = gradient_of(0);
  const std::unique_ptr<RoundRule> rule = rule_of(method, start);
  LocalState state;
  for (; state.rounds < 2; ++state.rounds) one_round(*rule, state.rounds);
  state.tau = 12;
  state.path = 0.1;
  state.rule = rule->state();
  subjects.push_back({method.slug, without_seal(write_local_state(state)), [&method, start](ByteSpan bytes) {
                        const LocalState read = read_local_state(bytes, "fuzz");
                        expect_same(write_local_state(read), bytes);
                        const std::unique_ptr<RoundRule> other = rule_of(method, start);
                        other->set_state(read.rule, "fuzz");
                        one_round(*other, 2);
                      }});
}

void add_reduction(std::vector<Subject>& subjects) {
  static ThreadWorld world(1);
  static CommunicationThread thread([] { return world.communicator(0); });
  const auto made = [] {
    return std::make_unique<RoundReduction>(
        12, thread, [](Communicator&, std::uint64_t, std::span<const float> own, std::span<float> result) {
          std::copy(own.begin(), own.end(), result.begin());
          return true;
        });
  };
  const auto reduction = made();
  std::fill(reduction->contribution().begin(), reduction->contribution().end(), 0.5f);
  reduction->launch(3);
  reduction->drain();
  subjects.push_back({"reduction", without_seal(reduction->save()), [made](ByteSpan bytes) {
                        const auto other = made();
                        other->restore(bytes, "fuzz");
                        expect_same(other->save(), bytes);
                        if (other->pending()) other->wait();
                        other->launch(4);
                        other->wait();
                      }});
}

std::vector<Subject> all_subjects(Communicator& communicator) {
  std::vector<Subject> subjects;
  for (const std::string& name : exchange_names())
    add_training(subjects, communicator, name,
                 name == "onebit-adam" ? OptimizerSettings::Kind::adam : OptimizerSettings::Kind::sgd);
  add_training(subjects, communicator, "ef:outliers(fraction=0.1)", OptimizerSettings::Kind::adam);
  add_training(subjects, communicator, "ef-owners:uniform(bits=8)", OptimizerSettings::Kind::adam);
  for (const MethodDescription& method : method_registry()) {
    if (method.federated) add_federated(subjects, method);
    if (method.local) add_local(subjects, method);
  }
  add_reduction(subjects);
  add_feedback(subjects);
  return subjects;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ThreadWorld world(1);
  static const std::unique_ptr<Communicator> communicator = world.communicator(0);
  static const std::vector<Subject> subjects = all_subjects(*communicator);
  if (size < 1) return 0;
  const Subject& subject = subjects[data[0] % subjects.size()];
  Bytes content = subject.content;
  apply_edits(std::span(data, size).subspan(1), content);
  ByteWriter writer;
  writer.append(content);
  try {
    subject.restore(sealed(std::move(writer)));
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) std::abort();
  }
  return 0;
}
