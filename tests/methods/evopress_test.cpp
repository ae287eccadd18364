#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "methods/weights/evopress/depth.h"
#include "methods/weights/evopress/level_search.h"
#include "methods/weights/evopress/options.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/tokenizer/tokenizer.h"
#include "small_language_model.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using namespace evopress;

const SmallLanguageModel& small() {
  static const SmallLanguageModel model;
  return model;
}

using Values = std::vector<std::pair<std::string, std::string>>;

// A search of a few candidates on few tokens.
CompressionRequest request_of(const std::string& output, const Values& values) {
  CompressionRequest request;
  request.model = small().model();
  request.output = small().root() / output;
  request.calibration_text = small().text();
  request.replace = true;
  request.seed = 3;
  request.parameters = Parameters(method_named("evopress").parameters);
  Values all = {{"generations", "3"},         {"offspring", "4"},        {"survivors", "2-1"},
                {"search-tokens", "126"},     {"search-window", "64"},   {"calibration-sequences", "4"},
                {"calibration-window", "48"}, {"stage-tokens", "40-126"}};
  for (const auto& wanted : values) {
    all.erase(std::remove_if(all.begin(), all.end(),
                             [&](const auto& given) { return given.first == wanted.first; }),
              all.end());
    all.push_back(wanted);
  }
  for (const auto& [name, value] : all) request.parameters.set(name, value);
  return request;
}

CompressionResult compressed(const CompressionRequest& request) {
  return method_named("evopress").compress(request);
}

std::vector<float> logits(const fs::path& model) {
  return Transformer::load(model).forward(std::vector<std::int32_t>{1, 5, 9, 30, 8, 2}, nullptr);
}

