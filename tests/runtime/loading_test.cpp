// Bad model directories, variants that share weights, and the cache.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/base/error.h"
#include "reference_model.h"
#include "runtime/fingerprint.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using reference::Description;
using reference::Weights;

class Loading : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        fs::path(testing::TempDir()) /
        ("laconic_loading_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(directory_);
    weights_ = reference::random_weights(description_, 11, DType::f32);
  }
  void write(const std::string& extra = "") {
    fs::remove_all(directory_);
    reference::write_model(directory_, description_, weights_, DType::f32, extra);
  }
  std::string refusal() {
    try {
      Transformer::load(directory_);
    } catch (const Error& error) {
      EXPECT_TRUE(error.kind() == ErrorKind::input || error.kind() == ErrorKind::unsupported) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "the model was accepted";
    return "";
  }
  void expect_refusal(const std::vector<std::string>& parts) {
    const std::string message = refusal();
    for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  Description description_;
  Weights weights_;
  fs::path directory_;
  const std::string down_ = "model.layers.1.mlp.down_proj.weight";
};

TEST_F(Loading, RefusesMissingTensors) {
  weights_.erase(down_);
  write();
  expect_refusal({"lacks", down_});
}

TEST_F(Loading, RefusesTensorsThatNobodyAskedFor) {
  weights_["model.layers.1.mlp.down_proj.bias"] = std::vector<double>(24, 0.5);
  weights_["model.layers.3.mlp.down_proj.weight"] = {1};
  write();
  expect_refusal({"2 tensors", "model.layers.1.mlp.down_proj.bias", "model.layers.3.mlp.down_proj.weight"});
}

TEST_F(Loading, IgnoresRotaryTablesOfOldCheckpoints) {
  weights_["model.layers.1.self_attn.rotary_emb.inv_freq"] = {1, 0.1, 0.01};
  write();
  EXPECT_NO_THROW(Transformer::load(directory_));
}

TEST_F(Loading, RefusesWrongShapes) {
  description_.intermediate = 41;
  weights_ = reference::random_weights(description_, 11, DType::f32);
  write();
  std::string config;
  std::ifstream in(directory_ / "config.json");
  std::getline(in, config, '\0');
  in.close();
  config.replace(config.find("\"intermediate_size\": 41"), 23, "\"intermediate_size\": 40");
  std::ofstream(directory_ / "config.json") << config;
  expect_refusal({"shape", "asks for"});
}

TEST_F(Loading, RefusesNanAndInfinityWithTheirPlace) {
  weights_[down_][123] = std::nan("");
  write();
  expect_refusal({"NaN", "123", down_});
  weights_[down_][123] = 0;
  weights_["model.norm.weight"][5] = std::numeric_limits<double>::infinity();
  write();
  expect_refusal({"infinity", "5", "model.norm.weight"});
}

TEST_F(Loading, RefusesIntegerWeights) {
  write();
  std::vector<Tensor> tensors;
  std::vector<SafetensorsItem> items;
  const auto shapes = reference::shapes(description_);
  tensors.reserve(shapes.size());
  for (const auto& [name, shape] : shapes) {
    tensors.emplace_back(name == down_ ? DType::i32 : DType::f32, shape);
    items.push_back({name, tensors.back().view()});
  }
  write_safetensors(directory_ / "model.safetensors", items);
  expect_refusal({"I32", down_});
}

TEST_F(Loading, HoldsTiedHeadsToTheirEmbeddings) {
  weights_["lm_head.weight"] = weights_["model.embed_tokens.weight"];
  description_.tied = false;
  const auto write_tied = [&] {
    write();
    std::string config;
    std::ifstream in(directory_ / "config.json");
    std::getline(in, config, '\0');
    in.close();
    config.replace(config.find("\"tie_word_embeddings\": false"), 28, "\"tie_word_embeddings\": true ");
    std::ofstream(directory_ / "config.json") << config;
  };
  write_tied();
  EXPECT_NO_THROW(Transformer::load(directory_));
  weights_["lm_head.weight"][7] += 1;
  write_tied();
  expect_refusal({"lm_head.weight", "tie_word_embeddings"});
}

TEST_F(Loading, NamesAMissingHead) {
  description_.tied = false;
  weights_ = reference::random_weights(description_, 11, DType::f32);
  weights_.erase("lm_head.weight");
  write();
  expect_refusal({"lm_head.weight", "tie_word_embeddings"});
}

TEST_F(Loading, RefusesTruncatedFilesAndMissingShards) {
  reference::write_model(directory_, description_, weights_, DType::f32, "", 2);
  fs::resize_file(directory_ / "part-1.safetensors", fs::file_size(directory_ / "part-1.safetensors") - 1);
  expect_refusal({"part-1.safetensors", "truncated"});
  fs::remove(directory_ / "part-1.safetensors");
  expect_refusal({"part-1.safetensors", "missing"});
  directory_ = directory_ / "nowhere";
  expect_refusal({"not a directory"});
}

TEST_F(Loading, RefusesTokensOutsideTheVocabulary) {
  write();
  const Transformer model = Transformer::load(directory_);
  EXPECT_THROW(model.embed(std::vector<std::int32_t>{61}), Error);
  EXPECT_THROW(model.embed(std::vector<std::int32_t>{-1}), Error);
  EXPECT_THROW(model.forward(std::vector<std::int32_t>{}, nullptr), Error);
}

TEST_F(Loading, CopiesShareWeightsAndChangeAlone) {
  write();
  const Transformer model = Transformer::load(directory_);
  Transformer variant = model;
  const std::vector<std::int32_t> tokens = {1, 5, 9, 30};
  const std::vector<float> before = model.forward(tokens, nullptr);
  const LinearShape shape = linear_shape(model.config(), LinearSlot::up);
  auto zeros = std::make_shared<Tensor>(DType::f32, Shape{shape.out, shape.in});
  variant.set_linear(1, LinearSlot::up, make_dense_linear(zeros->view(), zeros));
  EXPECT_EQ(model.forward(tokens, nullptr), before);
  const std::vector<float> without_mlp = variant.forward(tokens, nullptr);
  EXPECT_NE(without_mlp, before);
  Transformer dropped = model;
  dropped.set_dropped(1, false, true);
  EXPECT_EQ(dropped.forward(tokens, nullptr),
            without_mlp);  // a zero up projection makes the half add nothing
  EXPECT_EQ(&model.block(0), &variant.block(0));
}

TEST_F(Loading, DroppedAttentionRunsWithACache) {
  write();
  Transformer model = Transformer::load(directory_);
  model.set_dropped(0, true, false);
  model.set_dropped(2, true, true);
  const std::vector<std::int32_t> tokens = {1, 5, 9, 30, 8, 8, 2};
  const std::vector<float> whole = model.forward(tokens, nullptr);
  const auto cache = model.make_cache();
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    const std::vector<float> step = model.forward({&tokens[t], 1}, cache.get());
    for (std::size_t i = 0; i < step.size(); ++i) ASSERT_NEAR(step[i], whole[t * step.size() + i], 1e-4);
  }
  EXPECT_EQ(cache->length(), 7);
  EXPECT_EQ(cache->bytes().payload + cache->bytes().window,
            7u * 2 * 6 * 2 * 4);  // one layer of keys and values
}

TEST_F(Loading, CacheSnapshotsAndCutsContinueAlike) {
  write();
  const Transformer model = Transformer::load(directory_);
  const std::vector<std::int32_t> tokens = {1, 5, 9, 30, 8, 8, 2}, other = {4, 4};
  const auto cache = model.make_cache();
  model.forward({tokens.data(), 5}, cache.get());
  const auto copy = cache->snapshot();
  const std::vector<float> direct = model.forward({&tokens[5], 2}, cache.get());
  model.forward(other, copy.get());
  EXPECT_EQ(copy->length(), 7);
  copy->truncate(5);
  EXPECT_EQ(model.forward({&tokens[5], 2}, copy.get()), direct);
  EXPECT_EQ(cache->length(), 7);
}

TEST_F(Loading, FingerprintSeesEveryTensorButNotTheShards) {
  write();
  const Hash128 one = fingerprint(directory_);
  fs::remove_all(directory_);
  reference::write_model(directory_, description_, weights_, DType::f32, "", 3);
  EXPECT_EQ(fingerprint(directory_), one);
  weights_[down_][0] += 0.25;
  write();
  EXPECT_NE(fingerprint(directory_), one);
}

}  // namespace
}  // namespace laconic
