// What travels between a federated server and its clients, and what clients remember: frames, bodies, the
// parameters they are chosen by, memories, and hostile bytes, which change nothing.
#include "methods/gradients/federated/federated_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/saved_state.h"
#include "methods/gradients/federated/client_memories.h"
#include "methods/gradients/federated/codec_parameters.h"
#include "methods/gradients/federated/controlled_averaging.h"
#include "methods/gradients/federated/update_averaging.h"
#include "methods/gradients/scaffold/scaffold.h"
#include "tests/methods/pulling_clients.h"

namespace laconic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ErrorKind kind_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.kind();
  }
  throw std::runtime_error("no error");
}

const std::vector<TensorSlice> two_tensors = {{"weight", {2}, 0, 2}, {"bias", {1}, 2, 1}};

TEST(FederatedWire, BroadcastsArriveAsTheyWereAndOnlyWhereTheyBelong) {
  const FederatedWire wire(two_tensors, 4, "qsgd");
  const std::vector<std::vector<float>> vectors = {{1, -2, 3}, {0, 0.5f, 1e-30f}};
  const Bytes message = wire.broadcast(7, vectors);
  EXPECT_EQ(message.size(), 1 + 4 + 2 * 3 * sizeof(float) + 4);
  EXPECT_EQ(wire.read_broadcast(message, 7, 2), vectors);
  EXPECT_EQ(kind_of([&] { wire.read_broadcast(message, 8, 2); }), ErrorKind::corrupt) << "another round";
  EXPECT_EQ(kind_of([&] { wire.read_broadcast(message, 7, 1); }), ErrorKind::corrupt) << "bytes too many";
  EXPECT_EQ(kind_of([&] { wire.read_broadcast(message, 7, 3); }), ErrorKind::corrupt) << "too few";
  const FederatedWire codec(two_tensors, 4, "outliers"), model({{"weight", {3}, 0, 3}}, 4, "qsgd");
  for (const FederatedWire& other : {codec, model})
    EXPECT_EQ(kind_of([&] { other.read_broadcast(message, 7, 2); }), ErrorKind::corrupt);
  for (std::size_t i = 0; i < message.size(); ++i) {
    Bytes damaged = message;
    damaged[i] ^= std::byte{1};
    EXPECT_EQ(kind_of([&] { wire.read_broadcast(damaged, 7, 2); }), ErrorKind::corrupt) << i;
    damaged.resize(i);
    EXPECT_EQ(kind_of([&] { wire.read_broadcast(damaged, 7, 2); }), ErrorKind::corrupt) << i;
  }
  const Bytes infinite = wire.broadcast(7, {{1, std::numeric_limits<float>::infinity(), 3}});
  EXPECT_EQ(kind_of([&] { wire.read_broadcast(infinite, 7, 1); }), ErrorKind::corrupt);
}

Bytes update_of(const FederatedWire& wire, const UpdateHeader& header, std::uint8_t body) {
  ByteWriter writer = wire.begin_update(header);
  writer.u8(body);
  return FederatedWire::sealed_update(std::move(writer));
}

TEST(FederatedWire, LeavesOutWhatIsNotOfThisRoundByName) {
  const FederatedWire wire(two_tensors, 4, "qsgd"), larger(two_tensors, 9, "qsgd"),
      other(two_tensors, 4, "outliers");
  Bytes damaged = update_of(wire, {5, 0, 1}, 1);
  damaged[2] ^= std::byte{8};
  const std::vector<Bytes> messages = {update_of(wire, {5, 3, 20}, 33),
                                       update_of(wire, {4, 0, 1}, 1),
                                       update_of(other, {5, 0, 1}, 1),
                                       update_of(larger, {5, 4, 1}, 1),
                                       update_of(wire, {5, 0, 0}, 1),
                                       damaged,
                                       Bytes(4),
                                       update_of(wire, {5, 1, 300}, 11),
                                       update_of(wire, {5, 3, 20}, 33)};
  std::vector<int> clients, bodies;
  std::vector<std::int64_t> examples;
  const std::vector<std::string> rejected =
      wire.for_each_update(5, messages, [&](const UpdateHeader& header, ByteReader& body) {
        EXPECT_EQ(header.round, 5u);
        clients.push_back(header.client);
        examples.push_back(header.examples);
        bodies.push_back(body.u8());
        body.expect_end();
      });
  EXPECT_THAT(clients, ElementsAre(3, 1));
  EXPECT_THAT(examples, ElementsAre(20, 300));
  EXPECT_THAT(bodies, ElementsAre(33, 11));
  EXPECT_THAT(rejected, ElementsAre(HasSubstr("of another round"), HasSubstr("of another model or codec"),
                                    HasSubstr("from a client that is not there"),
                                    HasSubstr("from a client without examples"), HasSubstr("a checksum"),
                                    HasSubstr("is too short"), HasSubstr("a second one of the same client")));
  EXPECT_THAT(rejected[0], HasSubstr("message 2 of round 5"));
}

