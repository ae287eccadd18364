#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/base/json.h"
#include "engine/base/threads.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/layout.h"
#include "runtime/artifact/manifest.h"
#include "tests/runtime/artifact/small_model.h"

namespace laconic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Call>
std::pair<ErrorKind, std::string> thrown(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  return {ErrorKind::internal, "nothing was thrown"};
}

Attributes some_provenance() {
  Attributes provenance;
  provenance.set("seed", std::int64_t{17});
  provenance.set("codec", std::string("uniform(bits=3,group=16)"));
  provenance.set("damping", 0.01);
  return provenance;
}

class Artifact : public testing::Test {
 protected:
  void SetUp() override { make_small_model(model()); }
  fs::path model() const { return folder_.path() / "model"; }
  fs::path output() const { return folder_.path() / "out"; }
  fs::path partial() const { return folder_.path() / "out.partial"; }

  std::uint64_t compress(ArtifactOptions options = {}) {
    const SafetensorsDirectory source(model());
    ArtifactWriter writer(model(), output(), "key", false, options);
    for (const char* name : {"layers.0.weight", "layers.1.weight"}) {
      std::vector<std::pair<std::string, Payload>> payloads;
      payloads.emplace_back(name, quantized(source, name, 3));
      writer.put_unit(std::string("unit ") + name, std::move(payloads));
    }
    return writer.finish("rtn", some_provenance());
  }

  TemporaryFolder folder_;
  std::vector<std::pair<std::string, Tensor>> tiny_;
};

TEST_F(Artifact, HoldsWhatWasPutIn) {
  compress();
  EXPECT_TRUE(CompressedModel::is_compressed(output()));
  EXPECT_FALSE(CompressedModel::is_compressed(model()));
  const CompressedModel read(output());
  EXPECT_EQ(read.method(), "rtn");
  EXPECT_EQ(read.provenance(), some_provenance());
  EXPECT_THAT(read.compressed_tensors(), ElementsAre("layers.0.weight", "layers.1.weight"));
  EXPECT_THAT(read.untouched_tensors(),
              ElementsAre("a.norm.weight", "b.bias", "c.table", "d.counts", "e.empty", "layers.2.weight"));
  const SafetensorsDirectory source(model());
  for (const std::string& name : read.untouched_tensors()) {
    EXPECT_EQ(read.tensors().tensor(name).dtype, source.tensor(name).dtype);
    EXPECT_EQ(read.tensors().tensor(name).shape, source.tensor(name).shape);
    EXPECT_EQ(as_text(read.tensors().tensor(name).span()), as_text(source.tensor(name).span()));
  }
  for (const std::string& name : read.compressed_tensors()) {
    const Payload expected = quantized(source, name, 3), payload = read.payload(name);
    EXPECT_EQ(to_frame(payload), to_frame(expected));
    EXPECT_EQ(read.summary(name).field_bytes, expected.field_bytes());
    EXPECT_EQ(read.summary(name).shape, expected.shape);
    EXPECT_EQ(read.summary(name).codec, expected.codec);
    EXPECT_EQ(read.summary(name).stored_bytes % 64, 0u);
  }
}

TEST_F(Artifact, FieldsLieAtMultiplesOf64PaddedWithZeros) {
  compress();
  const SafetensorsFile file(output() / "model.safetensors");
  EXPECT_EQ(file.header().data_start % 64, 0u);
  EXPECT_EQ(file.header().metadata.at("format"), "pt");
  const CompressedModel read(output());
  const Payload payload = read.payload("layers.1.weight");
  for (const Field& field : payload.fields) {
    const SafetensorsEntry* entry = file.find("layers.1.weight." + field.name);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ((file.header().data_start + entry->begin) % 64, 0u);
    EXPECT_EQ((entry->end - entry->begin) % 64, 0u);
    const ByteSpan stored = file.view(*entry).span();
    EXPECT_EQ(as_text(stored.first(field.data.bytes())), as_text(field.data.span()));
    for (std::byte byte : stored.subspan(field.data.bytes())) EXPECT_EQ(byte, std::byte{0});
  }
  for (const SafetensorsEntry& entry : file.header().entries) {
    EXPECT_EQ((file.header().data_start + entry.begin) % size_of(entry.dtype), 0u) << entry.name;
  }
}

TEST_F(Artifact, CopiesEveryOtherFileButNoOtherWeights) {
  compress();
  const auto before = contents_of(model()), after = contents_of(output());
  for (const char* name : {"config.json", "tokenizer.model", "assets/deep/note.txt", "empty.txt"}) {
    ASSERT_TRUE(after.contains(name)) << name;
    EXPECT_EQ(after.at(name), before.at(name));
  }
  EXPECT_EQ(after.size(), 6u);  // and model.safetensors and the manifest
  EXPECT_THAT(Manifest::read(output()).left_out, ElementsAre("other.safetensors", "pytorch_model.bin"));
}

