#include "engine/tensor/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "engine/base/random.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string file_text(const std::string& header, std::size_t data_bytes) {
  ByteWriter writer;
  writer.u64(header.size());
  writer.append(as_byte_span(header));
  std::string text(as_text(writer.span()));
  text.append(data_bytes, 'd');
  return text;
}

SafetensorsHeader parse(const std::string& text) {
  return SafetensorsHeader::parse(as_byte_span(text), text.size(), "hostile");
}

// The message with which a file is refused, or "accepted".
std::string refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& error) {
    EXPECT_TRUE(error.kind() == ErrorKind::input || error.kind() == ErrorKind::unsupported ||
                error.kind() == ErrorKind::corrupt)
        << error.what();
    return error.what();
  }
  return "accepted";
}

std::string entry(const char* name, const char* dtype, const char* shape, const char* offsets) {
  return std::string("\"") + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

std::string one(const char* dtype, const char* shape, const char* offsets, std::size_t data) {
  return file_text("{" + entry("a", dtype, shape, offsets) + "}", data);
}

std::string two(const char* first, const char* second, std::size_t data) {
  return file_text("{" + entry("a", "U8", "[4]", first) + "," + entry("b", "U8", "[4]", second) + "}", data);
}

TEST(SafetensorsHeader, AcceptsWhatIsRight) {
  EXPECT_EQ(refusal(one("F32", "[2,3]", "[0,24]", 24)), "accepted");
  EXPECT_EQ(refusal(one("F32", "[]", "[0,4]", 4)), "accepted");
  EXPECT_EQ(refusal(one("F32", "[0,9]", "[0,0]", 0)), "accepted");
  EXPECT_EQ(refusal(two("[0,4]", "[4,8]", 8)), "accepted");
  EXPECT_EQ(refusal(two("[4,8]", "[0,4]", 8)), "accepted");  // any order in the header
  EXPECT_EQ(refusal(file_text("{}", 0)), "accepted");
  EXPECT_EQ(refusal(file_text("{\"__metadata__\":{\"format\":\"pt\"}}      ", 0)), "accepted");
}

TEST(SafetensorsHeader, RefusesOverlapsGapsAndRests) {
  EXPECT_THAT(refusal(two("[0,4]", "[2,6]", 8)), HasSubstr("overlapping"));
  EXPECT_THAT(refusal(two("[0,4]", "[0,4]", 8)), HasSubstr("overlapping"));
  EXPECT_THAT(refusal(two("[0,4]", "[5,9]", 9)), HasSubstr("gap"));
  EXPECT_THAT(refusal(two("[1,5]", "[5,9]", 9)), HasSubstr("gap"));
  EXPECT_THAT(refusal(two("[0,4]", "[4,8]", 9)), HasSubstr("9"));
  EXPECT_THAT(refusal(two("[0,4]", "[4,8]", 7)), HasSubstr("truncated"));
}

TEST(SafetensorsHeader, RefusesLyingOffsets) {
  for (const char* offsets :
       {"[4,0]", "[0,23]", "[0,25]", "[-1,23]", "[0.0,24.0]", "[0]", "[0,24,24]", "24", "null",
        "[\"0\",\"24\"]", "[18446744073709551608,16]", "[0,18446744073709551615]", "[0,1e30]"}) {
    EXPECT_NE(refusal(one("F32", "[2,3]", offsets, 24)), "accepted") << offsets;
  }
}

TEST(SafetensorsHeader, RefusesAbsurdShapes) {
  for (const char* shape :
       {"[-2,-3]", "[2.0,3]", "[\"2\",3]", "6", "null", "{}", "[[2,3]]", "[18446744073709551615]",
        "[4294967296,4294967296,4294967296]", "[281474976710657]", "[1e400]", "[0,18446744073709551615]",
        "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,6]"}) {
    EXPECT_NE(refusal(one("F32", shape, "[0,24]", 24)), "accepted") << shape;
    EXPECT_NE(refusal(one("F32", shape, "[0,0]", 0)), "accepted") << shape;
  }
}

TEST(SafetensorsHeader, RefusesUnknownDtypesByName) {
  EXPECT_THAT(refusal(one("F8_E4M3", "[24]", "[0,24]", 24)), HasSubstr("F8_E4M3"));
  EXPECT_NE(refusal(one("", "[24]", "[0,24]", 24)), "accepted");
  EXPECT_NE(refusal(one("f32", "[6]", "[0,24]", 24)), "accepted");
}

TEST(SafetensorsHeader, RefusesDuplicateKeys) {
  EXPECT_THAT(refusal(file_text(
                  "{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("a", "U8", "[4]", "[4,8]") + "}", 8)),
              HasSubstr("twice"));
  EXPECT_NE(refusal(file_text("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0)), "accepted");
  EXPECT_NE(refusal(file_text(
                "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4)),
            "accepted");
}

TEST(SafetensorsHeader, RefusesEntriesAndMetadataOfTheWrongKind) {
  for (const char* header : {"",
                             " ",
                             "[]",
                             "1",
                             "null",
                             "\"a\"",
                             "{\"a\":1}",
                             "{\"a\":{}}",
                             "{\"a\":[]}",
                             "{\"a\":{\"dtype\":\"U8\"}}",
                             "{\"a\":{\"dtype\":1,\"shape\":[0],\"data_offsets\":[0,0]}}",
                             "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"more\":1}}",
                             "{\"__metadata__\":[]}",
                             "{\"__metadata__\":{\"k\":1}}",
                             "{\"__metadata__\":{\"k\":{}}}",
                             "{",
                             "{}x",
                             "{} {}",
                             "{\"a\":}",
                             "{\"\xff\":1}",
                             "{}\x01"}) {
    EXPECT_NE(refusal(file_text(header, 0)), "accepted") << header;
  }
}

TEST(SafetensorsHeader, RefusesAbsurdDepthWithoutCrashing) {
  for (const char* bracket : {"[", "{\"a\":"}) {
    std::string deep;
    for (int i = 0; i < 200000; ++i) deep += bracket;
    EXPECT_THAT(refusal(file_text(deep, 0)), HasSubstr("deeper"));
  }
}

TEST(SafetensorsHeader, RefusesLyingHeaderLengths) {
  const std::string good = one("F32", "[2,3]", "[0,24]", 24);
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{5}, good.size() - 7,
                                     good.size(), std::uint64_t{1} << 32, std::uint64_t{1} << 63,
                                     ~std::uint64_t{0}, ~std::uint64_t{7}, std::uint64_t{100} << 20}) {
    ByteWriter word;
    word.u64(length);
    std::string text = good;
    text.replace(0, 8, as_text(word.span()));
    EXPECT_NE(refusal(text), "accepted") << length;
  }
}

TEST(SafetensorsHeader, RefusesEveryCut) {
  const std::string good = two("[0,4]", "[4,8]", 8);
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(refusal(good.substr(0, size)), "accepted") << size;
}

TEST(SafetensorsHeader, NeverCrashesOnFlippedBits) {
  const std::string good = two("[0,4]", "[4,8]", 8);
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string text = good;
      text[i] = static_cast<char>(text[i] ^ (1 << bit));
      refusal(text);
    }
  }
}

class SafetensorsFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "laconic-test-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string opening(const fs::path& directory) const {
    try {
      SafetensorsDirectory open(directory);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  fs::path folder_;
};

TEST_F(SafetensorsFiles, AreReadAsWritten) {
  RandomStream random(3, "safetensors", "round trip");
  for (int round = 0; round < 20; ++round) {
    std::vector<Tensor> tensors;
    std::vector<SafetensorsItem> items;
    for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32,
                              DType::i16, DType::i8, DType::u8, DType::boolean, DType::c64}) {
      Shape shape;
      for (std::uint32_t side = random.below(4); side > 0; --side) shape.push_back(random.below(6));
      Tensor tensor(dtype, shape);
      for (std::size_t i = 0; i < tensor.bytes(); ++i)
        tensor.data()[i] = static_cast<std::byte>(random.bits());
      tensors.push_back(std::move(tensor));
    }
    for (std::size_t i = 0; i < tensors.size(); ++i)
      items.push_back({"t." + std::to_string(i), tensors[i].view()});
    const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"quote", "\"\n{}"}};
    const std::uint64_t written = write_safetensors(folder_ / "x.safetensors", items, metadata);
    EXPECT_EQ(written, fs::file_size(folder_ / "x.safetensors"));
    EXPECT_EQ(written, safetensors_size(items, metadata));
    const SafetensorsFile file(folder_ / "x.safetensors");
    EXPECT_EQ(file.header().metadata, metadata);
    EXPECT_EQ(file.header().data_start % 64, 0u);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const TensorView view = file.tensor("t." + std::to_string(i));
      EXPECT_EQ(view.dtype, tensors[i].dtype());
      EXPECT_EQ(view.shape, tensors[i].shape());
      EXPECT_EQ(as_text(view.span()), as_text(tensors[i].span()));
    }
    EXPECT_THROW(file.tensor("absent"), Error);
  }
}

