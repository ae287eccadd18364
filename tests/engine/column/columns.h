// Columns for tests: typical of logs, random, and made to be awkward.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/column/column_view.h"

namespace laconic::test {

using Values = std::vector<std::string>;

inline ColumnText column_of(const Values& values) {
  ColumnText column;
  for (const std::string& value : values) column.add(value);
  return column;
}

inline std::string padded(std::uint64_t number, int width) {
  std::string digits = std::to_string(number);
  return digits.size() < static_cast<std::size_t>(width) ? std::string(width - digits.size(), '0') + digits
                                                         : digits;
}

inline std::string hex_word(RandomStream& random, int digits, const char* names = "0123456789abcdef") {
  std::string word;
  for (int i = 0; i < digits; ++i) word.push_back(names[random.below(16)]);
  return word;
}

inline std::string clock_time(std::uint64_t milliseconds) {
  const std::uint64_t seconds = milliseconds / 1000;
  return padded(seconds / 3600 % 24, 2) + ":" + padded(seconds / 60 % 60, 2) + ":" + padded(seconds % 60, 2) +
         "," + padded(milliseconds % 1000, 3);
}

inline std::string uuid(RandomStream& random) {
  return hex_word(random, 8) + "-" + hex_word(random, 4) + "-" + hex_word(random, 4) + "-" +
         hex_word(random, 4) + "-" + hex_word(random, 12);
}

inline std::string any_bytes(RandomStream& random, std::uint32_t most) {
  std::string bytes(random.below(most + 1), '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.below(256));
  return bytes;
}

struct NamedValues {
  std::string name;
  Values values;
};

// As log files have them.
inline std::vector<NamedValues> typical_columns(std::size_t rows, std::uint64_t seed) {
  RandomStream random(seed, "test", "typical columns");
  std::vector<NamedValues> columns = {{"level", {}}, {"time", {}},  {"date", {}}, {"pid", {}},
                                      {"block", {}}, {"ip", {}},    {"uuid", {}}, {"hex", {}},
                                      {"size", {}},  {"count", {}}, {"file", {}}, {"path", {}}};
  const std::vector<std::string> levels = {"INFO", "WARN", "ERROR", "INFO"};
  std::vector<std::string> ids;
  for (int i = 0; i < 9; ++i) ids.push_back(uuid(random));
  std::uint64_t now = 36'000'000;
  for (std::size_t row = 0; row < rows; ++row) {
    now += random.below(4000);
    columns[0].values.push_back(levels[random.below(4)]);
    columns[1].values.push_back(clock_time(now));
    columns[2].values.push_back("2024-02-" + padded(1 + row * 3 / rows, 2));
    columns[3].values.push_back(std::to_string(1000 + random.below(5)));
    columns[4].values.push_back((random.below(2) != 0 ? "blk_-" : "blk_") + std::to_string(random.bits()) +
                                std::to_string(random.bits()));
    columns[5].values.push_back("10.251." + std::to_string(random.below(256)) + "." +
                                std::to_string(random.below(256)) + ":50010");
    columns[6].values.push_back(ids[random.below(9)]);
    columns[7].values.push_back("0x" + hex_word(random, 8));
    columns[8].values.push_back(std::to_string(random.below(70'000'000)));
    columns[9].values.push_back(std::to_string(17 * row + 5));
    columns[10].values.push_back("part-" + padded(row, 5) + ".txt");
    columns[11].values.push_back("/usr/lib/" + std::to_string(random.below(3)) + "/a" +
                                 std::string(random.below(4), '/'));
  }
  return columns;
}

// What a codec could take for its own kind and must not.
inline std::vector<NamedValues> awkward_columns() {
  const std::string nul("a\0b", 3);
  return {
      {"one value", {"x"}},
      {"one empty value", {""}},
      {"all empty", {"", "", ""}},
      {"some empty", {"", "a", "", "b"}},
      {"NUL bytes", {nul, nul, "a", std::string(1, '\0'), ""}},
      {"line feeds", {"a\nb", "\n", "", "c\n", "\n\n"}},
      {"constant line feed", {"\n", "\n", "\n"}},
      {"constant with line feeds", Values(20, "one\ntwo\n")},
      {"leading zeros of two widths", {"01", "001", "1"}},
      {"leading zeros", {"007", "008", "010", "1000"}},
      {"padded beside longer padded", {"07", "0100"}},
      {"plus", {"+1", "+2", "3"}},
      {"minus zero", {"-0", "0", "1", "-1"}},
      {"negative", {"-5", "-4", "3", "0", "-999999999999999999"}},
      {"minus alone", {"-", "-1", "--1"}},
      {"18 digits", {"999999999999999999", "0", "1", "999999999999999998"}},
      {"19 digits", {"9223372036854775807", "9223372036854775808", "1", "2"}},
      {"19 digits that swing",
       {"9223372036854775807", "-9223372036854775807", "0", "-1", "9223372036854775807"}},
      {"19 padded digits", {"0000000000000000007", "9223372036854775807", "0000000000000000000"}},
      {"20 digits", {"18446744073709551615", "18446744073709551616"}},
      {"swings", {"0", "999999999999999999", "0", "999999999999999999", "1", "999999999999999999"}},
      {"hex of both cases", {"aB", "Ab", "ff"}},
      {"small hex", {"a", "ff", "100", "0"}},
      {"capital hex", {"A", "FF", "100", "0"}},
      {"padded hex", {"0a", "ff", "1ff", "0b"}},
      {"16 hex digits", {"ffffffffffffffff", "0000000000000001"}},
      {"hex of odd length", {"abc", "def", "012"}},
      {"IPv4", {"1.2.3.4", "255.255.255.255", "0.0.0.0"}},
      {"no IPv4", {"1.2.3.256", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1..2.3"}},
      {"UUID of both cases",
       {"abcdef01-2345-6789-abcd-ef0123456789", "ABCDEF01-2345-6789-ABCD-EF0123456789"}},
      {"no UUID", {"abcdef01-2345-6789-abcd-ef0123456789", "abcdef01+2345-6789-abcd-ef012345678x"}},
      {"delimiters only", {"...", "", ".", "--", "..."}},
      {"digits between delimiters", {".0.", "0.0", "00", "0", ".00.", "0.", ".0"}},
      {"numbers like patterns", {"0a0", "a0a", "00a", "a00", "0"}},
      {"invalid UTF-8", {"\xff\xfe", "\x80", "\xc3(", "\xff"}},
      {"many words", {std::string(500, '.'), "a.b.c.d.e.f", "a.b", "1.2.3.4.5.6.7.8.9"}},
      {"time that is none", {"25:61:61", "99:99:99", "00:00:00"}},
  };
}

}  // namespace laconic::test
