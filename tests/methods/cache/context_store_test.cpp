#include "methods/cache/context_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/cache/cachegen/controller.h"
#include "methods/cache/pipeline.h"
#include "tests/runtime/reference_model.h"

namespace laconic {
namespace {

// A small random model and a text for it.
class Contexts : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("contexts-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
    reference::Description description;
    description.max_positions = 256;
    write_model(folder_, description, reference::random_weights(description, 1, DType::f32), DType::f32, "");
    model_ = std::make_unique<Transformer>(Transformer::load(folder_));
    for (std::int32_t i = 0; i < 151; ++i) tokens_.push_back(1 + (i * i + 7 * i) % 60);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  ContextModel model() const { return {*model_, folder_, {}, Hash128{1}, Hash128{2}}; }
  std::filesystem::path saved(const std::string& pipeline = "cachegen", std::int64_t chunk = 40) const {
    const std::filesystem::path path = folder_ / "saved.kv";
    save_context(model(), tokens_, {pipeline, chunk, 0}, path);
    return path;
  }
  LoadedContext loaded(const std::filesystem::path& path, ChunkPolicy& policy,
                       std::vector<std::string>* notices = nullptr) const {
    const auto source = open_context_file(path);
    ContextLoadOptions options;
    if (notices != nullptr) options.notice = [=](std::string_view text) { notices->emplace_back(text); };
    return load_context(model(), *source, read_context_index(*source), policy, options);
  }
  // Logits of the tokens that follow: the last of the text, then one by one.
  std::vector<float> next_logits(KvCache& cache) const {
    std::vector<float> logits = model_->forward(std::span(tokens_).last(1), &cache, true);
    const std::vector<float> more = model_->forward(std::vector<std::int32_t>{5}, &cache, true);
    logits.insert(logits.end(), more.begin(), more.end());
    return logits;
  }
  std::vector<float> exact_logits() const {
    const auto cache = model_->make_cache();
    model_->forward(std::span(tokens_).first(tokens_.size() - 1), cache.get(), true);
    return next_logits(*cache);
  }
  static double distance(const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
    return std::sqrt(sum / static_cast<double>(a.size()));
  }
  // Changes one byte of a piece.
  void damage(const std::filesystem::path& path, const ContextPiece& piece) const {
    Bytes bytes = read_file(path);
    bytes[piece.offset + piece.size / 2] ^= std::byte{4};
    write_file(path, bytes);
  }
  std::filesystem::path folder_;
  std::unique_ptr<Transformer> model_;
  std::vector<std::int32_t> tokens_;
};

TEST_F(Contexts, AllLevelsAreSavedAndFinerOnesAreNearer) {
  const std::filesystem::path path = saved();
  const ContextIndex index = read_context_index(*open_context_file(path));
  EXPECT_EQ(index.forms, (std::vector<std::string>{"cachegen(level=3)", "cachegen", "cachegen(level=1)"}));
  ASSERT_EQ(index.chunks.size(), 4u);
  EXPECT_EQ(index.chunks[3].tokens, 30);
  EXPECT_EQ(index.cached_tokens(), 150);
  EXPECT_EQ(index.rest, (std::vector<std::int32_t>{tokens_.back()}));
  for (const ContextChunk& chunk : index.chunks) {
    EXPECT_GT(chunk.coded[0].size, chunk.coded[1].size);
    EXPECT_GT(chunk.coded[1].size, chunk.coded[2].size);
  }
  const std::vector<float> exact = exact_logits();
  double nearest = 0;
  for (std::size_t form = 0; form < 3; ++form) {
    LoadedContext context = loaded(path, *fixed_form(form));
    EXPECT_EQ(context.cache->length(), 150);
    EXPECT_EQ(context.rest, index.rest);
    for (const LoadedChunk& chunk : context.chunks) EXPECT_EQ(chunk.form, form);
    const double error = distance(next_logits(*context.cache), exact);
    EXPECT_GT(error, nearest);
    nearest = error;
  }
}

// Chunks are those of the rows of an exact cache: a context in f16 is the f16 cache itself, in any chunks.
TEST_F(Contexts, ExactChunksAreTheExactCache) {
  const auto cache = CacheFactory("f16", {model_->kv_shape(), folder_, {}, 0}).make();
  model_->forward(std::span(tokens_).first(150), cache.get(), true);
  const std::vector<float> expected = next_logits(*cache);
  for (const std::int64_t chunk : {1, 7, 150, 4000}) {
    LoadedContext context = loaded(saved("f16", chunk), *fixed_form(0));
    EXPECT_LT(distance(next_logits(*context.cache), expected), 1e-5) << chunk;
  }
}

// Rows that are computed anew stay f16, so they lose less than the finest form.
TEST_F(Contexts, TextComputesTheCacheAnew) {
  LoadedContext context = loaded(saved(), *fixed_form(3));
  for (const LoadedChunk& chunk : context.chunks) EXPECT_EQ(chunk.form, 3u);
  EXPECT_EQ(context.cache->length(), 150);
  const std::vector<float> exact = exact_logits();
  const double finest = distance(next_logits(*loaded(saved(), *fixed_form(0)).cache), exact);
  const double coarsest = distance(next_logits(*loaded(saved(), *fixed_form(2)).cache), exact);
  EXPECT_LT(distance(next_logits(*context.cache), exact), finest);
  // Mixed: what is computed anew goes on from what was loaded.
  class Turns final : public ChunkPolicy {
   public:
    std::size_t choose(std::size_t chunk, double) override { return (3 * chunk) % 4; }
  } turns;
  LoadedContext mixed = loaded(saved(), turns);
  EXPECT_EQ(mixed.chunks[1].form, 3u);
  EXPECT_EQ(mixed.chunks[2].form, 2u);
  EXPECT_EQ(mixed.cache->length(), 150);
  EXPECT_LT(distance(next_logits(*mixed.cache), exact), 2 * coarsest);
}

TEST_F(Contexts, OtherPipelinesAreSavedByLayers) {
  const std::string pipeline = "kivi(bits=2)";
  const std::filesystem::path path = saved(pipeline);
  EXPECT_EQ(read_context_index(*open_context_file(path)).kind, ContextIndex::Kind::tokens);
  // f16 after it would be another decision about bits, so any of the others stands for "not bits only".
  for (const MethodDescription& method : method_registry()) {
    if (!method.cache || method.cache->axes.front() == CacheAxis::bits) continue;
    try {
      CacheFactory(method.slug, {model_->kv_shape(), folder_, {}, 0});
    } catch (const Error&) {
      continue;  // needs trained bases
    }
    const std::filesystem::path by_layer = saved(method.slug);
    EXPECT_EQ(read_context_index(*open_context_file(by_layer)).kind, ContextIndex::Kind::layers);
    const auto cache = CacheFactory(method.slug, {model_->kv_shape(), folder_, {}, 0}).make();
    model_->forward(std::span(tokens_).first(150), cache.get(), true);
    LoadedContext context = loaded(by_layer, *fixed_form(0));
    EXPECT_EQ(next_logits(*context.cache), next_logits(*cache)) << method.slug;
  }
}

TEST_F(Contexts, DamagedChunksAreComputedAnewAndNamed) {
  const std::filesystem::path path = saved();
  const ContextIndex index = read_context_index(*open_context_file(path));
  damage(path, index.chunks[2].coded[1]);
  std::vector<std::string> notices;
  LoadedContext context = loaded(path, *fixed_form(1), &notices);
  EXPECT_EQ(context.chunks[1].form, 1u);
  EXPECT_EQ(context.chunks[2].form, 3u);
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_NE(notices.front().find("chunk 2 (tokens 80 to 119) as cachegen is damaged"), std::string::npos);
  const std::vector<float> exact = exact_logits();
  EXPECT_LT(distance(next_logits(*context.cache), exact),
            2 * distance(next_logits(*loaded(saved(), *fixed_form(1)).cache), exact));
  damage(path, index.chunks[2].coded[1]);

  // With its text gone as well there is nothing to go on from.
  damage(path, index.chunks[2].text);
  try {
    loaded(path, *fixed_form(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_NE(std::string(error.what()).find("text of chunk 2"), std::string::npos);
  }
}

TEST_F(Contexts, ADamagedLayerIsComputedAnew) {
  // A method of tokens, where there is one that needs no training.
  for (const MethodDescription& method : method_registry()) {
    if (!method.cache || method.cache->axes.front() != CacheAxis::tokens) continue;
    try {
      CacheFactory(method.slug, {model_->kv_shape(), folder_, {}, 0});
    } catch (const Error&) {
      continue;
    }
    const std::filesystem::path path = saved(method.slug);
    const ContextIndex index = read_context_index(*open_context_file(path));
    LoadedContext whole = loaded(path, *fixed_form(0));
    damage(path, index.chunks[1].coded[0]);
    std::vector<std::string> notices;
    LoadedContext context = loaded(path, *fixed_form(0), &notices);
    ASSERT_EQ(notices.size(), 1u);
    EXPECT_NE(notices.front().find("layer 1"), std::string::npos);
    EXPECT_EQ(next_logits(*context.cache), next_logits(*whole.cache));
    return;
  }
  GTEST_SKIP() << "no method of tokens works without trained bases";
}

TEST_F(Contexts, WhatDoesNotBelongTogetherIsRefused) {
  const std::filesystem::path path = saved();
  const auto source = open_context_file(path);
  const ContextIndex index = read_context_index(*source);
  const auto fault = [&](ContextIndex changed, const ContextLoadOptions& options = {}) -> std::string {
    try {
      const auto policy = fixed_form(1);
      load_context(model(), *source, changed, *policy, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(fault(index), "");
  ContextIndex changed = index;
  changed.model = Hash128{9};
  EXPECT_NE(fault(changed).find("fingerprint"), std::string::npos);
  changed = index;
  changed.tokenizer = Hash128{9};
  EXPECT_NE(fault(changed).find("tokenizer"), std::string::npos);
  changed = index;
  changed.layers = 5;
  EXPECT_NE(fault(changed).find("layers"), std::string::npos);
  changed = index;
  changed.rest = {999};
  EXPECT_NE(fault(changed).find("vocabulary"), std::string::npos);
  EXPECT_THROW(save_context(model(), std::span(tokens_).first(1), {}, folder_ / "x.kv"), Error);
  const std::vector<std::int32_t> many(300, 1);
  EXPECT_THROW(save_context(model(), many, {}, folder_ / "x.kv"), Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x.kv"));
}

// A policy that is told about time and bytes, over a real file.
TEST_F(Contexts, TheControllerChoosesWhileLoading) {
  const std::filesystem::path path = saved();
  const auto source = open_context_file(path);
  const ContextIndex index = read_context_index(*source);
  StreamSettings settings;
  settings.slo = 1000;
  settings.bits_per_second = 1e9;
  StreamController controller = StreamController::of(settings, index);
  LoadedContext context = load_context(model(), *source, index, controller);
  for (const LoadedChunk& chunk : context.chunks) EXPECT_EQ(chunk.form, 0u);
  settings.bits_per_second = 0;
  StreamController nothing = StreamController::of(settings, index);
  context = load_context(model(), *source, index, nothing);
  EXPECT_EQ(context.chunks[0].form, 3u);
}

TEST(PrefillTime, IsMeasuredAndGrows) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("prefill-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  const reference::Description description;
  write_model(folder, description, reference::random_weights(description, 1, DType::f32), DType::f32, "");
  const PrefillCost cost = measure_prefill(Transformer::load(folder));
  EXPECT_GT(cost.seconds(0, 10), 0);
  EXPECT_GE(cost.seconds(100, 10), cost.seconds(0, 10));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace laconic
