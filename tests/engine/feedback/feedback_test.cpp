#include "engine/feedback/feedback.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

using Vector = std::vector<float>;

// One step with a message made by `encode`: what was sent.
Vector step(Feedback& feedback, const Vector& input, const std::function<Vector(const Vector&)>& encode,
            float weight = 1) {
  Vector q(input.size());
  feedback.make(input, q, weight);
  Vector decoded = encode(q);
  std::vector<std::int64_t> sent;
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    if (decoded[i] != 0) sent.push_back(static_cast<std::int64_t>(i));
  }
  feedback.settle(decoded, sent);
  return decoded;
}

Vector top(const Vector& q, std::int64_t k) {
  Vector kept(q.size());
  for (const std::int64_t i : top_k(q, k)) kept[static_cast<std::size_t>(i)] = q[static_cast<std::size_t>(i)];
  return kept;
}
const auto top_one = [](const Vector& q) { return top(q, 1); };
const auto half = [](Vector q) {
  for (float& value : q) value /= 2;
  return q;
};

// Card 03, the worked example in one dimension: f = x^2 / 2, C(z) = z / 2, eta 1/2, gamma 1.
TEST(EControl, WorkedExampleOfCard03) {
  FeedbackForm form;
  form.error = form.estimator = true;
  form.eta = 0.5;
  Feedback feedback(form, 1);
  float x = 2, h = 0;
  const float wanted_d[] = {1, 0.25f, -0.5625f}, wanted_e[] = {1, 0.75f, -0.1875f},
              wanted_x[] = {1, -0.25f, -0.9375f};
  for (int t = 0; t < 3; ++t) {
    const Vector d = step(feedback, {x}, half);
    h += d[0];
    x -= h;
    EXPECT_FLOAT_EQ(d[0], wanted_d[t]);
    EXPECT_FLOAT_EQ(feedback.error()[0], wanted_e[t]);
    EXPECT_FLOAT_EQ(feedback.estimate()[0], h);
    EXPECT_FLOAT_EQ(x, wanted_x[t]);
  }
}

TEST(EControl, WithoutFeedbackItIsEf21BitForBit) {
  FeedbackForm econtrol, ef21;
  econtrol.error = econtrol.estimator = ef21.estimator = true;
  econtrol.eta = 0;
  Feedback a(econtrol, 50), b(ef21, 50);
  RandomStream random(1, "feedback", "ef21");
  for (int t = 0; t < 30; ++t) {
    Vector g(50);
    for (float& value : g) value = random.gaussian();
    const auto encode = [](const Vector& q) { return top(q, 5); };
    EXPECT_EQ(step(a, g, encode), step(b, g, encode));
  }
}

TEST(EControl, WhatIsOwedIsTheErrorAndIdentityOwesNothing) {
  FeedbackForm form;
  form.error = form.estimator = true;
  form.eta = 0.1;
  Feedback feedback(form, 20), exact(form, 20);
  RandomStream random(2, "feedback", "econtrol");
  std::vector<double> owed(20);
  for (int t = 0; t < 50; ++t) {
    Vector g(20), before(feedback.estimate().begin(), feedback.estimate().end());
    for (float& value : g) value = random.gaussian();
    const Vector d = step(feedback, g, [](const Vector& q) { return top(q, 2); });
    for (std::size_t i = 0; i < 20; ++i) owed[i] += static_cast<double>(g[i]) - before[i] - d[i];
    step(exact, g, [](const Vector& q) { return q; });
  }
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(feedback.error()[i], owed[i], 1e-4);
    EXPECT_EQ(exact.error()[i], 0);
  }
}

TEST(ErrorFeedback, NothingIsEverLost) {
  Feedback feedback(plain_error_feedback(), 100);
  RandomStream random(3, "feedback", "ef");
  std::vector<double> given(100), sent(100);
  for (int t = 0; t < 200; ++t) {
    Vector g(100);
    for (float& value : g) value = random.gaussian();
    const Vector d = step(feedback, g, [](const Vector& q) { return top(q, 3); });
    for (std::size_t i = 0; i < 100; ++i) given[i] += g[i], sent[i] += d[i];
  }
  for (std::size_t i = 0; i < 100; ++i) EXPECT_NEAR(sent[i] + feedback.error()[i], given[i], 1e-4);
}

