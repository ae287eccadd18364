// Layers behind compressed ones that aim at the dense model's outputs (target=).
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "engine/base/error.h"
#include "methods/method.h"
#include "runtime/corpus/stories.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

fs::path assets() { return fs::path(LACONIC_SOURCE_DIR) / "assets"; }

CompressionRequest request(const char* method, const std::string& name) {
  CompressionRequest result;
  result.model = assets() / "stories";
  result.calibration_text = make_training_stories(1, 300);
  result.output =
      fs::path(testing::TempDir()) / ("laconic_target_" + std::to_string(::getpid()) + "_" + name);
  result.parameters = Parameters(method_named(method).parameters);
  result.parameters.set("bits", "2");
  result.parameters.set("calibration-sequences", "32");
  result.parameters.set("calibration-window", "128");
  return result;
}

double perplexity_with(const char* method, const std::string& target) {
  CompressionRequest one = request(method, target);
  one.parameters.set("sequential", "true");
  one.parameters.set("target", target);
  method_named(method).compress(one);
  const Transformer model = Transformer::load(one.output);
  const EvaluationWindows windows =
      make_windows(*Tokenizer::load(one.output), model.config(), make_held_out_stories(7, 25), 512);
  fs::remove_all(one.output);
  return evaluate(model, windows).perplexity;
}

TEST(CalibrationTarget, DenseOutputsBeatTheWeightsOnTextThatWasNotCalibratedOn) {
  for (const char* method : {"gptq", "decoupleq"}) {
    const double weights = perplexity_with(method, "weights");
    EXPECT_LT(perplexity_with(method, "outputs"), weights) << method;
    EXPECT_LT(perplexity_with(method, "residual"), weights) << method;
  }
}

TEST(CalibrationTarget, NeedsSequentialCalibration) {
  CompressionRequest one = request("gptq", "refused");
  one.parameters.set("sequential", "false");
  one.parameters.set("target", "residual");
  try {
    method_named("gptq").compress(one);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("sequential=true"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(one.output));
}

}  // namespace
}  // namespace laconic
