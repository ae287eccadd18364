// Finds the keys and values of a line that is one JSON object (RFC 8259), by their places and paths. Only
// encoders scan: what a scanner says decides which bytes become slots, and so sizes, never exactness.
//
// Strict: a line with anything that the grammar does not know, with an object or array more than 32 deep, or
// with other text than white space behind the object is none. Time is linear in the length of the line, and
// nothing recurses.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace laconic::logzip {

// Where a value stands, as a hash of keys: user.address[].street. Keys of equal text in equal places have
// equal paths; a collision costs bytes.
using JsonPath = std::uint64_t;
inline constexpr JsonPath json_root = 0x6A736F6E;
JsonPath json_member(JsonPath object, std::string_view key);  // the key as it is written, escapes and all
JsonPath json_element(JsonPath array);
// The same from text: keys joined by '.', "[]" for the elements of an array.
JsonPath json_path(std::string_view text);

enum class JsonPart : std::uint8_t {
  key,    // between its quotes
  value,  // a number, true, false, null; a string without spaces, between its quotes; an array of such,
          // between its brackets
  text,   // a string with a space, or a quote in it, between its quotes
};

struct JsonPiece {
  JsonPart part = JsonPart::value;
  std::uint32_t begin = 0, length = 0;  // in the line
  JsonPath path = 0;                    // of a key: of its value
};

class JsonScanner {
 public:
  static constexpr std::size_t most_depth = 32;

  // Whether `line`, of less than 2^32 bytes, is one object; then pieces() has its keys and values in order.
  // A line that does not begin with '{' costs nothing.
  bool scan(std::string_view line) { return line.starts_with('{') && scan_object(line); }
  const std::vector<JsonPiece>& pieces() const { return pieces_; }

 private:
  struct Level {
    JsonPath path = 0;  // of what is inside: of the object, or of the array's elements
    bool array = false;
    bool flat = false;            // an array that has had only values
    std::size_t first_piece = 0;  // of what is inside
    std::size_t begin = 0;        // behind its bracket
  };
  bool scan_object(std::string_view line);
  bool read_key();
  bool read_value();
  bool open(bool array);
  void close();
  bool read_string(JsonPiece& piece);
  bool read_number();
  bool read_word(std::string_view word);
  void add_value(std::size_t begin, JsonPath path);  // that ends here
  void skip_space();
  bool next_is(char c) const { return at_ < line_.size() && line_[at_] == c; }
  JsonPath value_path() const { return levels_[depth_ - 1].array ? levels_[depth_ - 1].path : member_; }

  std::string_view line_;
  std::size_t at_ = 0;
  std::array<Level, most_depth> levels_;
  std::size_t depth_ = 0;
  JsonPath member_ = json_root;  // of the value that a key promises
  std::vector<JsonPiece> pieces_;
};

}  // namespace laconic::logzip