// Card 07: n = 3, k = 1, m = 0.9.
TEST(Velocity, WorkedExampleOfCard07) {
  FeedbackForm form;
  form.velocity = true;
  form.momentum = 0.9;
  Feedback feedback(form, 3);
  EXPECT_EQ(step(feedback, {1, -0.5f, 0.2f}, top_one), (Vector{1, 0, 0}));
  Vector d = step(feedback, {0.1f, -0.6f, 0.2f}, top_one);
  EXPECT_FLOAT_EQ(d[1], -1.55f);
  d = step(feedback, {0.3f, 0.1f, 0.2f}, top_one);
  EXPECT_FLOAT_EQ(d[2], 1.122f);
  EXPECT_FLOAT_EQ(feedback.momentum()[0], 0.39f);
  EXPECT_FLOAT_EQ(feedback.momentum()[1], 0.1f);
  EXPECT_EQ(feedback.momentum()[2], 0);
  EXPECT_FLOAT_EQ(feedback.velocity()[0], 0.49f);
  EXPECT_FLOAT_EQ(feedback.velocity()[1], 0.1f);
  EXPECT_FLOAT_EQ(feedback.velocity()[2], 0);
}

TEST(Velocity, SentWholeItIsPlainSgdWithMaskingAndMomentumSgdWithout) {
  for (const bool masking : {true, false}) {
    for (const bool nesterov : {true, false}) {
      FeedbackForm form;
      form.velocity = true;
      form.momentum = 0.9;
      form.masking = masking;
      form.nesterov = nesterov;
      Feedback feedback(form, 4);
      RandomStream random(4, "feedback", "velocity");
      Vector momentum(4);
      for (int t = 0; t < 10; ++t) {
        Vector g(4), wanted(4);
        for (float& value : g) value = random.gaussian();
        for (std::size_t i = 0; i < 4; ++i) {
          if (masking) {
            wanted[i] = nesterov ? 0.9f * g[i] + g[i] : g[i];
          } else if (nesterov) {
            momentum[i] = 0.9f * (momentum[i] + g[i]);
            wanted[i] = momentum[i] + g[i];
          } else {
            momentum[i] = 0.9f * momentum[i] + g[i];
            wanted[i] = momentum[i];
          }
        }
        EXPECT_EQ(step(feedback, g, [](const Vector& q) { return q; }), wanted);
      }
    }
  }
}

TEST(Velocity, SentAndKeptAddUpToTheMomenta) {
  for (const bool masking : {true, false}) {
    FeedbackForm form;
    form.velocity = true;
    form.momentum = 0.9;
    form.masking = masking;
    Feedback feedback(form, 40);
    RandomStream random(5, "feedback", "conserved");
    std::vector<double> sent(40), momenta(40);
    for (int t = 0; t < 60; ++t) {
      Vector g(40), q(40);
      for (float& value : g) value = random.gaussian();
      feedback.make(g, q);
      for (std::size_t i = 0; i < 40; ++i) momenta[i] += feedback.momentum()[i];
      const std::vector<std::int64_t> positions = top_k(q, 2);
      Vector d(40);
      // Rounded values: the residue stays.
      for (const std::int64_t i : positions) {
        d[static_cast<std::size_t>(i)] = std::round(q[static_cast<std::size_t>(i)] * 16) / 16;
        sent[static_cast<std::size_t>(i)] += d[static_cast<std::size_t>(i)];
      }
      feedback.settle(d, positions);
    }
    for (std::size_t i = 0; i < 40; ++i) {
      EXPECT_NEAR(sent[i] + feedback.velocity()[i], momenta[i], 1e-5 * (1 + std::abs(momenta[i])) * 10);
    }
  }
}

