// Lets bytes through as soon as they make whole UTF-8 characters; bytes that cannot become one are shown as
// U+FFFD.
#pragma once

#include <string>
#include <string_view>

namespace laconic {

class Utf8Stream {
 public:
  // The characters that `bytes` completes.
  std::string push(std::string_view bytes);
  // What an unfinished character at the end becomes.
  std::string finish();

 private:
  std::string waiting_;  // the start of one character, at most 3 bytes
};

}  // namespace laconic
