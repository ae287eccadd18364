// Row-wise squared output gradients beside central differences of the float64 reference model: a bias added
// to one output of one layer moves the loss by the gradient of that output, summed over tokens. Windows of
// two tokens have one position, so there the sum is the gradient itself.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "engine/base/error.h"
#include "lab_models.h"
#include "methods/lab_plugin.h"
#include "methods/weights/row_importance.h"

namespace laconic {
namespace {

using reference::Description;
using reference::Weights;

// Nats of the targets of a window.
double loss(const Description& description, const Weights& weights, const std::vector<std::int32_t>& window) {
  const std::vector<int> inputs(window.begin(), window.end() - 1);
  const std::vector<double> logits = reference::logits(description, weights, inputs);
  const auto vocabulary = static_cast<std::size_t>(description.vocabulary);
  double nats = 0;
  for (std::size_t t = 0; t < inputs.size(); ++t) {
    const double* row = logits.data() + t * vocabulary;
    double top = row[0], sum = 0;
    for (std::size_t v = 0; v < vocabulary; ++v) top = std::max(top, row[v]);
    for (std::size_t v = 0; v < vocabulary; ++v) sum += std::exp(row[v] - top);
    nats += top + std::log(sum) - row[static_cast<std::size_t>(window[t + 1])];
  }
  return nats;
}

std::string bias_name(std::int64_t layer, LinearSlot slot) {
  const std::string weight = linear_name(layer, slot);
  return weight.substr(0, weight.size() - std::string("weight").size()) + "bias";
}

class OutputGradientsTest : public testing::Test {
 protected:
  OutputGradientsTest() : weights_(reference::random_weights(description_, 11, DType::f32)) {
    reference::write_model(directory(), description_, weights_, DType::f32, biased_llama_keys);
  }
  fs::path directory() const { return folder_.path() / "model"; }
  std::vector<std::int32_t> window(int tokens, std::uint64_t seed) const {
    return random_tokens(description_.vocabulary, tokens, seed);
  }
  double difference(const std::vector<std::int32_t>& tokens, std::int64_t layer, LinearSlot slot,
                    std::size_t row) const {
    constexpr double step = 1e-4;
    Weights moved = weights_;
    double& bias = moved.at(bias_name(layer, slot))[row];
    const double start = bias;
    bias = start + step;
    const double up = loss(description_, moved, tokens);
    bias = start - step;
    return (up - loss(description_, moved, tokens)) / (2 * step);
  }