TEST(FederatedWire, ABodyThatCannotBeReadDoesNotSpeakForItsClient) {
  const FederatedWire wire(two_tensors, 4, "qsgd");
  const std::vector<Bytes> messages = {update_of(wire, {1, 2, 1}, 0), update_of(wire, {1, 2, 1}, 1)};
  int taken = 0;
  const auto rejected = wire.for_each_update(1, messages, [&](const UpdateHeader&, ByteReader& body) {
    if (body.u8() == 0) body.corrupt("a body of zero");
    ++taken;
  });
  EXPECT_THAT(rejected, ElementsAre(HasSubstr("a body of zero")));
  EXPECT_EQ(taken, 1);
  const auto own_fault = [](const UpdateHeader&, ByteReader&) { fail(ErrorKind::internal, "ours"); };
  EXPECT_EQ(kind_of([&] { wire.for_each_update(1, messages, own_fault); }), ErrorKind::internal);
}

TEST(FederatedWire, NamesTheFirstTensorThatIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(not_finite(std::vector<float>{1, 2, 3}, two_tensors), "");
  EXPECT_EQ(not_finite(std::vector<float>{1, 2, nan}, two_tensors), "bias is not finite");
  EXPECT_EQ(not_finite(std::vector<float>{1, nan, nan}, two_tensors), "weight is not finite");
}

TEST(UpdateCodec, SeesTheModelAsOneRunOrTensorByTensor) {
  const std::vector<float> vector = {3, -2, 1};
  const auto decoded = [&](const char* composition, UpdateCodec::Scope scope) {
    const UpdateCodec codec(two_tensors, composition, scope, 1);
    ByteWriter writer;
    std::vector<float> own(3), read(3);
    codec.encode(vector, 1, 0, writer, own);
    ByteReader reader(writer.span());
    codec.decode(reader, read);
    reader.expect_end();
    EXPECT_EQ(own, read) << composition;
    return read;
  };
  const char* half = "outliers(fraction=0.5,dtype=f32)";
  EXPECT_THAT(decoded("none", UpdateCodec::Scope::model), ElementsAre(3, -2, 1));
  EXPECT_THAT(decoded("outliers(fraction=0.34,dtype=f32)", UpdateCodec::Scope::model), ElementsAre(3, 0, 0));
  EXPECT_THAT(decoded(half, UpdateCodec::Scope::tensor), ElementsAre(3, 0, 1)) << "one of each";
  const UpdateCodec none(two_tensors, "none", UpdateCodec::Scope::tensor, 1);
  ByteWriter infinite;
  for (const float value : {1.0f, 2.0f, std::numeric_limits<float>::infinity()}) infinite.f32(value);
  std::vector<float> read(3);
  ByteReader reader(infinite.span());
  EXPECT_EQ(kind_of([&] { none.decode(reader, read); }), ErrorKind::corrupt);
}

TEST(CodecParameters, ChooseTheCodecAndWhatItSees) {
  const std::vector<ParameterSpec> specs = update_codec_parameters("qsgd", "tensor");
  ASSERT_EQ(specs.size(), 2u);
  EXPECT_EQ(specs[0].name, "codec");
  EXPECT_EQ(specs[1].name, "scope");
  Parameters parameters(specs);
  EXPECT_EQ(parameters.text("codec"), "qsgd");
  EXPECT_EQ(update_scope(parameters), UpdateCodec::Scope::tensor);
  parameters.set("scope", "model");
  EXPECT_EQ(update_scope(parameters), UpdateCodec::Scope::model);
  EXPECT_EQ(update_scope(Parameters(update_codec_parameters("none", "model"))), UpdateCodec::Scope::model);
  EXPECT_EQ(kind_of([&] { Parameters(specs).set("scope", "layer"); }), ErrorKind::usage);
  EXPECT_EQ(kind_of([&] { Parameters(specs).set("codec", "qsgdd"); }), ErrorKind::usage);
}

std::vector<float> made(ClientMemories& memories, int client, const std::vector<float>& input) {
  std::vector<float> to_send(input.size());
  memories.make(client, input, to_send);
  return to_send;
}

void decodes_to(ClientMemories& memories, int client, const std::vector<float>& decoded) {
  std::copy(decoded.begin(), decoded.end(), memories.decoded(client).begin());
}

Bytes written(const ClientMemories& memories) {
  ByteWriter writer;
  memories.write(writer);
  return writer.take();
}

