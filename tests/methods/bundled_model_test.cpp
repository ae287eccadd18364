// The model that the repository carries: its shape, its quality, and that two bits hurt it as they hurt
// models that people use.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/tensor/safetensors.h"
#include "methods/method.h"
#include "runtime/corpus/stories.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

fs::path bundled() { return fs::path(LACONIC_SOURCE_DIR) / "assets" / "stories"; }

// Stories of a seed that its training did not use.
double perplexity(const fs::path& directory) {
  const Transformer model = Transformer::load(directory);
  const EvaluationWindows windows =
      make_windows(*Tokenizer::load(directory), model.config(), make_held_out_stories(7, 25), 512);
  return evaluate(model, windows).perplexity;
}

TEST(BundledModel, HasTheShapeThatTheCompressorsNeed) {
  const ModelConfig config = ModelConfig::load(bundled());
  EXPECT_EQ(config.layers, 6);
  EXPECT_GE(config.hidden, 128);
  EXPECT_LE(config.hidden, 192);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_LT(config.kv_heads, config.heads);
  EXPECT_EQ(config.max_positions, 512);
  EXPECT_LE(config.vocabulary, 1024);
  for (int slot = 0; slot < linear_slots; ++slot) {
    EXPECT_EQ(linear_shape(config, static_cast<LinearSlot>(slot)).in % 64, 0);
  }
  const SafetensorsDirectory tensors(bundled());
  EXPECT_LT(tensors.file_bytes(), 4'000'000u);
  for (const std::string& name : tensors.names()) EXPECT_EQ(tensors.tensor(name).dtype, DType::bf16) << name;
}

TEST(BundledModel, TwoBitsRoundedToNearestAtLeastDoubleItsPerplexity) {
  const fs::path output = fs::path(testing::TempDir()) / ("laconic_bundled_" + std::to_string(::getpid()));
  CompressionRequest request;
  request.model = bundled();
  request.output = output;
  request.parameters = Parameters(method_named("rtn").parameters);
  request.parameters.set("bits", "2");
  request.parameters.set("group", "64");
  request.parameters.set("clip", "false");  // round to nearest and nothing else
  method_named("rtn").compress(request);
  const double original = perplexity(bundled());
  EXPECT_NEAR(original, 1.281, 0.02 * 1.281) << "the figure of its card";
  EXPECT_GE(perplexity(output), 2 * original);
  fs::remove_all(output);
}

TEST(BundledTexts, AreWhatTheGeneratorWrites) {
  const auto text = [](const char* name) {
    std::ifstream file(bundled().parent_path() / "text" / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  EXPECT_EQ(text("stories.txt"), make_training_stories(1, 300));
  EXPECT_EQ(text("held-out.txt"), make_held_out_stories(1, 60));
}

}  // namespace
}  // namespace laconic