  TemporaryFolder folder_;
  Description description_ = biased_llama();
  Weights weights_;
};

TEST_F(OutputGradientsTest, OnePositionAgreesWithCentralDifferences) {
  const std::vector<std::vector<std::int32_t>> windows = {window(2, 1), window(2, 2)};
  const OutputGradients found = load_lab().output_gradients(directory(), windows);
  EXPECT_EQ(found.tokens, 2);
  ASSERT_EQ(found.squared.size(), static_cast<std::size_t>(description_.layers));
  double largest = 0;
  for (std::int64_t layer = 0; layer < description_.layers; ++layer) {
    for (int i = 0; i < linear_slots; ++i) {
      const auto slot = static_cast<LinearSlot>(i);
      const std::vector<double>& rows =
          found.squared[static_cast<std::size_t>(layer)][static_cast<std::size_t>(i)];
      double scale = 0;
      for (const double value : rows) scale = std::max(scale, value);
      largest = std::max(largest, scale);
      for (std::size_t row = 0; row < rows.size(); ++row) {
        double wanted = 0;
        for (const auto& tokens : windows) {
          const double gradient = difference(tokens, layer, slot, row);
          wanted += gradient * gradient / 2;
        }
        // With one position, attention has one key: queries and keys change nothing.
        if (slot == LinearSlot::q || slot == LinearSlot::k) {
          EXPECT_LT(rows[row], 1e-12);
        } else {
          EXPECT_NEAR(rows[row], wanted, 1e-3 * scale + 1e-12) << linear_name(layer, slot) << " row " << row;
        }
      }
    }
  }
  EXPECT_GT(largest, 1e-4) << "gradients near zero would agree whatever they are";
}

// Of one window with p positions, (sum of gradients)^2 <= p * sum of squares, for queries and keys too.
TEST_F(OutputGradientsTest, SquaresOfLongWindowsBoundTheDifferences) {
  const std::vector<std::int32_t> tokens = window(4, 3);
  const OutputGradients found = load_lab().output_gradients(directory(), {tokens});
  EXPECT_EQ(found.tokens, 3);
  int close = 0, rows_seen = 0;
  for (std::int64_t layer = 0; layer < description_.layers; ++layer) {
    for (int i = 0; i < linear_slots; ++i) {
      const auto slot = static_cast<LinearSlot>(i);
      const std::vector<double>& rows =
          found.squared[static_cast<std::size_t>(layer)][static_cast<std::size_t>(i)];
      for (std::size_t row = 0; row < rows.size(); ++row) {
        const double sum = difference(tokens, layer, slot, row);
        const double squares = 3 * rows[row];  // summed over the window
        EXPECT_LE(sum * sum, 3 * squares * (1 + 1e-3) + 1e-12) << linear_name(layer, slot) << " " << row;
        close += sum * sum > 0.3 * squares;
        ++rows_seen;
      }
    }
  }
  // The bound is no accident of large numbers: many rows come near it.
  EXPECT_GT(close, rows_seen / 4);
}

TEST_F(OutputGradientsTest, WindowsAreAveragedByTokens) {
  const std::vector<std::int32_t> a = window(12, 4), b = window(5, 5);
  const OutputGradients both = load_lab().output_gradients(directory(), {a, b});
  const OutputGradients first = load_lab().output_gradients(directory(), {a});
  const OutputGradients second = load_lab().output_gradients(directory(), {b});
  EXPECT_EQ(both.tokens, 15);
  for (std::size_t i = 0; i < linear_slots; ++i) {
    for (std::size_t row = 0; row < both.squared[1][i].size(); ++row) {
      const double wanted = (11 * first.squared[1][i][row] + 4 * second.squared[1][i][row]) / 15;
      EXPECT_NEAR(both.squared[1][i][row], wanted, 1e-12 + 1e-9 * wanted);
    }
  }
}

// What weight methods ask for, by the name of the weight tensor.
TEST_F(OutputGradientsTest, RowImportanceAgreesWithCentralDifferences) {
  const std::vector<std::int32_t> tokens = window(2, 6);
  const RowImportance importance = RowImportance::measure(directory(), {tokens});
  EXPECT_EQ(importance.tokens(), 1);
  for (std::int64_t layer = 0; layer < description_.layers; ++layer) {
    for (const LinearSlot slot : {LinearSlot::v, LinearSlot::o, LinearSlot::gate, LinearSlot::up}) {
      const std::span<const float> rows = importance.of(linear_name(layer, slot));
      double scale = 0;
      for (const float value : rows) scale = std::max(scale, static_cast<double>(value));
      EXPECT_GT(scale, 0);
      for (std::size_t row = 0; row < rows.size(); ++row) {
        const double gradient = difference(tokens, layer, slot, row);
        EXPECT_NEAR(rows[row], gradient * gradient, 1e-3 * scale) << linear_name(layer, slot) << " " << row;
      }
    }
  }
  EXPECT_TRUE(importance.of("model.embed_tokens.weight").empty());
}

TEST_F(OutputGradientsTest, RefusesWindowsWithoutTargets) {
  EXPECT_THROW(load_lab().output_gradients(directory(), {{1}}), Error);
  EXPECT_THROW(load_lab().output_gradients(directory(), {}), Error);
  EXPECT_THROW(load_lab().output_gradients(directory(), {{1, description_.vocabulary}}), Error);
}

}  // namespace
}  // namespace laconic
