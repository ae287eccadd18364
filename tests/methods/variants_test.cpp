#include "methods/weights/variants.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "engine/codec/gptq.h"
#include "engine/codec/layer_loss.h"
#include "runtime/tokenizer/tokenizer.h"
#include "small_language_model.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

const SmallLanguageModel& small() {
  static const SmallLanguageModel model;
  return model;
}

LeveledMethod gptq_levels(std::optional<std::size_t> propagation, int* encoded = nullptr,
                          int stop_after = -1) {
  LeveledMethod method;
  method.slug = "gptq";
  method.levels = {"2", "3", "4"};
  method.needs_calibration = true;
  method.propagation = propagation;
  method.prepare = [=](const LayerInput& input) -> LayerEncoder {
    auto factor = std::make_shared<const GptqFactor>(gptq_factor(
        input.statistics->moment.mean(), input.columns, ColumnOrder::natural, 0.01, input.name.c_str()));
    return [=](const LayerTask& task, std::size_t level) {
      if (encoded != nullptr && ++*encoded == stop_after) fail(ErrorKind::interrupted, "stopped");
      const GridForm form{GridKind::affine_min, 2 + static_cast<int>(level), 32};
      return uniform_payload(gptq_quantize(task.weights, task.rows, task.columns, form, *factor),
                             uniform_codec_text(form), task.dtype, {task.rows, task.columns});
    };
  };
  return method;
}

VariantCalibration calibration_of(const Transformer& model) {
  const auto tokenizer = Tokenizer::load(small().model());
  return {draw_calibration_windows(*tokenizer, model.config(), small().text(), {6, 48, 1}), nullptr};
}

VariantDatabase build(const fs::path& folder, const LeveledMethod& method) {
  const Transformer model = Transformer::load(small().model());
  const SafetensorsDirectory source(small().model());
  VariantDatabase database(folder, "key", method.levels);
  build_variants(model, source, method, calibration_of(model), 0, database);
  return database;
}

void expect_same(const VariantDatabase& a, const VariantDatabase& b) {
  ASSERT_EQ(a.units(), b.units());
  for (const std::string& name : a.units()) {
    EXPECT_EQ(a.unit(name).reference, b.unit(name).reference);
    for (std::size_t level = 0; level < a.levels().size(); ++level) {
      EXPECT_EQ(to_frame(a.payload(name, level)), to_frame(b.payload(name, level))) << name;
      EXPECT_EQ(a.unit(name).levels[level].loss, b.unit(name).levels[level].loss);
    }
  }
}

TEST(LayerLoss, IsTheTraceFormAtAnyThreadCount) {
  const std::int64_t rows = 70, columns = 300;
  const RandomStream random(1, "test", "layer loss");
  std::vector<float> d(rows * columns);
  for (std::size_t i = 0; i < d.size(); ++i) d[i] = random.gaussian_at(i);
  std::vector<double> h(columns * columns, 0.0);
  double trace = 0, squares = 0;
  for (std::int64_t i = 0; i < columns; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      h[static_cast<std::size_t>(i * columns + j)] =
          i == j ? 2.0 : 1.0 / (1.0 + std::abs(static_cast<double>(i - j)));
    }
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < columns; ++i) {
      const double di = d[static_cast<std::size_t>(r * columns + i)];
      squares += di * di;
      for (std::int64_t j = 0; j < columns; ++j) {
        trace +=
            di * h[static_cast<std::size_t>(i * columns + j)] * d[static_cast<std::size_t>(r * columns + j)];
      }
    }
  }
  set_thread_count(1);
  const double one = layer_loss(d.data(), rows, columns, h.data());
  set_thread_count(3);
  EXPECT_EQ(layer_loss(d.data(), rows, columns, h.data()), one);
  set_thread_count(0);
  EXPECT_NEAR(one / trace, 1, 1e-5);
  EXPECT_NEAR(layer_loss(d.data(), rows, columns, nullptr) / squares, 1, 1e-12);
}