TEST_F(Artifact, SizeIsKnownBeforeItIsWritten) {
  const SafetensorsDirectory source(model());
  for (const std::uint64_t limit : {std::uint64_t{1}, std::uint64_t{300}, std::uint64_t{1} << 30}) {
    for (int bits = 1; bits <= 8; ++bits) {
      const Payload first = quantized(source, "layers.0.weight", bits),
                    second = quantized(source, "c.table", 9 - bits);
      const std::map<std::string, const Payload*> payloads = {{"layers.0.weight", &first},
                                                              {"c.table", &second}};
      Attributes provenance = some_provenance();
      provenance.set("note", std::string(static_cast<std::size_t>(bits) * 13, '"'));
      const std::uint64_t predicted = artifact_size(source, payloads, "gptq", provenance, {limit});
      ArtifactWriter writer(model(), output(), "key", true, {limit});
      std::vector<std::pair<std::string, Payload>> unit;
      unit.emplace_back("layers.0.weight", first.copy());
      unit.emplace_back("c.table", second.copy());
      writer.put_unit("all", std::move(unit));
      const std::uint64_t written = writer.finish("gptq", provenance);
      std::uint64_t on_disk = 0;
      for (const auto& item : fs::recursive_directory_iterator(output())) {
        if (item.path().extension() == ".safetensors") on_disk += item.file_size();
      }
      EXPECT_EQ(written, predicted);
      EXPECT_EQ(on_disk, predicted);
      EXPECT_EQ(CompressedModel(output()).safetensors_bytes(), predicted);
    }
  }
}

TEST_F(Artifact, ShardsWithAnIndexThatAnyReaderUnderstands) {
  compress({300});
  EXPECT_TRUE(fs::exists(output() / "model.safetensors.index.json"));
  const nlohmann::json index = parse_json(read_text_file(output() / "model.safetensors.index.json"), "index");
  const SafetensorsDirectory all(output());
  EXPECT_GT(all.files().size(), 2u);
  EXPECT_EQ(index["weight_map"].size(), all.names().size());
  const CompressedModel read(output());
  const SafetensorsDirectory source(model());
  EXPECT_EQ(to_frame(read.payload("layers.1.weight")), to_frame(quantized(source, "layers.1.weight", 3)));
}

TEST_F(Artifact, DecompressesWithoutFlags) {
  for (const std::uint64_t limit : {std::uint64_t{300}, std::uint64_t{1} << 30}) {
    fs::remove_all(output());
    compress({limit});
    const fs::path plain = folder_.path() / "plain";
    decompress_model(output(), plain, std::nullopt, true);
    const SafetensorsDirectory source(model()), result(plain);
    EXPECT_EQ(result.names(), source.names());
    EXPECT_EQ(read_text_file(plain / "assets/deep/note.txt"), "kept");
    EXPECT_FALSE(fs::exists(plain / manifest_name));
    EXPECT_FALSE(CompressedModel::is_compressed(plain));
    for (const std::string& name : source.names()) {
      EXPECT_EQ(result.tensor(name).dtype, source.tensor(name).dtype);
      ASSERT_EQ(result.tensor(name).shape, source.tensor(name).shape);
      if (name == "layers.0.weight" || name == "layers.1.weight") {
        std::vector<float> expected = expected_weights(quantized(source, name, 3));
        for (float& value : expected) value = rounded_to(source.tensor(name).dtype, value);
        EXPECT_EQ(result.tensor(name).to_f32(), expected);
      } else {
        EXPECT_EQ(as_text(result.tensor(name).span()), as_text(source.tensor(name).span()));
      }
    }
  }
}

TEST_F(Artifact, DecompressesToAnotherDtypeButLeavesIntegers) {
  compress();
  decompress_model(output(), folder_.path() / "plain", DType::f16, false);
  const SafetensorsDirectory result(folder_.path() / "plain");
  EXPECT_EQ(result.tensor("layers.1.weight").dtype, DType::f16);
  EXPECT_EQ(result.tensor("a.norm.weight").dtype, DType::f16);
  EXPECT_EQ(result.tensor("d.counts").dtype, DType::i64);
  EXPECT_EQ(thrown([&] { decompress_model(output(), folder_.path() / "plain", {}, false); }).first,
            ErrorKind::usage);
}

