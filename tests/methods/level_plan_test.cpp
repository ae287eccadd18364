// Sizes that are asked for, through the methods as users call them.
#include "methods/weights/level_plan.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/codec/uniform_payload.h"
#include "methods/method.h"
#include "runtime/artifact/compressed_model.h"
#include "small_language_model.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

const SmallLanguageModel& small() {
  static const SmallLanguageModel model;
  return model;
}

CompressionRequest request_for(const std::string& slug, const std::string& name,
                               const std::vector<std::pair<std::string, std::string>>& parameters = {}) {
  CompressionRequest request;
  request.model = small().model();
  request.output = small().root() / name;
  request.parameters = Parameters(method_named(slug).parameters);
  request.parameters.set("group", "32");
  if (method_named(slug).needs_calibration) {
    request.calibration_text = small().text();
    request.parameters.set("calibration-sequences", "4");
  }
  for (const auto& [key, value] : parameters) request.parameters.set(key, value);
  return request;
}

CompressionResult compress(const std::string& slug, const CompressionRequest& request) {
  return method_named(slug).compress(request);
}

std::string failure_of(const std::string& slug, const CompressionRequest& request) {
  try {
    compress(slug, request);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    return error.what();
  }
  return "no error";
}

// Uniform sizes at the ends of the range of levels.
std::pair<std::uint64_t, std::uint64_t> range_of(const std::string& slug) {
  std::uint64_t ends[2];
  for (int i = 0; i < 2; ++i) {
    CompressionRequest request = request_for(slug, "ends", {{"bits", i == 0 ? "2" : "8"}});
    request.dry_run = true;
    ends[i] = compress(slug, request).safetensors_bytes;
  }
  return {ends[0], ends[1]};
}

class MeetsASize : public testing::TestWithParam<const char*> {};

TEST_P(MeetsASize, NeverOverAndAtLeast98Percent) {
  const std::string slug = GetParam();
  const auto [low, high] = range_of(slug);
  const auto shares =
      slug == "rtn" ? std::vector<double>{0.02, 0.31, 0.6, 0.95} : std::vector<double>{0.1, 0.7};
  for (const double share : shares) {
    CompressionRequest request = request_for(slug, slug + std::to_string(share));
    const auto size = low + static_cast<std::uint64_t>(share * static_cast<double>(high - low));
    request.target.size = size;
    const CompressionResult result = compress(slug, request);
    EXPECT_LE(result.safetensors_bytes, size);
    EXPECT_GE(result.safetensors_bytes, size * 98 / 100);
    EXPECT_EQ(SafetensorsDirectory(request.output).file_bytes(), result.safetensors_bytes);
    CompressionRequest dry = request;
    dry.output = small().root() / "never";
    dry.dry_run = true;
    const CompressionResult predicted = compress(slug, dry);
    EXPECT_EQ(predicted.safetensors_bytes, result.safetensors_bytes);
    EXPECT_EQ(predicted.linear_bits_per_weight, result.linear_bits_per_weight);
    EXPECT_FALSE(fs::exists(dry.output));
    EXPECT_FALSE(fs::exists(fs::path(dry.output.string() + ".partial")));
  }
}

TEST_P(MeetsASize, BitsCountAllSideInformation) {
  const std::string slug = GetParam();
  CompressionRequest request = request_for(slug, slug + "-bits");
  request.target.bits = 5.1;
  const CompressionResult result = compress(slug, request);
  EXPECT_LE(result.linear_bits_per_weight, 5.1);
  EXPECT_GE(result.linear_bits_per_weight, 5.1 * 0.98);
  std::uint64_t frames = 0;
  std::int64_t weights = 0;
  const CompressedModel model(request.output);
  for (const std::string& name : model.compressed_tensors()) {
    frames += to_frame(model.payload(name)).size();
    weights += element_count(model.payload(name).shape);
  }
  EXPECT_DOUBLE_EQ(result.linear_bits_per_weight,
                   8.0 * static_cast<double>(frames) / static_cast<double>(weights));
}

INSTANTIATE_TEST_SUITE_P(Methods, MeetsASize, testing::Values("rtn", "gptq", "decoupleq"));

TEST(LevelPlan, RatioIsAgainstTwoBytesPerNumber) {
  const SafetensorsDirectory source(small().model());
  std::uint64_t numbers = 0;
  for (const std::string& name : source.names())
    numbers += static_cast<std::uint64_t>(source.tensor(name).elements());
  CompressionRequest request = request_for("rtn", "ratio");
  request.target.ratio = 2.0;
  const CompressionResult result = compress("rtn", request);
  EXPECT_LE(result.safetensors_bytes, numbers);
  EXPECT_GE(static_cast<double>(result.safetensors_bytes), 0.98 * static_cast<double>(numbers));
}

