// Stored contexts over limited links, by the programs themselves.
#include "methods/cache/cachegen/served_contexts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "methods/cache/context_store.h"
#include "runtime/benchmark/generated_model.h"

namespace laconic {
namespace {

class ServedContextsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string fault = limited_network_fault(); !fault.empty()) GTEST_SKIP() << fault;
    std::string pattern = (std::filesystem::temp_directory_path() / "laconic-served-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    std::filesystem::path stories(LACONIC_SOURCE_DIR);
    stories /= "assets/stories";
    GeneratedModel small;
    small.layers = 2;
    small.hidden = 64;
    small.intermediate = 96;
    small.heads = small.kv_heads = 2;
    small.vocabulary = ModelConfig::load(stories).vocabulary;
    write_generated_model(model(), small);
    std::filesystem::copy_file(stories / "tokenizer.json", model() / "tokenizer.json");
    const Transformer transformer = Transformer::load(model());
    std::vector<std::int32_t> tokens;
    for (std::int32_t i = 0; i < 401; ++i) tokens.push_back((i * i + 7 * i) % 200);
    std::filesystem::create_directories(folder_ / "served");
    index_ = save_context(ContextModel::of(transformer, model()), tokens, {"cachegen", 100, 0},
                          folder_ / "served/a.kv");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path model() const { return folder_ / "model"; }

  std::filesystem::path folder_;
  ContextIndex index_;
};

TEST_F(ServedContextsTest, LoadsTakeTheTimeOfTheLink) {
  const SimulatedContext context = simulated_context(index_);
  double bytes = 0;
  for (const auto& sizes : context.bytes) bytes += static_cast<double>(sizes[1]);
  const double rate = 8 * bytes / 0.2;
  in_limited_network(rate, [&](LimitedNetwork& network) {
    ServedContexts served(LACONIC_PROGRAM, folder_ / "served");
    const ServedLoad load = served.load(model(), "a.kv", {"--level", "2"});
    EXPECT_EQ(load.levels, (std::vector<std::int64_t>{2, 2, 2, 2}));
    EXPECT_EQ(static_cast<double>(load.bytes), bytes);
    EXPECT_GE(load.first_token, 0.15);
    // Ten times slower for a while that begins with the request, not with the program.
    const LinkTrace link = {{{0.4, rate / 10}, {1000, 10 * rate}}};
    const ServedLoad late = served.load(model(), "a.kv", {"--level", "2"}, network, link);
    EXPECT_GE(late.first_token, 0.35);
    EXPECT_LE(late.first_token, 1.5);
    EXPECT_EQ(served.load(model(), "a.kv", {"--level", "0"}).levels, (std::vector<std::int64_t>(4, 0)));
    EXPECT_THROW(served.load(model(), "b.kv", {}), Error);
  });
}

}  // namespace
}  // namespace laconic