TEST(ClientMemories, SettlesWhatWasAcceptedAndForgetsTheRest) {
  ClientMemories memories(plain_error_feedback(), 3, 2);
  EXPECT_THAT(made(memories, 0, {1, 2}), ElementsAre(1, 2));
  decodes_to(memories, 0, {0, 2});
  EXPECT_THAT(made(memories, 2, {3, 4}), ElementsAre(3, 4));
  decodes_to(memories, 2, {0, 4});
  memories.settle({true, false, false});
  EXPECT_THAT(memories.memory(0)->error(), ElementsAre(1, 0));
  EXPECT_EQ(memories.memory(1), nullptr) << "did not take part";
  EXPECT_EQ(memories.memory(2), nullptr) << "as if it had not";
  // What is made next carries the error, and an undone round leaves it.
  const Bytes before = written(memories);
  EXPECT_THAT(made(memories, 0, {10, 10}), ElementsAre(11, 10));
  EXPECT_EQ(kind_of([&] { made(memories, 0, {10, 10}); }), ErrorKind::internal) << "once a round";
  EXPECT_EQ(kind_of([&] { memories.decoded(1); }), ErrorKind::internal);
  EXPECT_EQ(kind_of([&] { written(memories); }), ErrorKind::internal) << "between rounds only";
  memories.undo(0);
  EXPECT_EQ(written(memories), before);
  EXPECT_THAT(made(memories, 0, {0, 0}), ElementsAre(1, 0));
  memories.settle({false, false, false});
  EXPECT_EQ(written(memories), before);
}

TEST(ClientMemories, WithoutAFormNothingIsRemembered) {
  ClientMemories memories(std::nullopt, 2, 2);
  EXPECT_THAT(made(memories, 1, {1, 2}), ElementsAre(1, 2));
  decodes_to(memories, 1, {0, 0});
  memories.settle({true, true});
  EXPECT_EQ(memories.memory(1), nullptr);
  EXPECT_TRUE(memories.estimate(1).empty());
  EXPECT_EQ(written(memories), Bytes(1)) << "none";
  FeedbackForm senseless;
  senseless.average = 2;
  EXPECT_EQ(kind_of([&] { ClientMemories(senseless, 2, 2); }), ErrorKind::usage);
}

TEST(ClientMemories, AreReadAsTheyWereWrittenOrRefused) {
  FeedbackForm form;
  form.estimator = true;
  ClientMemories memories(form, 3, 2);
  EXPECT_TRUE(memories.estimate(1).empty());
  made(memories, 1, {1, 2});
  decodes_to(memories, 1, {1, 0});
  memories.settle({false, true, false});
  EXPECT_THAT(memories.estimate(1), ElementsAre(1, 0));
  const Bytes bytes = written(memories);
  const ClientMemories empty(form, 3, 2);
  const auto read_as = [](const ClientMemories& like, const Bytes& own) {
    ByteReader reader(own);
    ClientMemories read = like.read(reader, "state");
    reader.expect_end();
    return read;
  };
  EXPECT_EQ(written(read_as(empty, bytes)), bytes);
  EXPECT_EQ(empty.memory(1), nullptr);
  const auto refused = [&](const ClientMemories& like, const Bytes& own) {
    return kind_of([&] { read_as(like, own); });
  };
  EXPECT_EQ(refused(ClientMemories(form, 1, 2), bytes), ErrorKind::corrupt) << "no client 1";
  EXPECT_EQ(refused(ClientMemories(std::nullopt, 3, 2), bytes), ErrorKind::corrupt) << "none remembers";
  EXPECT_EQ(refused(ClientMemories(form, 3, 3), bytes), ErrorKind::usage) << "another length";
  EXPECT_EQ(refused(ClientMemories(plain_error_feedback(), 3, 2), bytes), ErrorKind::usage);
  Bytes twice = bytes;
  twice[0] = std::byte{2};
  twice.insert(twice.end(), bytes.begin() + 1, bytes.end());
  EXPECT_EQ(refused(empty, twice), ErrorKind::corrupt) << "two of one client";
  for (std::size_t i = 0; i < bytes.size(); ++i)
    EXPECT_EQ(refused(empty, Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(i))),
              ErrorKind::corrupt);
}