// All bits of all files of a directory in two shards; each flip is made in the file itself, through a
// mapping.
TEST_F(Artifact, EveryFlippedBitIsFound) {
  for (const char* name : {"a.norm.weight", "layers.2.weight"}) {
    const Tensor tensor = random_tensor(name, {2, 8}, DType::bf16);
    tiny_.emplace_back(name, Tensor::copy_of(tensor.view()));
  }
  const fs::path small = folder_.path() / "small";
  fs::create_directories(small);
  write_safetensors(small / "model.safetensors",
                    {{tiny_[0].first, tiny_[0].second.view()}, {tiny_[1].first, tiny_[1].second.view()}});
  write_file(small / "config.json", std::string_view("{}"));
  const SafetensorsDirectory source(small);
  ArtifactWriter writer(small, output(), "key", false, {40});
  std::vector<std::pair<std::string, Payload>> unit;
  unit.emplace_back("layers.2.weight", quantized(source, "layers.2.weight", 3));
  writer.put_unit("u", std::move(unit));
  writer.finish("rtn", {});
  set_thread_count(1);
  std::size_t flips = 0, bits = 0;
  for (const auto& [name, content] : contents_of(output())) {
    bits += content.size() * 8;
    const int descriptor = ::open((output() / name).c_str(), O_RDWR);
    ASSERT_GE(descriptor, 0);
    auto* bytes = static_cast<unsigned char*>(
        ::mmap(nullptr, content.size(), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0));
    ASSERT_NE(bytes, MAP_FAILED);
    for (std::size_t i = 0; i < content.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        bytes[i] = static_cast<unsigned char>(bytes[i] ^ (1 << bit));
        const auto [kind, text] = thrown([&] { CompressedModel read(output()); });
        EXPECT_EQ(kind, ErrorKind::corrupt) << name << " byte " << i << " bit " << bit << ": " << text;
        bytes[i] = static_cast<unsigned char>(bytes[i] ^ (1 << bit));
        ++flips;
      }
    }
    ::munmap(bytes, content.size());
    ::close(descriptor);
  }
  set_thread_count(0);
  EXPECT_EQ(flips, bits);
  EXPECT_NO_THROW(CompressedModel read(output()));
}

TEST_F(Artifact, EveryCutIsFound) {
  compress();
  for (const auto& [name, content] : contents_of(output())) {
    for (std::size_t size = 0; size<content.size(); size += content.size()> 4000 ? 7 : 1) {
      std::ofstream(output() / name, std::ios::binary) << content.substr(0, size);
      ASSERT_EQ(thrown([&] { CompressedModel read(output()); }).first, ErrorKind::corrupt)
          << name << " at " << size;
    }
    std::ofstream(output() / name, std::ios::binary) << content << '\0';
    ASSERT_EQ(thrown([&] { CompressedModel read(output()); }).first, ErrorKind::corrupt) << name;
    std::ofstream(output() / name, std::ios::binary) << content;
  }
  EXPECT_NO_THROW(CompressedModel read(output()));
}

TEST_F(Artifact, ExtraMissingAndExchangedFilesAreFound) {
  compress({300});
  const auto files = contents_of(output());
  const auto expect_corrupt = [&](const char* what) {
    const auto [kind, text] = thrown([&] { CompressedModel read(output()); });
    EXPECT_EQ(kind, ErrorKind::corrupt) << what << ": " << text;
  };
  for (const auto& [name, content] : files) {
    fs::remove(output() / name);
    expect_corrupt(name.c_str());
    write_file(output() / name, std::string_view(content));
  }
  write_file(output() / "assets" / "extra.txt", std::string_view("extra"));
  expect_corrupt("extra file");
  fs::remove(output() / "assets" / "extra.txt");
  const fs::path one = output() / "config.json", other = output() / "assets/deep/note.txt";
  write_file(one, std::string_view(files.at("assets/deep/note.txt")));
  write_file(other, std::string_view(files.at("config.json")));
  expect_corrupt("exchanged side files");
  write_file(one, std::string_view(files.at("config.json")));
  write_file(other, std::string_view(files.at("assets/deep/note.txt")));
  std::vector<std::string> shards;
  for (const auto& [name, content] : files) {
    if (name.ends_with(".safetensors")) shards.push_back(name);
  }
  ASSERT_GT(shards.size(), 1u);
  write_file(output() / shards[0], std::string_view(files.at(shards[1])));
  write_file(output() / shards[1], std::string_view(files.at(shards[0])));
  expect_corrupt("exchanged shards");
  write_file(output() / shards[0], std::string_view(files.at(shards[0])));
  write_file(output() / shards[1], std::string_view(files.at(shards[1])));
  // What tools of model hubs and version control keep beside the files is not part of the model.
  fs::create_directories(output() / ".cache" / "hub");
  write_file(output() / ".cache" / "hub" / "x", std::string_view("x"));
  EXPECT_NO_THROW(CompressedModel read(output()));
}