TEST_F(SafetensorsFiles, UnalignedDataAreReadRight) {
  // A header of odd length puts floats at odd addresses.
  std::string header = "{" + entry("a", "F32", "[2]", "[0,8]") + "}";
  while (header.size() % 4 != 3) header += ' ';
  std::string text = file_text(header, 0);
  const float values[2] = {1.5f, -2.25f};
  text.append(reinterpret_cast<const char*>(values), 8);
  write_file(folder_ / "model.safetensors", std::string_view(text));
  const SafetensorsFile file(folder_ / "model.safetensors");
  EXPECT_THAT(file.tensor("a").to_f32(), testing::ElementsAre(1.5f, -2.25f));
}

TEST_F(SafetensorsFiles, TheWriterHoldsToItsPromise) {
  const std::vector<SafetensorsSlot> slots = {{"a", DType::u8, {3}}, {"b", DType::u8, {2}}};
  const std::string data = "abcde";
  {
    SafetensorsWriter writer(folder_ / "x.safetensors", slots);
    writer.append(as_byte_span(data).first(4));
    EXPECT_THROW(writer.commit(), Error);
    EXPECT_THROW(writer.append(as_byte_span(data)), Error);
  }
  EXPECT_TRUE(fs::is_empty(folder_));
  SafetensorsWriter writer(folder_ / "x.safetensors", slots);
  for (std::byte byte : as_byte_span(data)) writer.append(ByteSpan(&byte, 1));
  writer.commit();
  EXPECT_EQ(as_text(SafetensorsFile(folder_ / "x.safetensors").tensor("b").span()), "de");
  EXPECT_THROW(safetensors_header({slots[0], slots[0]}, {}), Error);
  EXPECT_THROW(safetensors_header({{"__metadata__", DType::u8, {1}}}, {}), Error);
}

