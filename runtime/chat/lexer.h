// A template cut into tokens. White space follows the settings of Hugging Face chat templates: the line end
// after a {% tag %} goes (trim_blocks), as does white space between a line's start and a {% tag %}
// (lstrip_blocks); a dash inside a tag removes all white space on its side, a plus keeps it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace laconic::chat {

struct Token {
  enum class Kind {
    text,
    block_begin,
    block_end,
    print_begin,
    print_end,
    name,
    string,
    integer,
    real,
    sign,
    end
  };
  Kind kind = Kind::end;
  std::string text;  // of strings: with escapes resolved
  int line = 1;
};

// The last token has the kind end. Throws Error(input) on what no template may hold, naming `where` and line.
std::vector<Token> tokens_of(std::string_view source, std::string_view where);

}  // namespace laconic::chat
