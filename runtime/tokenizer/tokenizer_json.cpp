#include "runtime/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/post_processor.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/text_normalizer.h"
#include "runtime/tokenizer/token_decoder.h"
#include "runtime/tokenizer/unicode_text.h"
#include "runtime/tokenizer/unigram_model.h"

namespace laconic {
namespace {

using Json = nlohmann::json;

const Json& member(const Json& object, const char* key) {
  static const Json absent;
  const auto found = object.find(key);
  return found == object.end() ? absent : *found;
}

std::unique_ptr<WordModel> word_model(const Json& model, std::string_view where) {
  if (!model.is_object()) fail(ErrorKind::input, "tokenizer.json has no model", where);
  const Json& type = member(model, "type");
  if (type.is_string()) {
    if (type == "BPE") return std::make_unique<BpeModel>(model, where);
    if (type == "Unigram") return std::make_unique<UnigramModel>(model, where);
    fail(ErrorKind::unsupported, "the model type \"" + type.get<std::string>() + "\" is not supported", where,
         "supported: BPE, Unigram");
  }
  // Older files name no type.
  if (model.contains("merges")) return std::make_unique<BpeModel>(model, where);
  if (member(model, "vocab").is_array()) return std::make_unique<UnigramModel>(model, where);
  fail(ErrorKind::unsupported,
       "the model names no type and is neither BPE (merges) nor Unigram (a list of pieces)", where);
}

std::vector<AddedToken> read_added(const Json& list, std::string_view where) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  if (!list.is_array()) fail(ErrorKind::input, "\"added_tokens\" is not a list", where);
  for (const Json& entry : list) {
    if (!entry.is_object() || !member(entry, "content").is_string() ||
        !member(entry, "id").is_number_integer()) {
      fail(ErrorKind::input, "an added token has no content or no id", where);
    }
    const auto flag = [&](const char* key, bool otherwise) {
      const Json& value = member(entry, key);
      return value.is_boolean() ? value.get<bool>() : otherwise;
    };
    const auto id = entry["id"].get<std::int64_t>();
    if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) {
      fail(ErrorKind::input, "an added token has the absurd id " + std::to_string(id), where);
    }
    AddedToken token;
    token.content = entry["content"].get<std::string>();
    token.id = static_cast<std::int32_t>(id);
    token.special = flag("special", false);
    token.single_word = flag("single_word", false);
    token.lstrip = flag("lstrip", false);
    token.rstrip = flag("rstrip", false);
    token.normalized = flag("normalized", !token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

class JsonTokenizer final : public Tokenizer {
 public:
  JsonTokenizer(const Json& file, const TokenizerSettings& settings, std::string_view where);

  std::vector<std::int32_t> encode(std::string_view text, bool add_special) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override;
  std::string token_bytes(std::int32_t id) const override;
  std::int32_t size() const override { return static_cast<std::int32_t>(size_); }
  std::optional<std::int32_t> bos() const override { return bos_; }
  std::optional<std::int32_t> eos() const override { return eos_; }
  bool is_special(std::int32_t id) const override {
    const auto found = added_.find(id);
    return found != added_.end() && found->second.special;
  }
  std::optional<std::int32_t> id_of(std::string_view piece) const override;

 private:
  // Words repeat; this remembers the ids of those met during one encoding.
  class Memory;
  const std::string* piece(std::int32_t id) const;
  void take_added(std::vector<AddedToken> tokens, std::string_view where);
  void encode_text(std::string_view text, bool at_start, Memory& memory,
                   std::vector<std::int32_t>& ids) const;
  std::optional<std::int32_t> role(const std::optional<std::string>& stated, std::optional<std::int32_t> id,
                                   std::span<const std::string_view> customary) const;

  std::unique_ptr<WordModel> model_;
  TextNormalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  PostProcessor post_processor_;
  TokenDecoder decoder_;
  std::unordered_map<std::int32_t, AddedToken> added_;
  std::unordered_map<std::string, std::int32_t> added_ids_;
  AddedTokenFinder raw_finder_, normalized_finder_;
  std::size_t size_ = 0;
  std::optional<std::int32_t> bos_, eos_;
};

class JsonTokenizer::Memory {
 public:
  explicit Memory(const WordModel& model) : model_(model) {}
  void encode(const std::string& word, std::vector<std::int32_t>& ids) {
    if (word.size() > longest_word) {
      model_.encode(word, ids);
      return;
    }
    const auto [entry, is_new] = known_.try_emplace(word);
    if (is_new) model_.encode(word, entry->second);
    ids.insert(ids.end(), entry->second.begin(), entry->second.end());
    if (known_.size() > most_words) known_.clear();
  }

 private:
  static constexpr std::size_t longest_word = 64, most_words = 1 << 16;
  const WordModel& model_;
  std::unordered_map<std::string, std::vector<std::int32_t>> known_;
};

JsonTokenizer::JsonTokenizer(const Json& file, const TokenizerSettings& settings, std::string_view where)
    : model_(word_model(member(file, "model"), where)),
      normalizer_(member(file, "normalizer"), where),
      pre_tokenizer_(member(file, "pre_tokenizer"), where),
      post_processor_(member(file, "post_processor"), where),
      decoder_(member(file, "decoder"), where) {
  std::vector<AddedToken> tokens = read_added(member(file, "added_tokens"), where);
  for (const AddedToken& token : settings.added) {
    const bool listed = std::any_of(tokens.begin(), tokens.end(),
                                    [&](const AddedToken& other) { return other.content == token.content; });
    if (!listed) tokens.push_back(token);
  }
  take_added(std::move(tokens), where);
  for (const auto* ids : {&post_processor_.before(), &post_processor_.after()}) {
    for (const std::int32_t id : *ids) {
      if (piece(id) != nullptr) continue;
      fail(ErrorKind::input, "the post_processor adds the id " + std::to_string(id) + ", which is no token's",
           where);
    }
  }

  static constexpr std::array<std::string_view, 7> bos_names = {
      "<s>",
      "<|begin_of_text|>",
      "<bos>",
      "<|bos|>",
      "[BOS]",
      "<|startoftext|>",
      "<\xEF\xBD\x9C"
      "begin\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};
  static constexpr std::array<std::string_view, 8> eos_names = {
      "</s>",
      "<|end_of_text|>",
      "<eos>",
      "<|eos|>",
      "[EOS]",
      "<|endoftext|>",
      "<|im_end|>",
      "<\xEF\xBD\x9C"
      "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};
  bos_ = role(settings.bos_token, settings.bos_id, bos_names);
  eos_ = role(settings.eos_token, settings.eos_id, eos_names);
  if (settings.add_bos || settings.add_eos) {
    std::vector<std::int32_t> before, after;
    if (settings.add_bos.value_or(false) && bos_) before.push_back(*bos_);
    if (settings.add_eos.value_or(false) && eos_) after.push_back(*eos_);
    post_processor_ = PostProcessor(std::move(before), std::move(after));
  }
}

std::optional<std::int32_t> JsonTokenizer::role(const std::optional<std::string>& stated,
                                                std::optional<std::int32_t> id,
                                                std::span<const std::string_view> customary) const {
  if (stated) return id_of(*stated);
  if (id && piece(*id) != nullptr) return id;
  for (const std::string_view name : customary) {
    const auto found = added_ids_.find(std::string(name));
    if (found != added_ids_.end()) return found->second;
  }
  return std::nullopt;
}

void JsonTokenizer::take_added(std::vector<AddedToken> tokens, std::string_view where) {
  const Vocabulary& vocabulary = model_->vocabulary();
  size_ = vocabulary.size();
  const std::size_t bound = vocabulary.size() + tokens.size() + 65536;
  std::vector<AddedToken> raw, normal;
  for (AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    // Where the vocabulary knows the token, its id holds, whatever the list says.
    if (const auto id = vocabulary.find(token.content)) token.id = *id;
    if (token.id < 0 || static_cast<std::size_t>(token.id) >= bound) {
      fail(ErrorKind::input,
           "the added token \"" + token.content + "\" has the absurd id " + std::to_string(token.id), where);
    }
    if (const std::string* other = piece(token.id); other != nullptr && *other != token.content) {
      fail(ErrorKind::input,
           "the added token \"" + token.content + "\" has the id " + std::to_string(token.id) + " of \"" +
               *other + "\"",
           where);
    }
    if (!added_ids_.emplace(token.content, token.id).second) continue;
    added_.emplace(token.id, token);
    size_ = std::max(size_, static_cast<std::size_t>(token.id) + 1);
    if (token.normalized) {
      AddedToken pattern = token;
      pattern.content = normalizer_.apply(token.content);
      normal.push_back(std::move(pattern));
    } else {
      raw.push_back(token);
    }
  }
  raw_finder_ = AddedTokenFinder(std::move(raw));
  normalized_finder_ = AddedTokenFinder(std::move(normal));
}

const std::string* JsonTokenizer::piece(std::int32_t id) const {
  const auto found = added_.find(id);
  if (found != added_.end()) return &found->second.content;
  return model_->vocabulary().has(id) ? &model_->vocabulary().piece(id) : nullptr;
}

std::optional<std::int32_t> JsonTokenizer::id_of(std::string_view piece) const {
  const auto found = added_ids_.find(std::string(piece));
  return found != added_ids_.end() ? std::optional<std::int32_t>(found->second)
                                   : model_->vocabulary().find(piece);
}

void JsonTokenizer::encode_text(std::string_view text, bool at_start, Memory& memory,
                                std::vector<std::int32_t>& ids) const {
  const std::string normal = normalizer_.apply(text);
  for (const TextSegment& segment : normalized_finder_.split(normal)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    for (const Word& word : pre_tokenizer_.split(segment.text, at_start && segment.begin == 0)) {
      memory.encode(word.text, ids);
    }
  }
}

std::vector<std::int32_t> JsonTokenizer::encode(std::string_view text, bool add_special) const {
  if (text.size() > std::numeric_limits<std::uint32_t>::max() / 8) {
    fail(ErrorKind::input, "text of " + std::to_string(text.size()) + " bytes is too long to encode at once",
         {}, "split it into parts below 512 MB");
  }
  const std::string valid = repaired_utf8(text);
  Memory memory(*model_);
  std::vector<std::int32_t> ids;
  for (const TextSegment& segment : raw_finder_.split(valid)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      encode_text(segment.text, segment.begin == 0, memory, ids);
    }
  }
  return add_special ? post_processor_.apply(std::move(ids)) : ids;
}

std::string JsonTokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (const std::int32_t id : ids) {
    if (skip_special && is_special(id)) continue;
    if (const std::string* text = piece(id)) pieces.push_back(*text);
  }
  return decoder_.decode(std::move(pieces));
}

std::string JsonTokenizer::token_bytes(std::int32_t id) const {
  const std::string* text = piece(id);
  if (text == nullptr) return {};
  return added_.contains(id) ? *text : decoder_.piece_bytes(*text);
}

}  // namespace

std::unique_ptr<Tokenizer> json_tokenizer(std::string_view text, const TokenizerSettings& settings,
                                          std::string_view where) {
  const Json file = parse_json(text, where);
  if (!file.is_object()) fail(ErrorKind::input, "tokenizer.json is not a JSON object", where);
  return std::make_unique<JsonTokenizer>(file, settings, where);
}

}  // namespace laconic
