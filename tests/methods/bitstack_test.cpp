// Card 22: the order of blocks, budgets, scaling modes, and the method from model to artefact.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/absolute_value_decomposition.h"
#include "methods/method.h"
#include "methods/weights/bitstack/decompose.h"
#include "methods/weights/bitstack/order.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/stack_artifact.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/methods/small_language_model.h"

namespace laconic {
namespace {

using bitstack::Layer;
using bitstack::Scores;
using testing::HasSubstr;

template <class Call>
std::pair<ErrorKind, std::string> thrown(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  return {ErrorKind::internal, "nothing was thrown"};
}

std::vector<Layer> three_layers() {
  return {{"a", 3, {10, 10, 10}}, {"b", 3, {20, 20, 20}}, {"c", 3, {5, 5, 5}}};
}

TEST(BlockOrder, SortsWithinALevelAndKeepsModelOrderOnTies) {
  const Scores scores = {{5, 3, 3}, {1, 2, 0.5}};
  const std::vector<StackPlace> expected = {{"a", 0}, {"b", 0}, {"c", 0}, {"b", 1}, {"c", 1},
                                            {"a", 1}, {"c", 2}, {"a", 2}, {"b", 2}};
  EXPECT_EQ(bitstack::level_order(three_layers(), scores), expected);
}

TEST(BlockOrder, ALayerIsNeverMoreThanOneBlockAhead) {
  const Scores scores = {{5, 3, 4}, {1, 2, 0.5}};
  std::map<std::string, std::int64_t> counts;
  const std::vector<StackPlace> order = bitstack::level_order(three_layers(), scores);
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(counts[order[i].tensor]++, order[i].level);  // each prefix is contained in the next one
    if (i < 2) continue;
    std::int64_t least = 99, most = 0;
    for (const auto& [name, count] : counts) {
      least = std::min(least, count);
      most = std::max(most, count);
    }
    EXPECT_LE(most - least, 1);
  }
}

// Step C.5 against all prefixes, written out: 3 layers, 3 levels, every budget.
TEST(BlockOrder, ABudgetGivesTheLargestConfigurationThatFits) {
  const std::vector<Layer> layers = three_layers();
  const std::vector<StackPlace> order = bitstack::level_order(layers, {{5, 3, 4}, {1, 2, 0.5}});
  const std::map<std::string, double> cost = {{"a", 10}, {"b", 20}, {"c", 5}};
  for (double budget = 35; budget <= 110; budget += 1) {
    double used = 0;
    std::size_t prefix = 0;
    while (prefix < order.size() && used + cost.at(order[prefix].tensor) <= budget) {
      used += cost.at(order[prefix++].tensor);
    }
    std::size_t best = 0;
    for (std::size_t j = 3; j <= order.size(); ++j) {
      double memory = 0;
      for (std::size_t i = 0; i < j; ++i) memory += cost.at(order[i].tensor);
      if (memory <= budget) best = j;
    }
    EXPECT_EQ(prefix, best) << budget;
  }
}

TEST(BlockOrder, NotANumberTakesTheNextLevelPlusTheLargestFinite) {
  const double nan = std::nan("");
  Scores scores = {{nan, 4, 9}, {nan, nan, nan}, {1, 2, 3}};
  bitstack::replace_nan(scores, three_layers());
  EXPECT_EQ(scores[1], (std::vector<double>{1, 2, 3}));  // nothing finite at this level: + 0
  EXPECT_EQ(scores[0], (std::vector<double>{1 + 9, 4, 9}));
  Scores last = {{1, 2, 3}, {1, nan, 3}};
  const auto [kind, text] = thrown([&] { bitstack::replace_nan(last, three_layers()); });
  EXPECT_EQ(kind, ErrorKind::input);
  EXPECT_THAT(text, HasSubstr("b"));
}

TEST(BlockOrder, GainsPerByteMayRunAhead) {
  // c falls most per byte, twice; b has nothing to gain; a gains only with both of its blocks.
  const Scores gains = {{0.1, 0, 1}, {3, 0, 0.9}};
  const std::vector<StackPlace> expected = {{"a", 0}, {"b", 0}, {"c", 0}, {"c", 1}, {"c", 2},
                                            {"a", 1}, {"a", 2}, {"b", 1}, {"b", 2}};
  EXPECT_EQ(bitstack::gain_order(three_layers(), gains), expected);
}

class BitStack : public testing::Test {
 protected:
  CompressionRequest request(const std::string& name,
                             std::vector<std::pair<std::string, std::string>> values = {}) {
    CompressionRequest request;
    request.model = small_.model();
    request.output = small_.root() / name;
    Parameters fresh(method_named("bitstack").parameters);
    for (const auto& [key, value] : {std::pair<std::string, std::string>{"calibration-sequences", "8"},
                                     {"calibration-window", "24"},
                                     {"score-sequences", "4"},
                                     {"blocks", "4"}}) {
      bool own = false;
      for (const auto& [other, unused] : values) own = own || other == key;
      if (!own) fresh.set(key, value);
    }
    for (const auto& [key, value] : values) fresh.set(key, value);
    request.parameters = fresh;
    request.calibration_text = small_.text();
    request.seed = 1;
    return request;
  }
  CompressionResult compress(const CompressionRequest& request) {
    return method_named("bitstack").compress(request);
  }