TEST(VariantDatabase, HoldsEveryLayerAtEveryLevelWithItsSizesAndLosses) {
  const VariantDatabase database = build(small().root() / "db-dense", gptq_levels({}));
  const SafetensorsDirectory source(small().model());
  ASSERT_EQ(database.units().size(), 14u);
  EXPECT_EQ(database.units().front(), "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(database.units().back(), "model.layers.1.mlp.down_proj.weight");
  for (const std::string& name : database.units()) {
    const UnitVariants& unit = database.unit(name);
    const std::vector<float> weights = source.tensor(name).to_f32();
    for (std::size_t level = 0; level < 3; ++level) {
      const Payload payload = database.payload(name, level);
      EXPECT_EQ(unit.levels[level].frame_bytes, to_frame(payload).size());
      EXPECT_EQ(unit.levels[level].stored_bytes(), described(payload).stored_bytes());
      const Tensor decoded = decode_payload(payload);
      double error = 0, norm = 0;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const double e = static_cast<double>(decoded.f32()[i]) - static_cast<double>(weights[i]);
        error += e * e;
        norm += static_cast<double>(weights[i]) * static_cast<double>(weights[i]);
      }
      EXPECT_NEAR(unit.levels[level].squared_error, error, 1e-6 * error);
      EXPECT_NEAR(unit.squared_norm, norm, 1e-6 * norm);
      if (level > 0) {
        EXPECT_LT(unit.levels[level].loss, unit.levels[level - 1].loss);
        EXPECT_GT(unit.levels[level].frame_bytes, unit.levels[level - 1].frame_bytes);
      }
      EXPECT_GT(unit.relative_loss(level), 0);
      EXPECT_LT(unit.relative_loss(level), 1);
    }
  }
  EXPECT_EQ(database.level_named("3"), 1u);
  EXPECT_THROW(database.level_named("7"), Error);
}

TEST(VariantDatabase, AnInterruptedBuildContinuesToTheSameContent) {
  for (const std::optional<std::size_t> propagation :
       {std::optional<std::size_t>(), std::optional<std::size_t>(1)}) {
    const std::string suffix = propagation ? "-sequential" : "-dense";
    const VariantDatabase whole = build(small().root() / ("db-whole" + suffix), gptq_levels(propagation));
    const fs::path folder = small().root() / ("db-parts" + suffix);
    int encoded = 0;
    EXPECT_THROW(build(folder, gptq_levels(propagation, &encoded, 29)), Error);
    const auto files = std::distance(fs::directory_iterator(folder), fs::directory_iterator());
    EXPECT_EQ(files, 9);
    encoded = 0;
    const VariantDatabase resumed = build(folder, gptq_levels(propagation, &encoded));
    EXPECT_EQ(encoded, (14 - 9) * 3) << "finished layers are not encoded again";
    expect_same(whole, resumed);
  }
}

TEST(VariantDatabase, SequentialStatisticsSeeTheCompressedLayers) {
  const VariantDatabase dense = build(small().root() / "db-a", gptq_levels({}));
  const VariantDatabase sequential = build(small().root() / "db-b", gptq_levels(0));
  const std::string first = "model.layers.0.self_attn.q_proj.weight",
                    last = "model.layers.1.mlp.down_proj.weight";
  EXPECT_EQ(dense.unit(first).reference, sequential.unit(first).reference);
  EXPECT_NE(dense.unit(last).reference, sequential.unit(last).reference);
}

TEST(VariantDatabase, RemovesDamagedForeignAndHalfWrittenFiles) {
  const fs::path folder = small().root() / "db-damage";
  const LeveledMethod method = gptq_levels({});
  { build(folder, method); }
  std::vector<fs::path> files;
  for (const auto& item : fs::directory_iterator(folder)) files.push_back(item.path());
  std::sort(files.begin(), files.end());
  {  // one flipped bit of the data
    std::fstream file(files[0], std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const char byte = static_cast<char>(file.get() ^ 4);
    file.seekp(-1, std::ios::end);
    file.put(byte);
  }
  fs::resize_file(files[1], fs::file_size(files[1]) / 2);
  write_file(folder / "stray.tmp", std::string_view("half"));
  const VariantDatabase database(folder, "key", method.levels);
  EXPECT_EQ(database.units().size(), 12u);
  EXPECT_FALSE(fs::exists(files[0]));
  EXPECT_FALSE(fs::exists(files[1]));
  EXPECT_FALSE(fs::exists(folder / "stray.tmp"));
  const VariantDatabase other(folder, "another key", method.levels);
  EXPECT_TRUE(other.units().empty());
}

}  // namespace
}  // namespace laconic
