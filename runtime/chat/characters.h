// White space and case as Python's strings have them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace laconic::chat {

int hex_digit(char c);  // -1: none
// Without white space at one end (str.isspace).
std::string_view without_leading_space(std::string_view text);
std::string_view without_trailing_space(std::string_view text);
std::size_t character_count(std::string_view text);
// Letters after another letter in lower case, the others in upper case (str.title).
std::string title_case(std::string_view text);
// First letter in upper case, the others in lower case, of every word; words begin after white space and
// after
// - ( { [ < (Jinja's filter of that name).
std::string title_case_of_words(std::string_view text);
std::string capitalized(std::string_view text);

}  // namespace laconic::chat
