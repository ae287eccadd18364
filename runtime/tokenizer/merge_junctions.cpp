#include "runtime/tokenizer/merge_junctions.h"

#include "runtime/tokenizer/unicode_text.h"

namespace laconic {

std::uint64_t MergeJunctions::pair(std::string_view left, std::string_view right) {
  std::size_t begin = left.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(left[begin]) & 0xC0u) == 0x80u) --begin;
  return static_cast<std::uint64_t>(decode_character(left, begin).value) << 32 |
         decode_character(right, 0).value;
}

void MergeJunctions::add_all_of(std::string_view piece) {
  for (std::size_t cut = 0; cut < piece.size();) {
    cut += decode_character(piece, cut).length;
    if (cut < piece.size()) add(piece.substr(0, cut), piece.substr(cut));
  }
}

}  // namespace laconic
