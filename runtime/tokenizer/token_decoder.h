// Decoders of tokenizer.json: how the pieces of a text become the text again. A list of steps over the list
// of pieces; a Sequence is flattened.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace laconic {

class TokenDecoder {
 public:
  // `value` may be null: pieces are then joined with spaces. Throws Error(unsupported) naming a type that is
  // not known.
  TokenDecoder(const nlohmann::json& value, std::string_view where);

  // Valid UTF-8: bytes that form no character become U+FFFD.
  std::string decode(std::vector<std::string> pieces) const;
  // The bytes of one piece that stands amid others.
  std::string piece_bytes(std::string_view piece) const;

 private:
  using Pieces = std::vector<std::string>;
  struct Step {
    std::function<void(Pieces&)> apply;
    // For one piece amid others; false when later steps must not touch the bytes.
    std::function<bool(std::string&)> inner;
  };
  void add(const nlohmann::json& value, std::string_view where, int depth);
  std::vector<Step> steps_;
  bool joins_with_spaces_ = false;
  bool fused_ = false;
};

}  // namespace laconic