  std::vector<float> logits(const std::filesystem::path& directory, std::optional<std::uint64_t> size = {}) {
    LoadOptions options;
    options.size = size;
    const std::vector<std::int32_t> tokens = {1, 20, 77, 150, 30, 31};
    return Transformer::load(directory, options).forward(tokens, nullptr);
  }

  SmallLanguageModel small_;
};

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, power = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    power += std::pow(static_cast<double>(a[i]), 2);
  }
  return std::sqrt(difference / power);
}

TEST_F(BitStack, MoreBlocksComeCloserToTheModel) {
  const CompressionResult result = compress(request("out", {{"stop", "0"}, {"blocks", "10"}}));
  const CompressedModel stored(small_.root() / "out");
  EXPECT_EQ(stored.safetensors_bytes(), result.safetensors_bytes);
  EXPECT_EQ(stored.stack()->blocks().size(), 14u * 10);
  const std::vector<float> dense = logits(small_.model());
  double before = HUGE_VAL;
  for (const std::size_t prefix : {14, 42, 84, 140}) {
    const double error =
        relative_difference(dense, logits(small_.root() / "out", stored.stack()->loaded_bytes(prefix)));
    EXPECT_LT(error, before) << prefix;
    before = error;
  }
  // The tail of a Gaussian matrix of 64 columns converges slowly; a third of the first block's error is left
  // long before.
  EXPECT_LT(before,
            relative_difference(dense, logits(small_.root() / "out", stored.stack()->loaded_bytes(14))) / 3);
}

TEST_F(BitStack, ASizeIsNeverExceededAndNearlyReached) {
  const std::uint64_t least = CompressedModel([&] {
                                compress(request("whole", {{"stop", "0"}}));
                                return small_.root() / "whole";
                              }())
                                  .stack()
                                  ->loaded_bytes(14);
  CompressionRequest wanted = request("sized");
  wanted.target.size = least + 30000;
  const CompressionResult result = compress(wanted);
  EXPECT_LE(result.safetensors_bytes, *wanted.target.size);
  EXPECT_GE(static_cast<double>(result.safetensors_bytes), 0.98 * static_cast<double>(*wanted.target.size));
  std::uint64_t sum = 0;
  for (const auto& item : std::filesystem::directory_iterator(small_.root() / "sized")) {
    if (item.path().extension() == ".safetensors") sum += std::filesystem::file_size(item.path());
  }
  EXPECT_EQ(sum, result.safetensors_bytes);
  CompressionRequest tiny = request("tiny");
  tiny.target.size = 1000;
  const auto [kind, text] = thrown([&] { compress(tiny); });
  EXPECT_EQ(kind, ErrorKind::usage);
  EXPECT_THAT(text, HasSubstr("the smallest model is"));
  EXPECT_FALSE(std::filesystem::exists(tiny.output));
}

TEST_F(BitStack, BitsCountAllSideInformation) {
  CompressionRequest wanted = request("bits");
  wanted.target.bits = 4.0;
  const CompressionResult result = compress(wanted);
  EXPECT_LE(result.linear_bits_per_weight, 4.0);
  EXPECT_GT(result.linear_bits_per_weight, 3.8);
}