TEST(Estimator, AveragedTargetMinusWhatIsKnown) {
  FeedbackForm scafcom;
  scafcom.estimator = true;
  scafcom.average = 0.25;
  Feedback feedback(scafcom, 1);
  EXPECT_FLOAT_EQ(step(feedback, {4}, half)[0], 0.5f);                // v = 1, c = 0
  EXPECT_FLOAT_EQ(step(feedback, {4}, half)[0], (1.75f - 0.5f) / 2);  // v = 1.75
  FeedbackForm scallion;
  scallion.estimator = true;
  scallion.damping = 0.1;
  Feedback damped(scallion, 1);
  EXPECT_FLOAT_EQ(step(damped, {4}, [](const Vector& q) { return q; })[0], 0.4f);
  EXPECT_FLOAT_EQ(step(damped, {4}, [](const Vector& q) { return q; })[0], 0.36f);
}

TEST(Feedback, UndoTakesTheStepBack) {
  for (const bool velocity : {true, false}) {
    FeedbackForm form;
    form.velocity = velocity;
    form.momentum = velocity ? 0.9 : 0;
    form.error = !velocity;
    form.average = 0.5;
    Feedback feedback(form, 3), wanted(form, 3);
    step(feedback, {1, 2, 3}, top_one);
    step(wanted, {1, 2, 3}, top_one);
    Vector q(3);
    feedback.make(Vector{7, 7, 7}, q);
    feedback.undo();
    EXPECT_EQ(feedback.save(), wanted.save());
  }
}

TEST(Feedback, SavedMemoriesGoOnTheSame) {
  FeedbackForm form;
  form.error = form.estimator = true;
  form.eta = 0.3;
  form.average = 0.5;
  Feedback feedback(form, 10);
  RandomStream random(6, "feedback", "save");
  const auto gradient = [&] {
    Vector g(10);
    for (float& value : g) value = random.gaussian();
    return g;
  };
  for (int t = 0; t < 5; ++t) step(feedback, gradient(), top_one);
  const Bytes saved = feedback.save();
  Feedback other(form, 10);
  other.restore(saved, "checkpoint");
  for (int t = 0; t < 5; ++t) {
    const Vector g = gradient();
    EXPECT_EQ(step(feedback, g, top_one), step(other, g, top_one));
  }
}

TEST(Feedback, ForeignAndDamagedMemoriesAreRefused) {
  FeedbackForm form = plain_error_feedback();
  Feedback feedback(form, 4);
  step(feedback, {1, 2, 3, 4}, top_one);
  const Bytes saved = feedback.save();
  const auto kind = [&](const FeedbackForm& wanted, std::size_t size, ByteSpan bytes) {
    try {
      Feedback(wanted, size).restore(bytes, "checkpoint");
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::internal;
  };
  FeedbackForm other;
  other.estimator = true;
  EXPECT_EQ(kind(other, 4, saved), ErrorKind::usage);
  EXPECT_EQ(kind(form, 5, saved), ErrorKind::usage);
  for (std::size_t bit = 0; bit < saved.size() * 8; ++bit) {
    Bytes flipped = saved;
    flipped[bit / 8] ^= std::byte(1 << (bit % 8));
    EXPECT_EQ(kind(form, 4, flipped), ErrorKind::corrupt) << "bit " << bit;
  }
  for (std::size_t length = 0; length < saved.size(); ++length) {
    EXPECT_EQ(kind(form, 4, ByteSpan(saved).first(length)), ErrorKind::corrupt);
  }
}

TEST(Feedback, FormsThatMakeNoSenseAreRefused) {
  const auto refused = [](auto change) {
    FeedbackForm form = plain_error_feedback();
    change(form);
    EXPECT_THROW(Feedback(form, 1), Error);
  };
  refused([](FeedbackForm& f) { f.eta = -0.1; });
  refused([](FeedbackForm& f) { f.eta = 1.1; });
  refused([](FeedbackForm& f) { f.eta = std::nan(""); });
  refused([](FeedbackForm& f) { f.average = 0; });
  refused([](FeedbackForm& f) { f.damping = 0.5; });
  refused([](FeedbackForm& f) { f.velocity = true; });
  refused([](FeedbackForm& f) { f.momentum = 1; });
}

}  // namespace
}  // namespace laconic
