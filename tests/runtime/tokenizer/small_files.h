// Tokenizer files of a few pieces, written by the tests themselves: they share nothing with the readers.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace laconic::small {

using Json = nlohmann::json;

inline std::string utf8(char32_t c) {
  std::string text;
  const auto put = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 + c / 64), put(0x80 + c % 64);
  } else if (c < 0x10000) {
    put(0xE0 + c / 4096), put(0x80 + c / 64 % 64), put(0x80 + c % 64);
  } else {
    put(0xF0 + c / 262144), put(0x80 + c / 4096 % 64), put(0x80 + c / 64 % 64), put(0x80 + c % 64);
  }
  return text;
}

// GPT-2's alphabet: visible Latin-1 bytes stand for themselves, the others for U+0100 onwards.
inline std::vector<std::string> byte_alphabet() {
  std::vector<std::string> letters;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    letters.push_back(utf8(visible ? byte : next++));
  }
  return letters;
}

// Ids: byte b is b; he 256, ll 257, hell 258, hello 259, " w" 260, " wo" 261, rl 262, rld 263; <|end|> 264.
inline Json byte_level_bpe(bool merges_as_pairs) {
  Json vocabulary = Json::object();
  const std::vector<std::string> letters = byte_alphabet();
  for (std::size_t byte = 0; byte < 256; ++byte) vocabulary[letters[byte]] = byte;
  const std::string space = letters[' '];
  const std::vector<std::pair<std::string, std::string>> merges = {
      {"h", "e"},   {"l", "l"},         {"he", "ll"}, {"hell", "o"},
      {space, "w"}, {space + "w", "o"}, {"r", "l"},   {"rl", "d"}};
  Json list = Json::array();
  int id = 256;
  for (const auto& [left, right] : merges) {
    vocabulary[left + right] = id++;
    if (merges_as_pairs) {
      list.push_back({left, right});
    } else {
      list.push_back(left + " " + right);
    }
  }
  return {{"added_tokens", {{{"id", 264}, {"content", "<|end|>"}, {"special", true}}}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", list}}}};
}

inline const std::string mark = "\xE2\x96\x81";  // U+2581, a space

// As Llama 2 writes it. Ids: <unk> 0, <s> 1, </s> 2, byte b is 3 + b, mark 259, h 260, i 261, hi 262, mark+hi
// 263.
inline Json byte_fallback_bpe(bool merges_as_pairs) {
  Json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) {
    const char* digits = "0123456789ABCDEF";
    vocabulary[std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">"] = 3 + byte;
  }
  vocabulary.update({{mark, 259}, {"h", 260}, {"i", 261}, {"hi", 262}, {mark + "hi", 263}});
  Json merges = Json::array();
  if (merges_as_pairs) {
    merges.push_back(Json::array({"h", "i"}));
    merges.push_back(Json::array({mark, "hi"}));
  } else {
    merges = {"h i", mark + " hi"};
  }
  const auto token = [](int id, const char* content) {
    return Json{{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
  };
  return {{"added_tokens", {token(0, "<unk>"), token(1, "<s>"), token(2, "</s>")}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", mark}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", mark}}}}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single",
             {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", mark}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocabulary},
            {"merges", merges}}}};
}