TEST_F(BitStack, FoldedAndCompatibleScalingGiveTheSameModel) {
  // f32 factors: the two modes then differ by rounding alone.
  compress(
      request("fold", {{"factors", "f32"}, {"stop", "0"}, {"order", "weight-error"}, {"scaling", "fold"}}));
  compress(request("compat",
                   {{"factors", "f32"}, {"stop", "0"}, {"order", "weight-error"}, {"scaling", "compat"}}));
  // The miniature has grouped queries, so compat leaves o_proj unscaled and up_proj has scaled rows: near
  // only.
  const std::vector<float> a = logits(small_.root() / "fold"), b = logits(small_.root() / "compat");
  EXPECT_LT(relative_difference(a, b), 0.2);
  // Layer by layer, on the same input: fold multiplies x, compat x / s.
  std::vector<float> scale(64), x(64), scaled(64);
  for (std::size_t j = 0; j < 64; ++j) {
    scale[j] = 0.25f + 0.1f * static_cast<float>(j % 13);
    x[j] = std::sin(static_cast<float>(j));
    scaled[j] = x[j] / scale[j];
  }
  bitstack::InputScales scales;
  scales[static_cast<std::size_t>(LinearSlot::q)] = scale;
  bitstack::DecomposeSettings settings;
  settings.blocks = 4;
  settings.factors = DType::f32;
  const SafetensorsDirectory source(small_.model());
  const auto product = [&](bitstack::Scaling mode, const std::vector<float>& input) {
    settings.scaling = mode;
    const auto layers = bitstack::decompose_block(source, 0, scales, settings, 0);
    const SignBlock first = parse_sign(layers.front().blocks.front());
    std::vector<float> sum(static_cast<std::size_t>(first.rows * first.columns), 0.0f);
    for (const Payload& block : layers.front().blocks) add_block(parse_sign(block), sum.data());
    std::vector<float> y(static_cast<std::size_t>(first.rows), 0.0f);
    for (std::size_t i = 0; i < y.size(); ++i) {
      for (std::size_t j = 0; j < input.size(); ++j) y[i] += sum[i * input.size() + j] * input[j];
    }
    return y;
  };
  EXPECT_LT(
      relative_difference(product(bitstack::Scaling::fold, x), product(bitstack::Scaling::compat, scaled)),
      1e-4);
}

TEST_F(BitStack, CompatibleProducersLeaveTheDenseModelAsItIs) {
  // 1/s in the norms and s in the columns cancel: with k = min(m, n) nothing is compressed away and the model
  // is the same one.
  for (const char* scaling : {"fold", "compat", "none"}) {
    compress(request(scaling, {{"factors", "f32"},
                               {"scaling", scaling},
                               {"stop", "0"},
                               {"order", "weight-error"},
                               {"rank", "96"},
                               {"blocks", "2"}}));
    EXPECT_LT(relative_difference(logits(small_.model()), logits(small_.root() / scaling)), 1e-3) << scaling;
  }
}

TEST_F(BitStack, ResumesWhereItStoppedWithTheSameBytes) {
  compress(request("once"));
  CompressionRequest broken = request("again");
  int reports = 0;
  broken.progress = [&](const ProgressReport& report) {
    if (report.activity.starts_with("scoring") && ++reports == 1) request_interrupt();
  };
  const auto [kind, text] = thrown([&] { compress(broken); });
  clear_interrupt();
  ASSERT_EQ(kind, ErrorKind::interrupted) << text;
  EXPECT_FALSE(std::filesystem::exists(broken.output));
  compress(request("again"));
  EXPECT_EQ(read_file(small_.root() / "once/stack-00001-of-00001.safetensors"),
            read_file(small_.root() / "again/stack-00001-of-00001.safetensors"));
}

TEST_F(BitStack, TheNumberOfThreadsChangesNothing) {
  set_thread_count(1);
  compress(request("one"));
  set_thread_count(3);
  compress(request("three"));
  set_thread_count(0);
  EXPECT_EQ(read_file(small_.root() / "one/stack-00001-of-00001.safetensors"),
            read_file(small_.root() / "three/stack-00001-of-00001.safetensors"));
}

TEST_F(BitStack, BadInputIsRefusedByName) {
  CompressionRequest silent = request("x");
  silent.calibration_text.clear();
  EXPECT_EQ(thrown([&] { compress(silent); }).first, ErrorKind::usage);
  CompressionRequest brief = request("x");
  brief.calibration_text = "Too short.";
  EXPECT_EQ(thrown([&] { compress(brief); }).first, ErrorKind::input);
  const CompressionResult clamped =
      compress(request("clamped", {{"rank", "4000"}, {"blocks", "1"}, {"stop", "0"}}));
  EXPECT_THAT(clamped.notes, testing::Contains(testing::Pair("rank", HasSubstr("4000"))));
}

}  // namespace
}  // namespace laconic
