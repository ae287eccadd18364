// Pictures, ratings and text come back as they were written, and damaged files are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/dataset/idx.h"
#include "engine/dataset/picture_sheets.h"
#include "engine/dataset/ratings.h"
#include "engine/dataset/text_windows.h"

namespace laconic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Readers : public testing::Test {
 protected:
  Readers() {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
  }
  ~Readers() override { std::filesystem::remove_all(folder); }
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) /
      ("laconic-readers-" + std::to_string(::getpid()) + "-" + std::to_string(::getpid()));
};

Bytes idx(std::vector<std::uint32_t> shape, std::size_t elements, std::uint8_t type = 8) {
  ByteWriter writer;
  writer.u16(0);
  writer.u8(type);
  writer.u8(static_cast<std::uint8_t>(shape.size()));
  for (const std::uint32_t side : shape) {
    for (int shift = 24; shift >= 0; shift -= 8) writer.u8(static_cast<std::uint8_t>(side >> shift));
  }
  for (std::size_t i = 0; i < elements; ++i) writer.u8(static_cast<std::uint8_t>(i));
  return writer.take();
}

TEST_F(Readers, IdxPair) {
  write_file(folder / "images", idx({3, 2, 2}, 12));
  write_file(folder / "labels", idx({3}, 3));
  const ImageExamples examples = read_idx_pair(folder / "images", folder / "labels");
  EXPECT_EQ(examples.count(), 3);
  EXPECT_EQ(examples.classes, 3);
  EXPECT_THAT(examples.picture(2), ElementsAre(8, 9, 10, 11));
  write_file(folder / "images", idx({2, 1, 2, 3}, 12));
  write_file(folder / "labels", idx({2}, 2));
  EXPECT_THAT(read_idx_pair(folder / "images", folder / "labels").picture(1), ElementsAre(6, 9, 7, 10, 8, 11))
      << "colours become planes";
  write_file(folder / "labels", idx({3}, 3));
  EXPECT_THROW(read_idx_pair(folder / "images", folder / "labels"), Error);
}

TEST_F(Readers, IdxSizesAreBounded) {
  EXPECT_THROW(parse_idx(idx({3, 2}, 5), "idx"), Error);
  EXPECT_THROW(parse_idx(idx({3, 2}, 7), "idx"), Error);
  EXPECT_THROW(parse_idx(idx({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 5), "idx"), Error);
  EXPECT_THROW(parse_idx(idx({0x10000, 0x10000, 0x10000, 0x10000}, 0), "idx"), Error)
      << "the product is 2^64";
  EXPECT_THROW(parse_idx(idx({}, 1), "idx"), Error);
  EXPECT_THROW(parse_idx(idx({1}, 1, 0x0d), "idx"), Error);
  EXPECT_THROW(parse_idx({}, "idx"), Error);
  EXPECT_THAT(parse_idx(idx({0, 3}, 0), "idx").shape, ElementsAre(0, 3));
}

void write_png(const std::filesystem::path& path, std::uint32_t width, std::uint32_t height,
               const std::vector<std::uint8_t>& pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = PNG_FORMAT_RGB;
  ASSERT_NE(png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0, nullptr), 0);
}

TEST_F(Readers, PictureSheets) {
  std::vector<std::uint8_t> pixels(3 * 4 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(7 * i);
  write_png(folder / "sheet.png", 4, 3, pixels);
  write_file(folder / "labels.txt", "1\n0\r\n4\n");
  const std::vector<std::filesystem::path> sheets{folder / "sheet.png"};
  const ImageExamples examples = read_picture_sheets(sheets, folder / "labels.txt", 2);
  EXPECT_THAT(examples.labels, ElementsAre(1, 0, 4));
  EXPECT_EQ(examples.classes, 5);
  EXPECT_THAT(examples.picture(1),
              ElementsAre(pixels[12], pixels[15], pixels[18], pixels[21], pixels[13], pixels[16], pixels[19],
                          pixels[22], pixels[14], pixels[17], pixels[20], pixels[23]));
  EXPECT_THROW(read_picture_sheets(sheets, folder / "labels.txt", 3), Error) << "rows of another length";
  write_file(folder / "labels.txt", "1\n0\n");
  EXPECT_THROW(read_picture_sheets(sheets, folder / "labels.txt", 2), Error);
  write_file(folder / "labels.txt", "1\n0\n-1\n");
  EXPECT_THROW(read_picture_sheets(sheets, folder / "labels.txt", 2), Error);

  Bytes bytes = read_file(folder / "sheet.png");
  EXPECT_THROW(decode_png(bytes, "sheet", 11), Error) << "12 pixels";
  EXPECT_THROW(decode_png(ByteSpan(bytes).first(bytes.size() / 2), "sheet"), Error);
  EXPECT_THROW(decode_png({}, "sheet"), Error);
  bytes[bytes.size() / 2] ^= std::byte{0x55};
  EXPECT_THROW(decode_png(bytes, "sheet"), Error);
}

TEST(Ratings, ByTime) {
  const Ratings ratings = parse_ratings("3\t2\t4\t20\r\n1\t5\t1.5\t10\n", "ratings");
  EXPECT_EQ(ratings.users, 3);
  EXPECT_EQ(ratings.items, 5);
  ASSERT_EQ(ratings.ratings.size(), 2u);
  EXPECT_EQ(ratings.ratings[0].item, 4);
  EXPECT_EQ(ratings.ratings[0].value, 1.5f);
  EXPECT_EQ(ratings.ratings[1].user, 2);
  for (const char* wrong : {"", "1\t2\t3", "1\t2\t3\t4\t5", "0\t2\t3\t4", "1\t99999999\t3\t4", "1 2 3 4",
                            "a\t2\t3\t4", "1\t2\tnan\t4", "1\t2\t\t4"})
    EXPECT_THROW(parse_ratings(wrong, "ratings"), Error) << wrong;
}

TEST(TextWindows, EveryTokenButTheFirstIsATarget) {
  const TextWindows windows(byte_tokens("abcdefg"), 3, "text");
  EXPECT_EQ(windows.count(), 2);
  EXPECT_THAT(windows.window(0), ElementsAre('a', 'b', 'c', 'd'));
  EXPECT_THAT(windows.window(1), ElementsAre('d', 'e', 'f', 'g'));
  EXPECT_EQ(TextWindows(byte_tokens("abcdef"), 3, "text").count(), 1);
  EXPECT_THROW(TextWindows(byte_tokens("abc"), 3, "text"), Error);
  EXPECT_THAT(byte_tokens("\xff"), ElementsAre(255));
  EXPECT_EQ(held_out_begin("one\ntwo\nthree\n", 0.4), 8u);
  EXPECT_EQ(held_out_begin("0123456789", 0.3), 7u);
}

}  // namespace
}  // namespace laconic
