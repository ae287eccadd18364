// The progressive artefact: a base, stack shards, prefixes of blocks, cut and damaged files.
#include "runtime/artifact/stack_artifact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "engine/codec/absolute_value_decomposition.h"
#include "engine/codec/composition.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/stack_writer.h"
#include "tests/runtime/artifact/small_model.h"

namespace laconic {
namespace {

using testing::HasSubstr;

constexpr int levels = 3;
const std::vector<std::string> tensors = {"layers.0.weight", "layers.1.weight", "layers.2.weight"};

template <class Call>
std::pair<ErrorKind, std::string> thrown(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  return {ErrorKind::internal, "nothing was thrown"};
}

class Stack : public testing::Test {
 protected:
  void SetUp() override { make_small_model(model()); }
  fs::path model() const { return folder_.path() / "model"; }
  fs::path output() const { return folder_.path() / "out"; }

  // Level 0 of every tensor, then the other levels in turn.
  static std::vector<StackPlace> whole_order() {
    std::vector<StackPlace> order;
    for (std::int64_t level = 0; level < levels; ++level) {
      for (std::size_t t = 0; t < tensors.size(); ++t) {
        order.push_back({tensors[level == 1 ? tensors.size() - 1 - t : t], level});
      }
    }
    return order;
  }

  Decomposition decomposed(const std::string& name, DType dtype) const {
    const SafetensorsDirectory source(model());
    const TensorView view = source.tensor(name);
    const std::vector<float> weights = view.to_f32();
    DecompositionOptions options;
    options.blocks = levels;
    options.dtype = dtype;
    return absolute_value_decomposition(weights.data(), view.shape[0], view.shape[1], options, 0, name);
  }

  std::uint64_t compress(std::uint64_t shard_limit = 2000, bool mixed = false) {
    const SafetensorsDirectory source(model());
    StackOptions options;
    options.stack_shard_limit = shard_limit;
    StackWriter writer(model(), output(), "key", true, options);
    for (const std::string& name : tensors) {
      std::vector<Payload> blocks;
      for (int level = 0; level < levels; ++level) {
        // A tensor whose last block keeps its factors in f32 has two forms.
        const DType dtype = mixed && level == levels - 1 ? DType::f32 : DType::f16;
        const SignBlock block = decomposed(name, dtype).blocks[static_cast<std::size_t>(level)];
        blocks.push_back(sign_payload(block, "sign(rank=" + std::to_string(block.rank) + ")",
                                      source.tensor(name).dtype, source.tensor(name).shape));
      }
      std::vector<std::pair<std::string, std::vector<Payload>>> unit;
      unit.emplace_back(name, std::move(blocks));
      writer.put_unit("unit " + name, std::move(unit));
    }
    const std::vector<StackPlace> order = whole_order();
    const std::uint64_t predicted = writer.size_of(order, "bitstack", {});
    const std::uint64_t written = writer.finish("bitstack", {}, order);
    EXPECT_EQ(predicted, written);
    return written;
  }

  static std::vector<float> sum_of(const Decomposition& decomposition, std::int64_t blocks,
                                   std::size_t count) {
    std::vector<float> sum(count, 0.0f);
    for (std::int64_t i = 0; i < blocks; ++i)
      add_block(decomposition.blocks[static_cast<std::size_t>(i)], sum.data());
    return sum;
  }

