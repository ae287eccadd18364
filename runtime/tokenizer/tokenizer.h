// Text to token ids and back, read from tokenizer.json (byte-level BPE, byte-fallback BPE, Unigram) or
// tokenizer.model (SentencePiece protobuf; Llama 3's tiktoken text). Readers bound every length.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace laconic {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Finds tokenizer.json or tokenizer.model in a model directory; reads tokenizer_config.json when present.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& model_directory);

  // `add_special`: also what the post-processor adds (BOS, EOS). Text may hold special-token strings, which
  // become their ids.
  virtual std::vector<std::int32_t> encode(std::string_view text, bool add_special) const = 0;
  // Invalid UTF-8 that byte tokens make is replaced by U+FFFD unless `raw` bytes are asked for.
  virtual std::string decode(std::span<const std::int32_t> ids, bool skip_special = false) const = 0;
  // The bytes one token adds when it follows others: for streaming.
  virtual std::string token_bytes(std::int32_t id) const = 0;
  virtual std::int32_t size() const = 0;
  virtual std::optional<std::int32_t> bos() const = 0;
  virtual std::optional<std::int32_t> eos() const = 0;
  virtual bool is_special(std::int32_t id) const = 0;
  virtual std::optional<std::int32_t> id_of(std::string_view piece) const = 0;
};

}  // namespace laconic