TEST(LevelPlan, BelowTheSmallestSaysTheSmallest) {
  const std::uint64_t least = range_of("rtn").first;
  CompressionRequest request = request_for("rtn", "too-small");
  request.target.size = least - 1;
  EXPECT_NE(failure_of("rtn", request).find(std::to_string(least)), std::string::npos);
  EXPECT_FALSE(fs::exists(request.output));
  request.target.size = least;
  EXPECT_EQ(compress("rtn", request).safetensors_bytes, least);
  CompressionRequest bits = request_for("rtn", "too-few");
  bits.target.bits = 1.0;
  EXPECT_NE(failure_of("rtn", bits).find("bits per weight"), std::string::npos);
}

TEST(LevelPlan, RefusesContradictionsAndBadLevels) {
  CompressionRequest both = request_for("rtn", "both", {{"bits", "3"}});
  both.target.bits = 4;
  EXPECT_NE(failure_of("rtn", both).find("levels"), std::string::npos);
  for (const char* levels : {"3-2", "2--3", "9", "a", "2-3-", "33", "2-2"}) {
    CompressionRequest request = request_for("rtn", "levels", {{"levels", levels}});
    request.target.bits = 4;
    EXPECT_NE(failure_of("rtn", request).find(levels), std::string::npos) << levels;
  }
  CompressionRequest measured = request_for("rtn", "measured", {{"harm", "measured"}});
  measured.target.bits = 4;
  EXPECT_NE(failure_of("rtn", measured).find("--calibration"), std::string::npos);
}

TEST(LevelPlan, EmbeddingsAreCompressedWhenAskedFor) {
  CompressionRequest plain = request_for("rtn", "plain"),
                     small_tables = request_for("rtn", "tables", {{"embeddings", "8"}});
  const CompressionResult a = compress("rtn", plain), b = compress("rtn", small_tables);
  EXPECT_LT(b.safetensors_bytes, a.safetensors_bytes);
  EXPECT_EQ(a.linear_bits_per_weight, b.linear_bits_per_weight);
  const CompressedModel model(small_tables.output);
  EXPECT_TRUE(model.has_payload("model.embed_tokens.weight"));
  EXPECT_FALSE(CompressedModel(plain.output).has_payload("model.embed_tokens.weight"));
  EXPECT_NO_THROW(Transformer::load(small_tables.output));
}

TEST(LevelPlan, TakesTheLeastHarmUnderTheBudget) {
  // Harm says that one layer matters alone: it gets the highest level, whatever its loss.
  LeveledMethod method;
  method.slug = "test";
  method.levels = {"2", "4", "8"};
  method.prepare = [](const LayerInput&) -> LayerEncoder {
    return [](const LayerTask& task, std::size_t level) {
      const GridForm form{GridKind::affine_min, 2 << level, 32};
      UniformMatrix matrix{fit_grid(task.weights, task.rows, task.columns, form), {}};
      matrix.codes = quantize(task.weights, matrix.parameters);
      return uniform_payload(matrix, uniform_codec_text(form), task.dtype, {task.rows, task.columns});
    };
  };
  const SafetensorsDirectory source(small().model());
  VariantDatabase database(small().root() / "plan-db", "key", method.levels);
  build_variants(Transformer::load(small().model()), source, method, {}, 0, database);
  std::vector<std::vector<double>> harm(database.units().size(), {0.3, 0.2, 0.1});
  harm[5] = {100, 50, 0};
  const auto files_of = [&](const std::map<std::string, DescribedTensor>& descriptions) {
    return artifact_size(source, descriptions, "test", {});
  };
  const std::uint64_t least =
      plan_levels(database, {ByteBudget::Counts::files, 1 << 30}, harm, files_of).safetensors_bytes;
  const LevelPlan all = plan_levels(database, {ByteBudget::Counts::files, least}, harm, files_of);
  EXPECT_EQ(all.levels, Assignment(database.units().size(), 2)) << "the exact size of the top fits";
  const LevelPlan plan = plan_levels(database, {ByteBudget::Counts::files, least * 8 / 10}, harm, files_of);
  EXPECT_EQ(plan.levels[5], 2);
  EXPECT_LE(plan.safetensors_bytes, least * 8 / 10);
}

}  // namespace
}  // namespace laconic