TEST_F(SafetensorsFiles, DirectoriesAreReadThroughTheirIndexOnly) {
  const Tensor tensor(DType::u8, {4});
  write_safetensors(folder_ / "one.safetensors", {{"a", tensor.view()}});
  write_safetensors(folder_ / "two.safetensors", {{"b", tensor.view()}});
  EXPECT_EQ(opening(folder_), "accepted");
  const auto index = [&](const char* map) {
    write_file(folder_ / "model.safetensors.index.json", std::string("{\"weight_map\":") + map + "}");
    return opening(folder_);
  };
  EXPECT_EQ(index("{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}"), "accepted");
  EXPECT_EQ(index("{\"a\":\"one.safetensors\"}"), "accepted");
  EXPECT_THAT(index("{\"a\":\"two.safetensors\"}"), HasSubstr("but it does not"));
  EXPECT_THAT(index("{\"c\":\"one.safetensors\"}"), HasSubstr("but it does not"));
  EXPECT_THAT(index("{\"a\":\"three.safetensors\"}"), HasSubstr("missing"));
  for (const char* map : {"{\"a\":\"../one.safetensors\"}", "{\"a\":\"/etc/passwd\"}", "{\"a\":\"..\"}",
                          "{\"a\":\"\"}", "{\"a\":1}", "[]", "1", "{}"}) {
    EXPECT_NE(index(map), "accepted") << map;
  }
  write_file(folder_ / "model.safetensors.index.json", std::string_view("not json"));
  EXPECT_NE(opening(folder_), "accepted");
  fs::remove(folder_ / "model.safetensors.index.json");
  write_safetensors(folder_ / "two.safetensors", {{"a", tensor.view()}});
  EXPECT_THAT(opening(folder_), HasSubstr("two files"));
  EXPECT_NE(opening(folder_ / "absent"), "accepted");
  fs::create_directories(folder_ / "empty");
  EXPECT_THAT(opening(folder_ / "empty"), HasSubstr("no .safetensors"));
  write_file(folder_ / "empty" / "model.safetensors", std::string_view(""));
  EXPECT_NE(opening(folder_ / "empty"), "accepted");
}

}  // namespace
}  // namespace laconic
