// Live resize: between tokens, bit for bit like a fresh load, and memory that goes back to the system.
#include "runtime/resizable_model.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <fstream>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/absolute_value_decomposition.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/stack_artifact.h"
#include "runtime/artifact/stack_writer.h"
#include "tests/runtime/reference_model.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

// A model whose linear layers are stacks of random blocks: what they approximate does not matter here.
class Resizable : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) / ("resizable_" + std::to_string(::getpid()));
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  fs::path output() const { return root_ / "stack"; }

  void make(int hidden, int intermediate, int levels) {
    reference::Description description;
    description.vocabulary = 64;
    description.hidden = hidden;
    description.intermediate = intermediate;
    description.layers = 2;
    description.heads = 4;
    description.kv_heads = 2;
    description.head_dim = hidden / 4;
    description.max_positions = 64;
    fs::create_directories(root_ / "model");
    reference::write_model(root_ / "model", description,
                           reference::random_weights(description, 1, DType::bf16), DType::bf16, "");
    const SafetensorsDirectory source(root_ / "model");
    StackWriter writer(root_ / "model", output(), "key", false);
    std::vector<StackPlace> order;
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      std::vector<std::pair<std::string, std::vector<Payload>>> unit;
      for (int slot = 0; slot < linear_slots; ++slot) {
        const std::string name = linear_name(layer, static_cast<LinearSlot>(slot));
        const Shape shape = source.tensor(name).shape;
        std::vector<Payload> blocks;
        for (int level = 0; level < levels; ++level) {
          RandomStream random(3, "resizable", name, static_cast<std::uint64_t>(level));
          SignBlock block;
          block.rows = shape[0];
          block.columns = shape[1];
          block.rank = 1;
          block.signs.resize(static_cast<std::size_t>((shape[0] * shape[1] + 7) / 8));
          for (auto& byte : block.signs) byte = static_cast<std::uint8_t>(random.bits());
          for (std::int64_t i = 0; i < shape[0]; ++i)
            block.a.push_back(std::ldexp(1 + random.uniform(), -level));
          for (std::int64_t i = 0; i < shape[1]; ++i) block.b.push_back(0.03f * (1 + random.uniform()));
          Payload payload = sign_payload(block, "sign(rank=1)", DType::bf16, shape);
          blocks.push_back(std::move(payload));
        }
        unit.emplace_back(name, std::move(blocks));
      }
      writer.put_unit("block " + std::to_string(layer), std::move(unit));
    }
    for (std::int64_t level = 0; level < levels; ++level) {
      for (std::int64_t layer = 0; layer < 2; ++layer) {
        for (int slot = 0; slot < linear_slots; ++slot) {
          order.push_back({linear_name(layer, static_cast<LinearSlot>(slot)), level});
        }
      }
    }
    writer.finish("bitstack", {}, order);
  }

  fs::path root_;
};

TEST_F(Resizable, ContinuesFromASnapshotExactlyLikeAFreshLoadAtThatSize) {
  make(32, 48, 4);
  ResizableModel live(output());
  const std::uint64_t small = live.smallest_bytes(), large = live.largest_bytes();
  ASSERT_LT(small, large);
  auto cache = live.model().make_cache();
  const std::vector<std::int32_t> prompt = {1, 5, 9, 2, 40, 33};
  live.model().forward(prompt, cache.get());
  const Transformer copy = live.model();  // copies follow
  std::int32_t token = 7;
  for (const std::uint64_t size : {small, large, (small + large) / 2, large - 1, small + 1, large}) {
    auto snapshot = cache->snapshot();
    LoadOptions options;
    options.size = size;
    const std::vector<std::int32_t> next = {token++};
    const std::vector<float> fresh = Transformer::load(output(), options).forward(next, snapshot.get());
    live.resize(size);
    EXPECT_LE(live.loaded_bytes(), size);
    EXPECT_EQ(copy.forward(next, cache.get()), fresh) << size;
  }
}

TEST_F(Resizable, ARefusedSizeLeavesTheModelAsItIs) {
  make(32, 48, 3);
  ResizableModel live(output());
  const std::size_t blocks = live.blocks();
  try {
    live.resize(live.smallest_bytes() - 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find(std::to_string(live.smallest_bytes())), std::string::npos);
  }
  EXPECT_EQ(live.blocks(), blocks);
  EXPECT_THROW(ResizableModel(root_ / "model"), Error);
}

TEST_F(Resizable, DamageInABlockThatComesLaterIsFoundWhenItComes) {
  make(32, 48, 3);
  const fs::path shard = output() / "stack-00001-of-00001.safetensors";
  const CompressedModel whole(output());
  std::string content = read_text_file(shard);
  content[content.size() - 5] = static_cast<char>(content[content.size() - 5] ^ 4);
  const std::uint64_t size = whole.safetensors_bytes();
  write_file(shard, std::string_view(content));
  ResizableModel live(output(), whole.stack()->loaded_bytes(whole.stack()->least_prefix()));
  const std::size_t blocks = live.blocks();
  try {
    live.resize(size);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  }
  EXPECT_EQ(live.blocks(), blocks);
}

std::uint64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
  }
  return 0;
}
std::uint64_t file_bytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("RssFile:")) return std::stoull(line.substr(8)) * 1024;
  }
  return 0;
}

TEST_F(Resizable, FreedBlocksLeaveTheResidentSet) {
#ifdef LACONIC_ADDRESS_SANITIZER
  GTEST_SKIP() << "AddressSanitizer keeps freed memory in its quarantine";
#endif
  make(512, 1408, 24);
  if (anonymous_bytes() == 0) GTEST_SKIP() << "the system does not report resident memory";
  ::malloc_trim(0);
  ResizableModel live(output());
  ::malloc_trim(0);
  const std::uint64_t large = live.model().resident_bytes(), before = anonymous_bytes();
  live.resize(live.smallest_bytes());
  const std::uint64_t small = live.model().resident_bytes(), after = anonymous_bytes();
  ASSERT_GT(large - small, std::uint64_t{8} << 20);
  EXPECT_GT(before - std::min(before, after), (large - small) * 8 / 10) << before << ' ' << after;
  // The files' own pages do not stay either: they were read once and released.
  const std::uint64_t mapped = file_bytes();
  live.resize(live.largest_bytes());
  EXPECT_LT(file_bytes(), mapped + (large - small) / 4);
}

}  // namespace
}  // namespace laconic
