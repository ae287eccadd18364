#include "methods/text/logzip/format_phrases.h"

#include <array>
#include <limits>

#include "engine/base/error.h"
#include "methods/text/logzip/header_format.h"

namespace laconic::logzip {
namespace {

// Part of the format of archives: never changed, only longer.
constexpr auto format_phrases = std::to_array<std::string_view>({
    "<Content>",
    "> ",
    "!> ",
    ">: ",
    "!>: ",
    ">",
    "!>",
    "<Date",
    "<Time",
    "<Timestamp",
    "<Month",
    "<Day",
    "<Level",
    "<Component",
    "<Pid",
    "<Tid",
    "<Host",
    "<Node",
    "<User",
    "<Process",
    "<Thread",
    "<Program",
    "<Label",
    "<Location",
    "<Type",
    "<Id",
    "<Address",
    "<NodeRepeat",
    "<LogRecord",
    "<LogId",
    "<State",
    "<Flag",
    "<Client",
    "<Identity",
    "<Zone",
    "=%Y-%m-%d",
    "=%Y/%m/%d",
    "=%Y.%m.%d",
    "=%Y%m%d",
    "=%y/%m/%d",
    "=%y-%m-%d",
    "=%y%m%d",
    "=%m-%d",
    "=%m.%d",
    "=%m/%d",
    "=%b %e",
    "=%b %D",
    "=%d/%b/%Y",
    "=%d-%b-%Y",
    "=%d.%m.%Y",
    "=%m/%d/%Y",
    "=%H:%M:%S",
    "=%H.%M.%S",
    "=%H%M%S",
    "=%K:%M:%S",
    "=%K:%N:%T",
    "%H:%M:%S",
    "%H.%M.%S",
    ".%3",
    ",%3",
    ".%6",
    ".%9",
    ":%3",
    "=%s",
    "=%b",
    "=%e",
    "=%D",
    "=%a %b %d %H:%M:%S %Y",
    "=%Y-%m-%dT%H:%M:%S",
    "=%Y-%m-%d-%H.%M.%S",
    "=%Y%m%d-%H:%M:%S",
    "] ",
    " [",
    "[",
    " - ",
    ": ",
    " \"<Method> <Path> <Protocol>\" <Status> ",
    "<Bytes> \"<Referer>\" \"<Agent>\"",
});
constexpr unsigned first_phrase = 0x80, literal_mark = 0xFF;
static_assert(first_phrase + format_phrases.size() <= literal_mark);

}  // namespace

// The fewest bytes, found from the end: what a place costs is known once the places behind it are.
Bytes shorten_format(std::string_view text) {
  std::vector<std::size_t> cost(text.size() + 1);
  std::vector<std::size_t> choice(text.size(), format_phrases.size());
  for (std::size_t at = text.size(); at-- > 0;) {
    const bool plain = static_cast<unsigned char>(text[at]) < first_phrase;
    cost[at] = cost[at + 1] + (plain ? 1 : 2);
    for (std::size_t phrase = 0; phrase < format_phrases.size(); ++phrase) {
      if (!text.substr(at).starts_with(format_phrases[phrase])) continue;
      const std::size_t with_phrase = cost[at + format_phrases[phrase].size()] + 1;
      if (with_phrase >= cost[at]) continue;
      cost[at] = with_phrase;
      choice[at] = phrase;
    }
  }
  ByteWriter writer;
  for (std::size_t at = 0; at < text.size();) {
    if (choice[at] < format_phrases.size()) {
      writer.u8(static_cast<std::uint8_t>(first_phrase + choice[at]));
      at += format_phrases[choice[at]].size();
      continue;
    }
    const auto byte = static_cast<std::uint8_t>(text[at++]);
    if (byte >= first_phrase) writer.u8(literal_mark);
    writer.u8(byte);
  }
  return writer.take();
}

std::string lengthen_format(ByteSpan bytes, std::string_view where) {
  ByteReader reader(bytes, std::string(where));
  std::string text;
  while (!reader.at_end()) {
    const unsigned byte = reader.u8();
    if (byte < first_phrase) {
      text += static_cast<char>(byte);
    } else if (byte == literal_mark) {
      text += static_cast<char>(reader.u8());
    } else if (byte - first_phrase < format_phrases.size()) {
      text += format_phrases[byte - first_phrase];
    } else {
      reader.corrupt("a phrase of a format that does not exist");
    }
    if (text.size() > HeaderFormat::longest_text) reader.corrupt("a format that is too long");
  }
  return text;
}

}  // namespace laconic::logzip
