// decoupleQ with its block-wise stage, from a model directory to a compressed one that runs.
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/progress.h"
#include "engine/codec/uniform_payload.h"
#include "lab_models.h"
#include "methods/lab_plugin.h"
#include "methods/method.h"
#include "methods/weights/leveled_method.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/corpus/stories.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

class Blockwise : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    TrainLanguageModelRequest request;
    request.output = model();
    request.layers = 2;
    request.hidden = 32;
    request.heads = 2;
    request.kv_heads = 1;
    request.head_dim = 16;
    request.mlp = 48;
    request.vocabulary = 320;
    request.context = 64;
    request.stories = 80;
    request.steps = 60;
    request.batch_tokens = 500;
    request.learning_rate = 1e-2;
    request.warmup_steps = 5;
    request.held_out = folder_->path() / "held_out.txt";
    write_file(request.held_out, make_held_out_stories(1, 2));
    load_lab().train_language_model(request);
  }
  static void TearDownTestSuite() { delete folder_; }

  static fs::path model() { return folder_->path() / "model"; }
  static fs::path output(const std::string& name) { return folder_->path() / name; }

  static CompressionRequest request(const std::string& name, bool blockwise) {
    CompressionRequest request;
    request.model = model();
    request.output = output(name);
    request.parameters = Parameters(method_named("decoupleq").parameters);
    request.parameters.set("bits", "2");
    request.parameters.set("group", "16");
    request.parameters.set("calibration-sequences", "12");
    request.parameters.set("blockwise", blockwise ? "true" : "false");
    request.parameters.set("block-learning-rate", "5e-4");
    request.parameters.set("block-epochs", "10");
    request.calibration_text = make_training_stories(2, 12);
    return request;
  }
  static CompressionResult compress(const CompressionRequest& request) {
    return method_named("decoupleq").compress(request);
  }

  // Mean squared error of the last block's outputs on calibration text.
  static double error_of(const fs::path& directory) {
    const Transformer dense = Transformer::load(model()), compressed = Transformer::load(directory);
    std::vector<std::int32_t> tokens = Tokenizer::load(model())->encode(make_training_stories(2, 1), false);
    tokens.resize(std::min<std::size_t>(tokens.size(), 60));
    std::vector<float> a = dense.embed(tokens), b = a;
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      dense.run_block(layer, a.data(), static_cast<std::int64_t>(tokens.size()), nullptr);
      compressed.run_block(layer, b.data(), static_cast<std::int64_t>(tokens.size()), nullptr);
    }
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double difference = static_cast<double>(a[i]) - b[i];
      sum += difference * difference;
    }
    return sum / static_cast<double>(a.size());
  }

  static TemporaryFolder* folder_;
};
TemporaryFolder* Blockwise::folder_ = nullptr;

TEST_F(Blockwise, LowersTheErrorKeepsTheCodesAndStoresTheNorms) {
  const CompressionResult plain = compress(request("plain", false));
  const CompressionResult trained = compress(request("trained", true));
  EXPECT_EQ(trained.linear_bits_per_weight, plain.linear_bits_per_weight);
  EXPECT_LT(error_of(output("trained")), 0.9 * error_of(output("plain")));
  RecordProperty("share_of_error_left",
                 std::to_string(error_of(output("trained")) / error_of(output("plain"))));

  const CompressedModel before(output("plain")), after(output("trained"));
  for (const std::string& norm : block_norms(0)) {
    EXPECT_FALSE(before.has_payload(norm));
    ASSERT_TRUE(after.has_payload(norm));
  }
  EXPECT_NE(Transformer::load(output("trained")).block(0).input_norm,
            Transformer::load(model()).block(0).input_norm);
  // The first block's codes come from the same inputs.
  for (int slot = 0; slot < linear_slots; ++slot) {
    const std::string name = linear_name(0, static_cast<LinearSlot>(slot));
    const UniformMatrix a = parse_uniform(before.payload(name)), b = parse_uniform(after.payload(name));
    EXPECT_EQ(a.codes, b.codes) << name;
  }
}

TEST_F(Blockwise, ContinuesAnInterruptedRunToTheSameBytes) {
  compress(request("whole", true));
  CompressionRequest parts = request("parts", true);
  parts.progress = [](const ProgressReport& report) {
    if (report.activity.starts_with("block 1 ")) request_interrupt();
  };
  try {
    compress(parts);
    ADD_FAILURE() << "the run was not interrupted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::interrupted);
  }
  clear_interrupt();
  EXPECT_FALSE(fs::exists(output("parts")));
  bool first_block_again = false;
  parts.progress = [&](const ProgressReport& report) {
    first_block_again |= report.activity.starts_with("block 0 ");
  };
  compress(parts);
  EXPECT_FALSE(first_block_again);
  EXPECT_EQ(read_text_file(output("whole") / "model.safetensors"),
            read_text_file(output("parts") / "model.safetensors"));
}

TEST_F(Blockwise, RefusesSizesAndDenseStatistics) {
  const auto kind_of = [](const CompressionRequest& wrong) -> std::optional<ErrorKind> {
    try {
      compress(wrong);
    } catch (const Error& error) {
      return error.kind();
    }
    return std::nullopt;
  };
  CompressionRequest dense = request("dense", true);
  dense.parameters.set("sequential", "false");
  EXPECT_EQ(kind_of(dense), ErrorKind::usage);
  CompressionRequest sized = request("sized", true);
  sized.parameters = Parameters(method_named("decoupleq").parameters);
  sized.parameters.set("blockwise", "true");
  sized.target.bits = 3;
  EXPECT_EQ(kind_of(sized), ErrorKind::usage);
}

}  // namespace
}  // namespace laconic