// Of all that is wrong with a state, nothing reaches the server's vectors or the memories.
TEST(FederatedState, ARefusedOneChangesNothing) {
  FederatedRequest request = two_numbers();
  request.clients = request.population = 3;
  UpdateAveragingForm averaging;
  averaging.codec = "outliers(fraction=0.5,dtype=f32)";
  averaging.error_feedback = true;
  ControlledAveragingForm controlled;
  controlled.beta = 0.5;
  const std::vector<std::function<std::unique_ptr<SummingAlgorithm>()>> algorithms = {
      [&] { return std::make_unique<UpdateAveraging>(request, averaging); },
      [&] { return std::make_unique<ControlledAveraging>(request, controlled); },
      [&] { return std::make_unique<Scaffold>(request); }};
  const auto content_of = [](const Bytes& state) {
    const ByteSpan content = unsealed(state, "state");
    return Bytes(content.begin(), content.end());
  };
  const auto sealed_again = [](const Bytes& content) {
    ByteWriter writer;
    writer.append(content);
    return sealed(std::move(writer));
  };
  std::vector<Bytes> states;
  for (const auto& make : algorithms) {
    const auto run = [&](std::vector<int> clients) {
      auto algorithm = make();
      IdentityGradient local(0.5f);
      for (std::uint64_t round = 1; round <= clients.size(); ++round) {
        const ClientUpdate update =
            algorithm->client_round(round, clients[round - 1], algorithm->broadcast(round), local);
        EXPECT_TRUE(algorithm->server_round(round, {update.message}).accepted);
      }
      return algorithm;
    };
    const auto stands = run({0, 1});
    const Bytes own = stands->save(), another = run({2, 1, 2})->save();
    Bytes content = content_of(another);
    std::vector<Bytes> corrupt;
    for (std::size_t size = 0; size < content.size(); ++size)
      corrupt.push_back(
          sealed_again(Bytes(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(size))));
    content.push_back(std::byte{0});
    corrupt.push_back(sealed_again(content));
    corrupt.push_back(another);
    corrupt.back()[another.size() / 2] ^= std::byte{1};
    for (const Bytes& state : corrupt) {
      const ErrorKind kind = kind_of([&] { stands->restore(state, "state"); });
      EXPECT_EQ(kind, ErrorKind::corrupt);
      ASSERT_EQ(stands->save(), own) << stands->text();
    }
    for (const Bytes& state : states)
      EXPECT_EQ(kind_of([&] { stands->restore(state, "state"); }), ErrorKind::usage) << "another algorithm's";
    EXPECT_EQ(stands->save(), own);
    EXPECT_EQ(stands->memory(2), nullptr);
    stands->restore(another, "state");
    EXPECT_EQ(stands->save(), another);
    EXPECT_EQ(stands->memory(0), nullptr);
    EXPECT_NE(stands->memory(2), nullptr);
    states.push_back(own);
  }
}

TEST(FederatedMessages, RejectsHostileMessagesAndGoesOnWithTheRest) {
  FederatedRequest request = two_numbers();
  request.clients = request.population = 3;
  ControlledAveragingForm form;
  ControlledAveraging algorithm(request, form);
  IdentityGradient local(0.5f);
  const Bytes down = algorithm.broadcast(1);
  std::vector<Bytes> messages;
  for (const int client : {0, 1}) messages.push_back(algorithm.client_round(1, client, down, local).message);
  // Everything but one whole message is left out, and the clients' memories with it.
  Bytes damaged = messages[1];
  damaged[8] ^= std::byte{1};
  const Bytes shorter(messages[1].begin(), messages[1].end() - 1);
  FederatedRequest other_request = two_numbers();
  other_request.clients = other_request.population = 9;
  ControlledAveraging other(other_request, form);
  const Bytes stranger = other.client_round(1, 8, other.broadcast(1), local).message;
  const Bytes early = other.client_round(2, 1, other.broadcast(2), local).message;
  ControlledAveraging fine(request, {1, 1, "qsgd", UpdateCodec::Scope::model});
  const Bytes another_codec = fine.client_round(1, 2, fine.broadcast(1), local).message;
  const RoundOutcome outcome = algorithm.server_round(
      1, {messages[0], messages[0], damaged, shorter, Bytes(), stranger, early, another_codec});
  EXPECT_TRUE(outcome.accepted);
  EXPECT_EQ(outcome.rejected.size(), 7u) << testing::PrintToString(outcome.rejected);
  EXPECT_NE(algorithm.memory(0), nullptr);
  EXPECT_EQ(algorithm.memory(1), nullptr) << "its message did not arrive";
  EXPECT_NEAR(algorithm.control()[0], 1.0 / 3, 1e-6) << "1/N in c";
  EXPECT_FLOAT_EQ(algorithm.point()[0], 0.5f) << "1/m in x";
  // Any cut or flipped byte.
  const Bytes whole = algorithm.client_round(2, 1, algorithm.broadcast(2), local).message;
  std::vector<Bytes> hostile;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    hostile.emplace_back(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(i));
    hostile.push_back(whole);
    hostile.back()[i] ^= std::byte{0x41};
  }
  const std::vector<float> x = algorithm.point();
  const RoundOutcome none = algorithm.server_round(2, hostile);
  EXPECT_FALSE(none.accepted);
  EXPECT_EQ(none.rejected.size(), hostile.size());
  EXPECT_EQ(algorithm.point(), x);
  EXPECT_EQ(algorithm.memory(1), nullptr);
}

}  // namespace
}  // namespace laconic