TEST_F(Artifact, RefusesAnotherFormatVersionByNumber) {
  compress();
  const SafetensorsFile file(output() / "model.safetensors");
  std::string text = file.header().metadata.at("laconic");
  EXPECT_NO_THROW(ArtifactMetadata::parse(text, "x").check_entries(file.header(), "x"));
  text.replace(text.find("\"format\":1"), 10, "\"format\":2");
  const auto [kind, what] = thrown([&] { ArtifactMetadata::parse(text, "x"); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_THAT(what, HasSubstr("version 2"));
}

TEST_F(Artifact, RefusesMetadataThatDoNotFitTheEntries) {
  compress();
  const SafetensorsFile file(output() / "model.safetensors");
  const nlohmann::json good = nlohmann::json::parse(file.header().metadata.at("laconic"));
  const auto expect_corrupt = [&](const nlohmann::json& json) {
    const auto [kind, text] =
        thrown([&] { ArtifactMetadata::parse(json.dump(), "x").check_entries(file.header(), "x"); });
    EXPECT_EQ(kind, ErrorKind::corrupt) << text << "\n" << json.dump();
  };
  const auto with = [&](const char* pointer, nlohmann::json value) {
    nlohmann::json changed = good;
    changed[nlohmann::json::json_pointer(pointer)] = std::move(value);
    return changed;
  };
  expect_corrupt(with("/format", "1"));
  expect_corrupt(with("/method", 1));
  expect_corrupt(with("/provenance", nlohmann::json::array()));
  expect_corrupt(with("/tensors", nlohmann::json::array()));
  expect_corrupt(with("/extra", 1));
  expect_corrupt(with("/tensors/absent", good["tensors"]["layers.0.weight"]));
  expect_corrupt(with("/tensors/layers.0.weight/codec", nullptr));
  expect_corrupt(with("/tensors/layers.0.weight/dtype", "F33"));
  expect_corrupt(with("/tensors/layers.0.weight/shape", {1e300}));
  expect_corrupt(with("/tensors/layers.0.weight/shape", {281474976710656, 281474976710656}));
  expect_corrupt(with("/tensors/layers.0.weight/fields/0/name", "nothing"));
  expect_corrupt(with("/tensors/layers.0.weight/fields/0/dtype", "F32"));
  expect_corrupt(with("/tensors/layers.0.weight/fields/0/shape", {100000}));
  expect_corrupt(with("/tensors/layers.0.weight/fields/0/shape", {-1}));
  expect_corrupt(with("/tensors/layers.0.weight/fields/1", good["tensors"]["layers.0.weight"]["fields"][0]));
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "[";
  EXPECT_EQ(thrown([&] { ArtifactMetadata::parse(deep, "x"); }).first, ErrorKind::corrupt);
}

TEST_F(Artifact, AFieldCannotTakeTheNameOfAnotherTensor) {
  const SafetensorsDirectory source(model());
  std::vector<SafetensorsItem> items;
  for (const std::string& name : source.names()) items.push_back({name, source.tensor(name)});
  items.push_back({"layers.0.weight.codes", source.tensor("b.bias")});
  const fs::path odd = folder_.path() / "odd";
  fs::create_directories(odd);
  write_safetensors(odd / "model.safetensors", items);
  ArtifactWriter writer(odd, output(), "key", false);
  std::vector<std::pair<std::string, Payload>> unit;
  unit.emplace_back("layers.0.weight", quantized(source, "layers.0.weight", 2));
  writer.put_unit("u", std::move(unit));
  EXPECT_EQ(thrown([&] { writer.finish("rtn", {}); }).first, ErrorKind::unsupported);
  EXPECT_FALSE(fs::exists(output()));
}

TEST_F(Artifact, RefusesBadPlaces) {
  compress();
  const auto kind = [&](const fs::path& from, const fs::path& to) {
    return thrown([&] { ArtifactWriter writer(from, to, "key", false); }).first;
  };
  EXPECT_EQ(kind(model(), output()), ErrorKind::usage);                   // exists
  EXPECT_EQ(kind(output(), folder_.path() / "again"), ErrorKind::usage);  // already compressed
  EXPECT_EQ(kind(model(), model() / "out"), ErrorKind::usage);            // inside the model
  EXPECT_EQ(kind(model(), model()), ErrorKind::usage);                    // the model itself
  EXPECT_EQ(kind(model(), folder_.path()), ErrorKind::usage);             // around the model
  EXPECT_EQ(kind(folder_.path() / "nothing", folder_.path() / "again"), ErrorKind::input);
  EXPECT_EQ(kind(model(), "/proc/laconic"), ErrorKind::io);
  EXPECT_FALSE(fs::exists(folder_.path() / "again.partial"));
}

}  // namespace
}  // namespace laconic
