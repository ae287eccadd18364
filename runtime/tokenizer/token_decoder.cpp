#include "runtime/tokenizer/token_decoder.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "engine/base/error.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/component.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/text_normalizer.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

using Pieces = std::vector<std::string>;

std::string joined(const Pieces& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

// All pieces together are bytes in the byte alphabet; a piece that is not (an added token) stands for itself.
void decode_byte_level(Pieces& pieces) {
  std::string bytes;
  for (const std::string& piece : pieces) {
    if (auto decoded = byte_level_decoded(piece)) {
      bytes += *decoded;
    } else {
      bytes += piece;
    }
  }
  pieces = {repaired_utf8(bytes)};
}

// Runs of byte pieces become characters, or one U+FFFD per byte when they form none.
void decode_byte_fallback(Pieces& pieces) {
  Pieces result;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (is_valid_utf8(bytes)) {
      result.push_back(bytes);
    } else {
      for (std::size_t i = 0; i < bytes.size(); ++i) result.emplace_back("\xEF\xBF\xBD");
    }
    bytes.clear();
  };
  for (std::string& piece : pieces) {
    if (const auto byte = byte_of_piece(piece)) {
      bytes += static_cast<char>(*byte);
    } else {
      flush();
      result.push_back(std::move(piece));
    }
  }
  flush();
  pieces = std::move(result);
}

void strip(std::string& piece, const std::string& content, std::int64_t start, std::int64_t stop) {
  std::string_view view = piece;
  for (std::int64_t i = 0; i < start && view.starts_with(content); ++i) view.remove_prefix(content.size());
  for (std::int64_t i = 0; i < stop && view.ends_with(content); ++i) view.remove_suffix(content.size());
  piece = std::string(view);
}

std::string replaced_matches(const std::string& piece, const Regex& regex, const std::string& content) {
  std::string result;
  std::size_t done = 0;
  for (const MatchSpan& match : regex.matches(piece)) {
    result.append(piece, done, match.begin - done).append(content);
    done = match.end;
  }
  return result.append(piece, done);
}

}  // namespace

TokenDecoder::TokenDecoder(const nlohmann::json& value, std::string_view where) {
  joins_with_spaces_ = value.is_null();
  if (!value.is_null()) add(value, where, 0);
}

void TokenDecoder::add(const nlohmann::json& value, std::string_view where, int depth) {
  const Component part(value, "decoder", where);
  const std::string& type = part.type();
  const auto each = [this](const std::function<void(std::string&)>& change, bool amid) {
    steps_.push_back({[change](Pieces& pieces) {
                        for (std::string& piece : pieces) change(piece);
                      },
                      [change, amid](std::string& piece) {
                        if (amid) change(piece);
                        return true;
                      }});
  };
  if (type == "Sequence") {
    if (depth > 16) part.fault("sequences nested too deep");
    for (const auto& inner : part.list("decoders")) add(inner, where, depth + 1);
  } else if (type == "ByteLevel") {
    steps_.push_back({decode_byte_level, [](std::string& piece) {
                        if (auto decoded = byte_level_decoded(piece)) piece = *decoded;
                        return false;
                      }});
    fused_ = true;
  } else if (type == "ByteFallback") {
    steps_.push_back({decode_byte_fallback, [](std::string& piece) {
                        const auto byte = byte_of_piece(piece);
                        if (byte) piece.assign(1, static_cast<char>(*byte));
                        return !byte;
                      }});
  } else if (type == "Fuse") {
    steps_.push_back({[](Pieces& pieces) { pieces = {joined(pieces)}; }, [](std::string&) { return true; }});
    fused_ = true;
  } else if (type == "Strip") {
    const std::string content = part.text("content");
    if (content.empty()) part.fault("\"content\" is empty");
    // After Fuse it concerns only the ends of the whole text.
    each([content, start = part.integer("start", 0),
          stop = part.integer("stop", 0)](std::string& piece) { strip(piece, content, start, stop); },
         !fused_);
  } else if (type == "Replace") {
    const Component::Pattern pattern = part.pattern();
    const std::string content = part.text("content");
    if (pattern.is_regex) {
      each([regex = Regex(pattern.text, where),
            content](std::string& piece) { piece = replaced_matches(repaired_utf8(piece), regex, content); },
           true);
    } else {
      each([from = pattern.text, content](std::string& piece) { piece = replaced(piece, from, content); },
           true);
    }
  } else if (type == "Metaspace") {
    const std::string mark = part.text("replacement", "\xE2\x96\x81");
    const bool prefixed =
        part.text("prepend_scheme", part.flag("add_prefix_space", true) ? "always" : "never") != "never";
    steps_.push_back({[mark, prefixed](Pieces& pieces) {
                        // The first piece loses the mark that the pre-tokeniser put there.
                        for (std::size_t i = 0; i < pieces.size(); ++i) {
                          pieces[i] = replaced(pieces[i], mark, i == 0 && prefixed ? "" : " ");
                        }
                      },
                      [mark](std::string& piece) {
                        piece = replaced(piece, mark, " ");
                        return true;
                      }});
  } else if (type == "BPEDecoder") {
    const std::string suffix = part.text("suffix", "</w>");
    steps_.push_back({[suffix](Pieces& pieces) {
                        for (std::size_t i = 0; i < pieces.size(); ++i) {
                          pieces[i] = replaced(pieces[i], suffix, i + 1 == pieces.size() ? "" : " ");
                        }
                      },
                      [suffix](std::string& piece) {
                        piece = replaced(piece, suffix, " ");
                        return true;
                      }});
  } else {
    part.unknown();
  }
}

std::string TokenDecoder::decode(std::vector<std::string> pieces) const {
  if (joins_with_spaces_) {
    std::string text;
    for (std::size_t i = 0; i < pieces.size(); ++i) text.append(i == 0 ? "" : " ").append(pieces[i]);
    return text;
  }
  for (const Step& step : steps_) step.apply(pieces);
  return joined(pieces);
}

std::string TokenDecoder::piece_bytes(std::string_view piece) const {
  std::string bytes(piece);
  if (joins_with_spaces_) return " " + bytes;
  for (const Step& step : steps_) {
    if (!step.inner(bytes)) break;
  }
  return bytes;
}

}  // namespace laconic
