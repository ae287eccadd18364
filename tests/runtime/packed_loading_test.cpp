// Compressed directories in which every tensor is a payload: embeddings, tied heads and vectors too.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/codec/composition.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/benchmark/generated_model.h"
#include "runtime/transformer.h"
#include "tests/runtime/artifact/small_model.h"

namespace laconic {
namespace {

GeneratedModel small(bool tied) {
  GeneratedModel model;
  model.layers = 2;
  model.hidden = 64;
  model.intermediate = 96;
  model.heads = 4;
  model.kv_heads = 2;
  model.vocabulary = 131;
  model.tied = tied;
  model.shard_limit = 60000;  // more than one file
  return model;
}

const char* codec_for(const std::string& name) {
  if (name == "model.embed_tokens.weight") return "uniform(bits=6,group=32)|zstd";
  if (name == "lm_head.weight") return "uniform(bits=5,group=32)+outliers(fraction=0.01)";
  if (name.find("norm") != std::string::npos) return "raw(dtype=f16)";
  return "uniform(bits=4,group=32)";
}

void compress_everything(const fs::path& model, const fs::path& output) {
  ArtifactWriter writer(model, output, "key", false);
  const SafetensorsDirectory tensors(model);
  for (const std::string& name : tensors.names()) {
    std::vector<std::pair<std::string, Payload>> payloads;
    payloads.emplace_back(name, parse_codec(codec_for(name))->encode(tensors.tensor(name), {}));
    writer.put_unit(name, std::move(payloads));
  }
  writer.finish("test", {});
}

class PackedLoading : public testing::TestWithParam<bool> {};

TEST_P(PackedLoading, EmbeddingsHeadsAndVectorsAreReadFromTheirPackedForm) {
  const TemporaryFolder folder;
  write_generated_model(folder.path() / "model", small(GetParam()));
  ASSERT_GT(SafetensorsDirectory(folder.path() / "model").files().size(), 1u);
  compress_everything(folder.path() / "model", folder.path() / "packed");
  decompress_model(folder.path() / "packed", folder.path() / "plain", DType::f32, false);
  const Transformer packed = Transformer::load(folder.path() / "packed");
  const Transformer plain = Transformer::load(folder.path() / "plain");
  EXPECT_LT(packed.resident_bytes() * 4, plain.resident_bytes());

  std::vector<std::int32_t> tokens(131);
  std::iota(tokens.begin(), tokens.end(), 0);
  EXPECT_EQ(packed.embed(tokens), plain.embed(tokens));
  tokens.resize(9);
  const std::vector<float> got = packed.forward(tokens, nullptr), wanted = plain.forward(tokens, nullptr);
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], wanted[i], 1e-4 * (1 + std::abs(wanted[i]))) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(TiedAndNot, PackedLoading, testing::Bool());

TEST(PackedLoadingRefusals, EmbeddingsOfAnotherVocabulary) {
  const TemporaryFolder folder;
  write_generated_model(folder.path() / "model", small(false));
  std::string config = read_text_file(folder.path() / "model" / "config.json");
  config.replace(config.find("131"), 3, "130");
  write_file(folder.path() / "model" / "config.json", std::string_view(config));
  compress_everything(folder.path() / "model", folder.path() / "packed");
  EXPECT_THROW(Transformer::load(folder.path() / "packed"), Error);
}

}  // namespace
}  // namespace laconic