  std::vector<fs::path> shards() const {
    std::vector<fs::path> paths;
    for (const auto& item : fs::directory_iterator(output())) {
      if (is_stack_shard_name(item.path().filename().string())) paths.push_back(item.path());
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }

  TemporaryFolder folder_;
};

TEST_F(Stack, EveryPrefixIsAModelOfExactlyItsFirstBlocks) {
  const std::uint64_t bytes = compress();
  ASSERT_GE(shards().size(), 2u);
  const CompressedModel whole(output());
  EXPECT_EQ(whole.safetensors_bytes(), bytes);
  EXPECT_EQ(whole.method(), "bitstack");
  const StackArtifact& stack = *whole.stack();
  const std::vector<StackPlace> order = whole_order();
  ASSERT_EQ(stack.blocks().size(), order.size());
  EXPECT_EQ(stack.least_prefix(), tensors.size());
  for (std::size_t prefix = tensors.size(); prefix <= order.size(); ++prefix) {
    // One byte less than the end of a block is the block before.
    const std::uint64_t size = stack.loaded_bytes(prefix);
    EXPECT_EQ(stack.prefix_for(size), prefix);
    if (prefix > tensors.size()) {
      EXPECT_EQ(stack.prefix_for(size - 1), prefix - 1);
    }
    const CompressedModel part(output(), {true, size});
    EXPECT_LE(part.safetensors_bytes(), size);
    std::map<std::string, std::int64_t> counts;
    for (std::size_t i = 0; i < prefix; ++i) counts[order[i].tensor] = order[i].level + 1;
    for (const auto& [name, count] : counts) {
      const Tensor decoded = decode_payload(part.payload(name));
      const std::vector<float> expected =
          sum_of(decomposed(name, DType::f16), count, static_cast<std::size_t>(decoded.elements()));
      EXPECT_EQ(std::vector<float>(decoded.f32().begin(), decoded.f32().end()), expected)
          << name << ' ' << count;
    }
  }
}

TEST_F(Stack, SizeCountsEveryByteUpToTheEndOfTheBlock) {
  compress();
  const CompressedModel whole(output());
  std::uint64_t before = fs::file_size(output() / "model.safetensors");
  std::size_t shard = 0;
  for (const StackArtifact::Block& block : whole.stack()->blocks()) {
    while (shard < block.shard) before += fs::file_size(shards()[shard++]);
    EXPECT_EQ(block.loaded_bytes, before + block.offset + block.bytes);
  }
  EXPECT_EQ(whole.stack()->blocks().back().loaded_bytes, before + fs::file_size(shards().back()));
  for (const fs::path& path : shards()) EXPECT_LE(fs::file_size(path), 2000u);
}

TEST_F(Stack, ASizeBelowTheLeastNamesTheLeast) {
  compress();
  const std::uint64_t least = CompressedModel(output()).stack()->loaded_bytes(tensors.size());
  const auto [kind, text] = thrown([&] { CompressedModel part(output(), {true, least - 1}); });
  EXPECT_EQ(kind, ErrorKind::usage);
  EXPECT_THAT(text, HasSubstr(std::to_string(least)));
}

TEST_F(Stack, AFactorKeptInF32HasItsOwnForm) {
  compress(2000, true);
  const CompressedModel whole(output());
  const Payload payload = whole.payload("layers.1.weight");
  EXPECT_EQ(payload.find("0.left")->data.dtype(), DType::f16);
  EXPECT_EQ(payload.find("2.left")->data.dtype(), DType::f32);
}

TEST_F(Stack, ACutLastShardIsUsableUpToItsLastIntactBlock) {
  compress();
  const CompressedModel whole(output());
  const std::vector<StackArtifact::Block> blocks = whole.stack()->blocks();
  const fs::path last = shards().back();
  const std::string content = read_text_file(last);
  const std::size_t first_in_last =
      static_cast<std::size_t>(std::find_if(blocks.begin(), blocks.end(),
                                            [&](const auto& b) { return b.shard + 1 == shards().size(); }) -
                               blocks.begin());
  ASSERT_GT(first_in_last, tensors.size());
  for (std::size_t length = 0; length < content.size(); length += length < 16 ? 1 : 13) {
    write_file(last, std::string_view(content).substr(0, length));
    std::size_t usable = first_in_last;
    while (usable < blocks.size() && blocks[usable].offset + blocks[usable].bytes <= length) ++usable;
    const CompressedModel cut(output());
    ASSERT_EQ(cut.stack()->blocks().size(), usable) << length;
    EXPECT_THAT(cut.notice(), HasSubstr("was cut"));
    EXPECT_EQ(cut.safetensors_bytes(), blocks[usable - 1].loaded_bytes);
    // Without the manifest the file's own length word tells as much.
    EXPECT_EQ(CompressedModel(output(), {false, {}}).stack()->blocks().size(), usable) << length;
  }
  fs::remove(last);
  const CompressedModel without(output());
  EXPECT_EQ(without.stack()->blocks().size(), first_in_last);
  EXPECT_THAT(without.notice(), HasSubstr("is missing"));
}

TEST_F(Stack, WithoutABlockOfEveryTensorItIsRefused) {
  compress();
  for (const fs::path& path : shards()) fs::remove(path);
  const auto [kind, text] = thrown([&] { CompressedModel read(output()); });
  EXPECT_EQ(kind, ErrorKind::corrupt);
  EXPECT_THAT(text, HasSubstr("no block of layers.0.weight"));
}

TEST_F(Stack, EveryFlippedBitIsFound) {
  compress();
  for (const fs::path& path : {output() / "model.safetensors", shards().front(), shards().back()}) {
    std::string content = read_text_file(path);
    for (std::size_t at = 0; at < content.size(); at += 7) {
      const char before = content[at];
      content[at] = static_cast<char>(before ^ (1 << (at % 8)));
      write_file(path, std::string_view(content));
      ASSERT_EQ(thrown([&] { CompressedModel read(output()); }).first, ErrorKind::corrupt)
          << path << " byte " << at;
      content[at] = before;
    }
    write_file(path, std::string_view(content));
  }
  EXPECT_NO_THROW(CompressedModel read(output()));
}

TEST_F(Stack, ShardsOfAnotherArtefactAreRefused) {
  compress();
  const std::vector<fs::path> paths = shards();
  const std::string first = read_text_file(paths[0]), second = read_text_file(paths[1]);
  if (first.size() != second.size()) {
    write_file(paths[0], std::string_view(second));
    EXPECT_EQ(thrown([&] { CompressedModel read(output(), {false, {}}); }).first, ErrorKind::corrupt);
  }
  write_file(paths[0], std::string_view(first));
  write_file(output() / "stack-00009-of-00009.safetensors", std::string_view(first));
  EXPECT_EQ(thrown([&] { CompressedModel read(output()); }).first, ErrorKind::corrupt);
}

TEST_F(Stack, DecompressesToTheSumOfItsBlocksWithoutFlags) {
  compress();
  const fs::path again = folder_.path() / "again";
  EXPECT_EQ(decompress_model(output(), again, DType::f32, false), "");
  const SafetensorsDirectory dense(again), source(model());
  EXPECT_EQ(dense.names(), source.names());
  EXPECT_FALSE(CompressedModel::is_compressed(again));
  for (const std::string& name : tensors) {
    const std::vector<float> values = dense.tensor(name).to_f32();
    EXPECT_EQ(values, sum_of(decomposed(name, DType::f16), levels, values.size()));
  }
}

TEST_F(Stack, NumbersSurviveAnInterruptedRun) {
  const double numbers[] = {1.5, std::numeric_limits<double>::quiet_NaN(),
                            std::numeric_limits<double>::infinity()};
  {
    StackWriter writer(model(), output(), "key", false);
    writer.put_numbers("scores", numbers);
  }
  StackWriter writer(model(), output(), "key", false);
  ASSERT_TRUE(writer.has_numbers("scores"));
  const std::vector<double> read = writer.numbers("scores");
  EXPECT_EQ(read[0], 1.5);
  EXPECT_TRUE(std::isnan(read[1]));
  EXPECT_TRUE(std::isinf(read[2]));
  EXPECT_EQ(thrown([&] { StackWriter other(model(), folder_.path() / "out", "another key", false); }).first,
            ErrorKind::usage);
}

TEST(StackMetadata, RefusesWhatNoWriterMakes) {
  const auto kind = [](std::string_view text) {
    return thrown([&] { StackMetadata::parse(text, "test"); }).first;
  };
  const std::string form = R"x({"codec":"sign(rank=1)","dtype":"F32","shape":[2,2],"attributes":{"rank":1},)x"
                           R"x("fields":[{"name":"signs","dtype":"U8","shape":[1]}]})x";
  const std::string good =
      R"x({"format":1,"shards":[{"blocks":1,"bytes":9}],"tensors":{"a":[)x" + form + "]}}";
  EXPECT_EQ(StackMetadata::parse(good, "test").text().size() > 0, true);
  EXPECT_EQ(kind(""), ErrorKind::corrupt);
  EXPECT_EQ(kind("[]"), ErrorKind::corrupt);
  EXPECT_EQ(kind(R"x({"format":2,"shards":[],"tensors":{}})x"), ErrorKind::unsupported);
  EXPECT_EQ(kind(R"x({"format":1,"shards":[],"tensors":{"a":[)x" + form + "]}}"), ErrorKind::corrupt);
  EXPECT_EQ(kind(R"x({"format":1,"shards":[{"blocks":-1,"bytes":9}],"tensors":{"a":[)x" + form + "]}}"),
            ErrorKind::corrupt);
  EXPECT_EQ(kind(R"x({"format":1,"shards":[{"blocks":1,"bytes":9}],"tensors":{}})x"), ErrorKind::corrupt);
  EXPECT_EQ(kind(R"x({"format":1,"shards":[{"blocks":1,"bytes":9}],"tensors":{"a":[]}})x"),
            ErrorKind::corrupt);
  EXPECT_EQ(thrown([] {
              StackShardMetadata::parse(
                  R"x({"format":1,"shard":1,"of":1,"first_block":0,"forms":{"a.0":99}})x", "test");
            }).first,
            ErrorKind::corrupt);
}

}  // namespace
}  // namespace laconic