// Ids: <unk> 0, mark 1 (-2), a 2 (-1), b 3 (-1.5), ab 4 (-2.25), mark+a 5 (-2.5), mark+ab 6 (-3.2), then byte
// b is 7 + b.
inline Json unigram(bool byte_fallback, const std::string& scheme) {
  Json vocabulary = Json::array();
  const std::vector<std::pair<std::string, double>> pieces = {
      {"<unk>", 0.0}, {mark, -2.0},       {"a", -1.0},        {"b", -1.5},
      {"ab", -2.25},  {mark + "a", -2.5}, {mark + "ab", -3.2}};
  for (const auto& [piece, score] : pieces) vocabulary.push_back(Json::array({piece, score}));
  const char* digits = "0123456789ABCDEF";
  for (int byte = 0; byte < 256 && byte_fallback; ++byte) {
    vocabulary.push_back(
        Json::array({std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", -3.0}));
  }
  const Json metaspace = {
      {"type", "Metaspace"}, {"replacement", mark}, {"prepend_scheme", scheme}, {"split", true}};
  return {{"pre_tokenizer", metaspace},
          {"decoder", {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, metaspace}}}},
          {"model",
           {{"type", "Unigram"}, {"unk_id", 0}, {"byte_fallback", byte_fallback}, {"vocab", vocabulary}}}};
}

// Protobuf's wire format.
class WireWriter {
 public:
  WireWriter& integer(int field, std::uint64_t value) {
    varint(static_cast<std::uint64_t>(field) * 8);
    varint(value);
    return *this;
  }
  WireWriter& real(int field, float value) {
    varint(static_cast<std::uint64_t>(field) * 8 + 5);
    char bytes[4];
    std::memcpy(bytes, &value, 4);
    text_.append(bytes, 4);
    return *this;
  }
  WireWriter& bytes(int field, const std::string& value) {
    varint(static_cast<std::uint64_t>(field) * 8 + 2);
    varint(value.size());
    text_ += value;
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 128; value /= 128) text_ += static_cast<char>(value % 128 + 128);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

struct SentencePiece {
  std::string text;
  float score = 0;
  int kind = 1;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
};

struct SentencePieceFile {
  std::vector<SentencePiece> pieces = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}};
  int model_type = 1;  // 1 unigram, 2 BPE
  bool byte_fallback = false, dummy_prefix = true, remove_extra_spaces = true;
  std::string character_map;

  void add_bytes() {
    const char* digits = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte) {
      pieces.push_back({std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 0, 6});
    }
    byte_fallback = true;
  }
  std::string text() const {
    WireWriter file;
    for (const SentencePiece& piece : pieces) {
      WireWriter message;
      message.bytes(1, piece.text).real(2, piece.score);
      if (piece.kind != 1) message.integer(3, static_cast<std::uint64_t>(piece.kind));
      file.bytes(1, message.text());
    }
    file.bytes(
        2, WireWriter().integer(3, static_cast<std::uint64_t>(model_type)).integer(35, byte_fallback).text());
    WireWriter normalizer;
    normalizer.bytes(1, "small").integer(3, dummy_prefix).integer(4, remove_extra_spaces).integer(5, 1);
    if (!character_map.empty()) normalizer.bytes(2, character_map);
    file.bytes(3, normalizer.text());
    return file.text();
  }
};

// The double array of a precompiled character map, one block of 256 units for each inner node.
inline std::string character_map(const std::map<std::string, std::string>& rules) {
  std::string replacements;
  std::map<std::string, std::uint32_t> values;
  for (const auto& [key, replacement] : rules) {
    values[key] = static_cast<std::uint32_t>(replacements.size());
    replacements += replacement + '\0';
  }
  std::map<std::string, std::uint32_t> blocks;  // by prefix
  for (const auto& rule : rules) {
    for (std::size_t length = 0; length <= rule.first.size(); ++length) {
      blocks.emplace(rule.first.substr(0, length), 0);
    }
  }
  std::uint32_t next = 256;
  for (auto& block : blocks) {
    block.second = next;
    next += 256;
  }
  // Units that no key leads to carry a label that their place never asks for: bit 31.
  std::vector<std::uint32_t> units(next, 0x80000000u);
  for (const auto& [prefix, block] : blocks) {
    std::uint32_t id = 0;  // the root
    if (!prefix.empty()) {
      id = blocks[prefix.substr(0, prefix.size() - 1)] + static_cast<std::uint8_t>(prefix.back());
    }
    units[id] = (id ^ block) << 10 | (prefix.empty() ? 0u : static_cast<std::uint8_t>(prefix.back()));
    if (values.count(prefix) != 0) {
      units[id] |= 0x100;
      units[block] = 0x80000000u | values[prefix];
    }
  }
  std::string blob;
  const auto put = [&](std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) blob += static_cast<char>(value >> shift & 0xFF);
  };
  put(static_cast<std::uint32_t>(units.size() * 4));
  for (const std::uint32_t unit : units) put(unit);
  return blob + replacements;
}

inline std::string base64(std::string_view bytes) {
  static constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group * 256 + (i + k < bytes.size() ? static_cast<std::uint8_t>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= bytes.size() - i ? letters[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

// Ranks: byte b is b, then he 256, ll 257, hell 258, hello 259, " w" 260, "12" 261; special tokens from 262.
inline std::string tiktoken() {
  std::string file;
  int rank = 0;
  for (int byte = 0; byte < 256; ++byte) {
    file += base64(std::string(1, static_cast<char>(byte))) + " " + std::to_string(rank++) + "\n";
  }
  for (const char* piece : {"he", "ll", "hell", "hello", " w", "12"}) {
    file += base64(piece) + " " + std::to_string(rank++) + "\n";
  }
  return file;
}

}  // namespace laconic::small
