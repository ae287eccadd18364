// LIBSVM text becomes sparse rows, or is refused with the line that is wrong.
#include "engine/dataset/libsvm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <filesystem>
#include <string>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/dataset/gzip.h"

namespace laconic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string refusal(const std::string& text, std::int64_t columns = 0) {
  try {
    parse_libsvm(text, "set", columns);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "accepted";
}

std::string gzip(const std::string& text) {
  std::string out(text.size() + 100, '\0');
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST(Libsvm, RowsLabelsAndEmptyRows) {
  const SparseExamples examples =
      parse_libsvm("-1 3:1 11:0.5 \r\n+1.0 1:-2e-1\n\n-1 \n# nothing\n1 2:0 # a comment 5:1", "set");
  EXPECT_EQ(examples.rows(), 4);
  EXPECT_EQ(examples.columns, 11);
  EXPECT_THAT(examples.label, ElementsAre(-1, 1, -1, 1));
  EXPECT_THAT(examples.row(0).columns, ElementsAre(2, 10));
  EXPECT_THAT(examples.row(0).values, ElementsAre(1, 0.5f));
  EXPECT_THAT(examples.row(1).values, ElementsAre(-0.2f));
  EXPECT_THAT(examples.row(2).columns, IsEmpty());
  EXPECT_THAT(examples.row(3).columns, ElementsAre(1));
  const std::vector<float> vector(11, 2.0f);
  EXPECT_EQ(dot(examples.row(0), std::span<const float>(vector)), 3);
}

TEST(Libsvm, CountsFromZeroWhereAnIndexIsZero) {
  const SparseExamples examples = parse_libsvm("0 1:1\n1 0:1 2:1", "set");
  EXPECT_EQ(examples.columns, 3);
  EXPECT_THAT(examples.row(0).columns, ElementsAre(1));
  EXPECT_THAT(examples.row(1).columns, ElementsAre(0, 2));
}

TEST(Libsvm, WidthOfAnotherPart) {
  EXPECT_EQ(parse_libsvm("1 2:1", "set", 7).columns, 7);
  EXPECT_THAT(refusal("1 8:1", 7), HasSubstr("over 7"));
  EXPECT_THAT(refusal("1 0:1 7:1", 7), HasSubstr("8 columns"));
}

TEST(Libsvm, WrongLinesAreNamed) {
  EXPECT_THAT(refusal("1 1:1\nyes 1:1"), AllOf(HasSubstr("line 2"), HasSubstr("yes")));
  EXPECT_THAT(refusal("1 2:1 2:1"), HasSubstr("ascend"));
  EXPECT_THAT(refusal("1 3:1 2:1"), HasSubstr("ascend"));
  EXPECT_THAT(refusal("1 2"), HasSubstr("index:value"));
  EXPECT_THAT(refusal("1 -2:1"), HasSubstr("no index"));
  EXPECT_THAT(refusal("1 2:"), HasSubstr("finite"));
  EXPECT_THAT(refusal("1 2:nan"), HasSubstr("finite"));
  EXPECT_THAT(refusal("1 2:1e60"), HasSubstr("finite"));
  EXPECT_THAT(refusal("inf 2:1"), HasSubstr("finite"));
  EXPECT_THAT(refusal("1 qid:3 2:1"), HasSubstr("no index"));
  EXPECT_THAT(refusal("1 4294967296:1"), HasSubstr("over"));
  EXPECT_THAT(refusal("1 99999999999999999999:1"), HasSubstr("no index"));
  EXPECT_THAT(refusal(""), HasSubstr("no example"));
}

TEST(Libsvm, SignsAndClasses) {
  EXPECT_THAT(sign_labels(parse_libsvm("0\n1\n0", "set"), "set"), ElementsAre(-1, 1, -1));
  EXPECT_THAT(sign_labels(parse_libsvm("-1\n+1", "set"), "set"), ElementsAre(-1, 1));
  EXPECT_THAT(sign_labels(parse_libsvm("1\n1", "set"), "set"), ElementsAre(1, 1));
  EXPECT_THAT(sign_labels(parse_libsvm("2\n1", "set"), "set"), ElementsAre(1, -1));
  EXPECT_THROW(sign_labels(parse_libsvm("1\n2\n3", "set"), "set"), Error);
  EXPECT_THROW(sign_labels(parse_libsvm("3\n3", "set"), "set"), Error);
  EXPECT_THAT(class_labels(std::array{5.0f, -1.0f, 2.5f, 5.0f}, "set"), ElementsAre(2, 0, 1, 2));
}

TEST(Gzip, FilesAreReadEitherWay) {
  const std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) / ("laconic-set-" + std::to_string(::getpid()) + ".gz");
  const std::string text = "-1 3:1\n+1 2:1\n";
  write_file(path, gzip(text));
  EXPECT_EQ(read_libsvm(path).rows(), 2);
  write_file(path, text);
  EXPECT_EQ(read_libsvm(path).rows(), 2);
  write_file(path, gzip(text) + gzip(text));
  EXPECT_EQ(read_libsvm(path).rows(), 4) << "members are joined";
  std::filesystem::remove(path);
}

TEST(Gzip, DamageAndSizeAreNoticed) {
  std::string packed = gzip(std::string(100'000, 'a'));
  EXPECT_EQ(decompress_gzip(as_byte_span(packed), 100'000, "data").size(), 100'000u);
  EXPECT_THROW(decompress_gzip(as_byte_span(packed), 99'999, "data"), Error);
  for (const std::size_t length : {std::size_t{0}, std::size_t{5}, packed.size() / 2, packed.size() - 1})
    EXPECT_THROW(decompress_gzip(as_byte_span(packed.substr(0, length)), 1 << 20, "data"), Error) << length;
  packed[packed.size() / 2] ^= 0x10;
  EXPECT_THROW(decompress_gzip(as_byte_span(packed), 1 << 20, "data"), Error);
}

}  // namespace
}  // namespace laconic