void expect_refused(const CompressionRequest& request, const std::string& part) {
  try {
    compressed(request);
    ADD_FAILURE() << "nothing was refused: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(request.output));
  EXPECT_FALSE(fs::exists(request.output.string() + ".partial"));
}

TEST(EvoPressDepth, DroppedHalvesAreSkippedAndDecompressToTheSameFunction) {
  const CompressionRequest request = request_of("depth", {{"task", "depth"}, {"drop", "2"}});
  const CompressionResult result = compressed(request);
  const Transformer model = Transformer::load(request.output);
  int attention = 0, mlp = 0;
  for (std::int64_t layer = 0; layer < 2; ++layer) {
    attention += model.block(layer).attention_dropped;
    mlp += model.block(layer).mlp_dropped;
  }
  EXPECT_EQ(attention, 1);
  EXPECT_EQ(mlp, 1);
  EXPECT_LT(result.linear_bits_per_weight, 10);
  EXPECT_EQ(CompressedModel(request.output).safetensors_bytes(), result.safetensors_bytes);
  const fs::path plain = small().root() / "depth-plain";
  decompress_model(request.output, plain, std::nullopt, true);
  EXPECT_EQ(logits(plain), logits(request.output));
  EXPECT_NE(logits(small().model()), logits(request.output));
}

TEST(EvoPressDepth, FitsASize) {
  CompressionRequest request = request_of("depth-size", {{"task", "depth"}});
  const std::uint64_t whole = SafetensorsDirectory(small().model()).file_bytes();
  request.target.size = whole * 8 / 10;
  const CompressionResult result = compressed(request);
  EXPECT_LE(result.safetensors_bytes, *request.target.size);
  request.dry_run = true;
  EXPECT_NEAR(static_cast<double>(compressed(request).safetensors_bytes),
              static_cast<double>(result.safetensors_bytes), 64.0);
}

TEST(EvoPressDepth, ValuesInADroppedHalfAreCorrupt) {
  const SafetensorsDirectory source(small().model());
  const std::string name = linear_name(0, LinearSlot::down);
  const fs::path output = small().root() / "marked";
  ArtifactWriter writer(small().model(), output, "key", true);
  EncodeContext context;
  std::vector<std::pair<std::string, Payload>> payloads;
  payloads.emplace_back(name, parse_codec("uniform(bits=4,group=32)")->encode(source.tensor(name), context));
  writer.put_unit("block", std::move(payloads));
  Attributes provenance;
  provenance.set("dropped_mlp", std::vector<std::int64_t>{0});
  writer.finish("evopress", provenance);
  try {
    Transformer::load(output);
    FAIL() << "a marked half with values was loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  }
}

TEST(EvoPressDepth, GenerationsFollowTheCard) {
  DepthSpace space{32, false, {8, 8}};
  EXPECT_EQ(space.generations(), static_cast<int>(16 * 48 / 1.5));
  space = {6, false, {2, 2}};
  EXPECT_EQ(space.generations(), 21);
}

// The table of card 23.
TEST(EvoPressOptions, PaperEffortIsThePublishedTable) {
  struct Published {
    const char* task;
    int generations, offspring;
    std::vector<int> survivors;
    std::vector<std::int64_t> tokens;
    std::int64_t calibration;
  };
  const Published table[] = {
      {"bits", 150, 128, {16, 4, 1}, {2048, 16384, 131072}, 524288},
      {"sparsity", 400, 64, {8, 2, 1}, {2048, 16384, 65536}, 524288},
      {"depth", 21, 32, {2, 1}, {2048, 32768}, 131072},
  };
  for (const Published& row : table) {
    Parameters chosen(parameters());
    chosen.set("task", row.task);
    chosen.set("effort", "paper");
    const SearchPlan plan = search_plan(chosen, 21, 7);
    EXPECT_EQ(plan.settings.generations, row.generations) << row.task;
    EXPECT_EQ(plan.settings.offspring, row.offspring) << row.task;
    EXPECT_EQ(plan.settings.survivors, row.survivors) << row.task;
    EXPECT_EQ(plan.settings.tokens, row.tokens) << row.task;
    EXPECT_EQ(plan.tokens, row.calibration) << row.task;
    EXPECT_EQ(plan.window_tokens, 512) << row.task;
  }
}

TEST(EvoPressBits, MeetsASizeAndSaysTheBytesItWrote) {
  CompressionRequest request = request_of("bits", {{"group", "32"}});
  const CompressionRequest uniform = request_of("bits-uniform", {{"group", "32"}, {"bits", "4"}});
  CompressionRequest plan = uniform;
  plan.dry_run = true;
  const std::uint64_t at_four = compressed(plan).safetensors_bytes;
  EXPECT_FALSE(fs::exists(plan.output));
  request.target.size = at_four - 700;
  const CompressionResult result = compressed(request);
  EXPECT_LE(result.safetensors_bytes, *request.target.size);
  EXPECT_GE(static_cast<double>(result.safetensors_bytes), 0.97 * static_cast<double>(*request.target.size));
  EXPECT_EQ(CompressedModel(request.output).safetensors_bytes(), result.safetensors_bytes);
}

TEST(EvoPressBits, TheSameSeedGivesTheSameFilesAtAnyThreadCount) {
  std::vector<std::string> files;
  for (const int threads : {1, 2}) {
    set_thread_count(threads);
    const CompressionRequest request = request_of("threads", {{"group", "32"}, {"bits", "2.5"}});
    compressed(request);
    files.push_back(read_text_file(request.output / "model.safetensors"));
  }
  set_thread_count(0);
  EXPECT_EQ(files[0], files[1]);
}

TEST(EvoPressBits, EveryBaseMakesADatabase) {
  for (const char* base : {"rtn", "decoupleq"}) {
    const CompressionRequest request = request_of(
        base, {{"base", base}, {"group", "32"}, {"levels", "2-3"}, {"bits", "2.5"}, {"generations", "1"}});
    const CompressionResult result = compressed(request);
    EXPECT_GT(result.linear_bits_per_weight, 2.5) << base;
    EXPECT_LT(result.linear_bits_per_weight, 5) << base;
    EXPECT_FALSE(logits(request.output).empty());
  }
}

TEST(EvoPressBits, GptqWithoutStatisticsIsRoundToNearest) {
  BitLevels gptq, rtn;
  gptq.group = rtn.group = 32;
  rtn.base = "rtn";
  std::vector<float> weights(16 * 96);
  const RandomStream random(2, "test", "weights");
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = random.gaussian_at(i);
  const LayerInput input{"layer", 96, nullptr};
  const LayerTask task{"layer", weights.data(), 16, 96, DType::f32, 0};
  const LayerEncoder one = bits_method(gptq).prepare(input), other = bits_method(rtn).prepare(input);
  for (std::size_t level = 0; level < gptq.bits.size(); ++level) {
    EXPECT_EQ(to_frame(one(task, level)), to_frame(other(task, level)));
  }
}

TEST(EvoPressSparsity, LevelsCostTheSameInLayersOfAnySize) {
  SparsityLevels levels;
  levels.target = 0.6;
  levels.weights_diff = 100;
  for (const std::int64_t weights : {4096, 11008}) {
    const std::int64_t middle = levels.zeros(weights, levels.uniform());
    EXPECT_EQ(middle, std::llround(0.6 * static_cast<double>(weights)));
    for (int level = 0; level < levels.count(); ++level) {
      EXPECT_EQ(levels.zeros(weights, level), middle + 100 * (levels.uniform() - level));
      EXPECT_TRUE(levels.exists(weights, level));
    }
  }
  // 300 of 500 zeros: two steps of 100 up to the whole layer, three down to none.
  EXPECT_EQ(levels.zeros(500, 0), 500);
  EXPECT_EQ(levels.zeros(500, levels.count() - 1), 0);
  int existing = 0;
  for (int level = -1; level <= levels.count(); ++level) existing += levels.exists(500, level) ? 1 : 0;
  EXPECT_EQ(existing, 6);
}

TEST(EvoPressSparsity, KeepsTheNumberOfZerosAndASize) {
  CompressionRequest request =
      request_of("sparse", {{"task", "sparsity"}, {"sparsity", "0.6"}, {"generations", "4"}});
  compressed(request);
  const CompressedModel model(request.output);
  std::int64_t zeros = 0, wanted = 0;
  for (const std::string& name : model.compressed_tensors()) {
    const Tensor decoded = decode_payload(model.payload(name));
    for (const float value : decoded.f32()) zeros += value == 0;
    wanted += std::llround(0.6 * static_cast<double>(decoded.elements()));
  }
  EXPECT_NEAR(static_cast<double>(zeros), static_cast<double>(wanted), 2);  // weights that were zero before
  request = request_of("sparse-size", {{"task", "sparsity"}, {"generations", "1"}});
  request.target.bits = 9;
  const double bits = compressed(request).linear_bits_per_weight;
  EXPECT_LE(bits, 9);
  EXPECT_GE(bits, 0.98 * 9);
  request.target = {};
  for (const std::uint64_t percent : {55, 70, 85}) {
    request.target.size = SafetensorsDirectory(small().model()).file_bytes() * percent / 100;
    const CompressionResult result = compressed(request);
    EXPECT_LE(result.safetensors_bytes, *request.target.size);
    EXPECT_GE(static_cast<double>(result.safetensors_bytes),
              0.96 * static_cast<double>(*request.target.size));
  }
}

// The pieces of a search, for tests of its course.
struct Course {
  Transformer dense = Transformer::load(small().model());
  DepthSpace depth{2, false, {1, 1}};
  TeacherCache teacher = TeacherCache::build(
      dense, fitness_windows(*Tokenizer::load(small().model()), dense.config(), small().text(), 252, 64, 1));

  SearchSettings settings(int generations) const {
    SearchSettings settings;
    settings.generations = generations;
    settings.offspring = 2;
    settings.survivors = {1};
    settings.tokens = {252};
    return settings;
  }
  EvolutionState run(const SearchSettings& settings, const fs::path& file = {}, const std::string& key = {}) {
    const ModelSearch search(
        teacher, [this](const Assignment& levels) { return depth.assemble(dense, levels); }, settings);
    return search.run(depth.space(), {Assignment{0, 0, 1, 1}}, file, key);
  }
};

TEST(EvoPressSearch, TheParentNeverGetsWorseOnTheWholeSet) {
  Course course;
  const EvolutionState state = course.run(course.settings(6));
  ASSERT_EQ(state.history.size(), 6u);
  for (std::size_t g = 1; g < state.history.size(); ++g) EXPECT_LE(state.history[g], state.history[g - 1]);
  EXPECT_EQ(state.best_fitness, state.history.back());
  EXPECT_GE(state.best_fitness, 0);
}

TEST(EvoPressSearch, GoesOnFromItsFileWhenTheKeyIsTheSame) {
  Course course;
  const fs::path file = small().root() / "search-state";
  SearchSettings settings = course.settings(8);
  settings.tokens = {63};  // fresh minibatches
  const EvolutionState whole = course.run(settings);
  settings.generations = 3;
  course.run(settings, file, "key");
  settings.generations = 8;
  const EvolutionState resumed = course.run(settings, file, "key");
  EXPECT_EQ(resumed.history, whole.history);
  EXPECT_EQ(resumed.best, whole.best);
  settings.generations = 2;
  EXPECT_EQ(course.run(settings, file, "another key").history.size(), 2u);
  write_file(file, std::string_view("damaged"));
  EXPECT_EQ(course.run(settings, file, "key").history.size(), 2u);
}

TEST(EvoPressSearch, StagesMustFitTheCalibrationSet) {
  Course course;
  SearchSettings settings = course.settings(1);
  settings.tokens = {253};
  EXPECT_THROW(course.run(settings), Error);
  settings.tokens = {63, 252};
  EXPECT_THROW(course.run(settings), Error);  // one survivor count for two stages
  EXPECT_THROW(
      fitness_windows(*Tokenizer::load(small().model()), course.dense.config(), "a short text", 252, 64, 1),
      Error);
}

TEST(LinearCache, ForgetsTheLeastRecentlyUsed) {
  int made = 0;
  const auto make = [&]() -> std::shared_ptr<const LinearOp> {
    ++made;
    const auto weights = std::make_shared<Tensor>(DType::f32, Shape{4, 4});
    return make_dense_linear(weights->view(), weights);
  };
  LinearCache cache(2 * 64);
  cache.get(0, 0, make);
  cache.get(1, 0, make);
  cache.get(0, 0, make);
  EXPECT_EQ(made, 2);
  cache.get(2, 0, make);  // unit 1 goes
  cache.get(0, 0, make);
  EXPECT_EQ(made, 3);
  cache.get(1, 0, make);
  EXPECT_EQ(made, 4);
  EXPECT_EQ(cache.bytes(), 128u);
}

TEST(EvoPressInput, BadRequestsAreRefused) {
  const std::string out = "refused";
  expect_refused(request_of(out, {{"bits", "7"}}), "from 2 to 6");
  expect_refused(request_of(out, {{"survivors", "2-2"}}), "exactly one survivor");
  expect_refused(request_of(out, {{"stage-tokens", "40-4000"}}), "4000 tokens");
  expect_refused(request_of(out, {{"levels", "3-2"}}), "rise");
  expect_refused(request_of(out, {{"survivors", "x"}}), "list");
  expect_refused(request_of(out, {{"task", "depth"}}), "how much to drop");
  expect_refused(request_of(out, {{"task", "depth"}, {"drop", "5"}}), "cannot be dropped");
  CompressionRequest request = request_of(out, {});
  request.calibration_text.clear();
  expect_refused(request, "calibration");
  request = request_of(out, {});
  request.target.bits = 20;
  expect_refused(request, "bits per weight");
  request.target = {};
  request.target.size = 1000;
  expect_refused(request, "bytes of files");
  request = request_of(out, {{"task", "sparsity"}});
  request.target.size = 1000;
  expect_refused(request, "possible");
  request = request_of(out, {{"task", "depth"}});
  request.target.size = 1000;
  expect_refused(request, "smallest possible");
}

}  // namespace
}  // namespace laconic
