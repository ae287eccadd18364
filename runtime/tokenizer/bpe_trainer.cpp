#include "runtime/tokenizer/bpe_trainer.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "engine/base/error.h"
#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

constexpr std::string_view digit_pattern = R"(\p{N})";

using PieceIndex = std::int32_t;

struct TrainingWord {
  std::vector<PieceIndex> pieces;
  std::int64_t count = 0;
};

std::vector<std::string> special_tokens(const BpeTrainerOptions& options) {
  std::vector<std::string> tokens;
  if (!options.bos.empty()) tokens.push_back(options.bos);
  if (!options.eos.empty() && options.eos != options.bos) tokens.push_back(options.eos);
  for (const std::string& token : options.special) {
    if (!token.empty()) tokens.push_back(token);
  }
  return tokens;
}

// Distinct words with their counts, ordered so that the result does not depend on a hash.
std::map<std::string, std::int64_t> count_words(std::string_view text, const BpeTrainerOptions& options) {
  std::vector<AddedToken> special;
  for (const std::string& token : special_tokens(options)) {
    special.push_back({token, 0, false, false, false, false, true});
  }
  const AddedTokenFinder finder(std::move(special));
  const Regex words(byte_level_pattern, "the splitting pattern"), digits(digit_pattern, "the digit pattern");
  std::map<std::string, std::int64_t> counts;
  const auto count_in = [&](std::string_view part) {
    for (const MatchSpan& word : words.matches(part))
      ++counts[std::string(part.substr(word.begin, word.end - word.begin))];
  };
  const std::string valid = repaired_utf8(text);
  for (const TextSegment& segment : finder.split(valid)) {
    if (segment.id >= 0) continue;
    if (!options.split_digits) {
      count_in(segment.text);
      continue;
    }
    std::size_t done = 0;
    for (const MatchSpan& digit : digits.matches(segment.text)) {
      count_in(segment.text.substr(done, digit.begin - done));
      ++counts[std::string(segment.text.substr(digit.begin, digit.end - digit.begin))];
      done = digit.end;
    }
    count_in(segment.text.substr(done));
  }
  return counts;
}

// Frequencies of neighbouring pairs, kept up to date while words change.
class PairCounts {
 public:
  using Pair = std::pair<PieceIndex, PieceIndex>;
  explicit PairCounts(std::vector<TrainingWord>& words) : words_(words) {
    for (std::size_t w = 0; w < words_.size(); ++w) count(w, 1);
    for (const auto& [key, entry] : pairs_) heap_.push({entry.count, unpacked(key)});
    changed_.clear();
  }

  // The most frequent pair, the first made of equals; count 0 when there is none.
  std::pair<Pair, std::int64_t> best() {
    while (!heap_.empty()) {
      const Candidate top = heap_.top();
      const auto found = pairs_.find(packed(top.pair));
      const std::int64_t now = found == pairs_.end() ? 0 : found->second.count;
      if (now == top.count && now > 0) return {top.pair, now};
      heap_.pop();  // out of date; the present count was pushed when it changed
    }
    return {{0, 0}, 0};
  }

  void forbid(Pair pair) {
    pairs_.erase(packed(pair));
    forbidden_.insert(packed(pair));
  }

  void join(Pair pair, PieceIndex joined) {
    std::vector<std::uint32_t> touched = std::move(pairs_[packed(pair)].words);
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    for (const std::uint32_t w : touched) {
      count(w, -1);
      std::vector<PieceIndex>& pieces = words_[w].pieces;
      std::size_t kept = 0;
      for (std::size_t i = 0; i < pieces.size(); ++kept) {
        if (i + 1 < pieces.size() && pieces[i] == pair.first && pieces[i + 1] == pair.second) {
          pieces[kept] = joined;
          i += 2;
        } else {
          pieces[kept] = pieces[i++];
        }
      }
      pieces.resize(kept);
      count(w, 1);
    }
    for (const std::uint64_t key : changed_) {
      const auto found = pairs_.find(key);
      if (found == pairs_.end()) continue;
      if (found->second.count > 0) {
        heap_.push({found->second.count, unpacked(key)});
      } else {
        pairs_.erase(found);
      }
    }
    changed_.clear();
  }

 private:
  struct Entry {
    std::int64_t count = 0;
    std::vector<std::uint32_t> words;  // where it stands or stood
  };
  struct Candidate {
    std::int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };
  static std::uint64_t packed(Pair pair) {
    return static_cast<std::uint64_t>(pair.first) << 32 | static_cast<std::uint32_t>(pair.second);
  }
  static Pair unpacked(std::uint64_t key) {
    return {static_cast<PieceIndex>(key >> 32), static_cast<PieceIndex>(key & 0xFFFFFFFF)};
  }

  void count(std::size_t w, std::int64_t sign) {
    const TrainingWord& word = words_[w];
    for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i) {
      const std::uint64_t key = packed({word.pieces[i], word.pieces[i + 1]});
      if (forbidden_.contains(key)) continue;
      Entry& entry = pairs_[key];
      entry.count += sign * word.count;
      if (sign > 0 && (entry.words.empty() || entry.words.back() != w)) {
        entry.words.push_back(static_cast<std::uint32_t>(w));
      }
      changed_.insert(key);
    }
  }

  std::vector<TrainingWord>& words_;
  std::unordered_map<std::uint64_t, Entry> pairs_;
  std::unordered_set<std::uint64_t> forbidden_, changed_;
  std::priority_queue<Candidate> heap_;
};

}  // namespace

BpeVocabulary train_bpe(std::string_view text, const BpeTrainerOptions& options,
                        const ProgressListener& listener) {
  const std::size_t special = special_tokens(options).size();
  if (options.vocabulary_size < static_cast<std::int64_t>(special + 256) ||
      options.vocabulary_size > 1 << 20) {
    fail(ErrorKind::usage,
         "a vocabulary of " + std::to_string(options.vocabulary_size) + " pieces cannot be trained", {},
         "ask for at least " + std::to_string(special + 256) +
             " (256 bytes and the special tokens) and at most 1048576");
  }
  BpeVocabulary vocabulary;
  vocabulary.options = options;
  for (int byte = 0; byte < 256; ++byte) vocabulary.pieces.emplace_back(1, static_cast<char>(byte));
  // Different pairs can join into the same bytes; a vocabulary names each piece once.
  std::unordered_set<std::string> known(vocabulary.pieces.begin(), vocabulary.pieces.end());
  std::vector<TrainingWord> words;
  for (const auto& [word, count] : count_words(text, options)) {
    TrainingWord& entry = words.emplace_back();
    entry.count = count;
    for (const char byte : word) entry.pieces.push_back(static_cast<std::uint8_t>(byte));
  }
  PairCounts counts(words);
  const std::size_t wanted = static_cast<std::size_t>(options.vocabulary_size) - special;
  Progress progress(listener, "training the vocabulary", static_cast<std::int64_t>(wanted - 256));
  while (vocabulary.pieces.size() < wanted) {
    const auto [pair, count] = counts.best();
    if (count < std::max<std::int64_t>(options.least_count, 1)) break;
    std::string joined = vocabulary.pieces[static_cast<std::size_t>(pair.first)] +
                         vocabulary.pieces[static_cast<std::size_t>(pair.second)];
    if (static_cast<std::int64_t>(joined.size()) > options.longest_piece || !known.insert(joined).second) {
      counts.forbid(pair);
      continue;
    }
    counts.join(pair, static_cast<PieceIndex>(vocabulary.pieces.size()));
    vocabulary.pieces.push_back(std::move(joined));
    vocabulary.merges.emplace_back(pair);
    progress.advance();
  }
  return vocabulary;
}

std::string BpeVocabulary::tokenizer_json() const {
  using Json = nlohmann::ordered_json;
  const std::vector<std::string> special = special_tokens(options);
  Json added = Json::array(), ids = Json::object(), merge_list = Json::array();
  for (std::size_t i = 0; i < special.size(); ++i) {
    added.push_back({{"id", i},
                     {"content", special[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    ids[special[i]] = i;
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::string name = byte_level_encoded(pieces[i]);
    if (ids.contains(name)) {
      fail(ErrorKind::usage, "the special token \"" + name + "\" has the name of an ordinary piece", {},
           "give it a longer name, such as <|" + name + "|>");
    }
    ids[name] = special.size() + i;
  }
  for (const auto& [left, right] : merges) {
    merge_list.push_back(Json::array({byte_level_encoded(pieces[static_cast<std::size_t>(left)]),
                                      byte_level_encoded(pieces[static_cast<std::size_t>(right)])}));
  }
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  Json pre_tokenizer = byte_level;
  if (options.split_digits) {
    const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
    pre_tokenizer = {{"type", "Sequence"}, {"pretokenizers", Json::array({digits, byte_level})}};
  }
  Json post_processor = byte_level;
  if (!options.bos.empty()) {
    const auto token = [&](int type) {
      return Json{{"SpecialToken", Json{{"id", options.bos}, {"type_id", type}}}};
    };
    const auto sequence = [](const char* name, int type) {
      return Json{{"Sequence", Json{{"id", name}, {"type_id", type}}}};
    };
    post_processor = {{"type", "TemplateProcessing"},
                      {"single", Json::array({token(0), sequence("A", 0)})},
                      {"pair", Json::array({token(0), sequence("A", 0), token(1), sequence("B", 1)})},
                      {"special_tokens", Json{{options.bos, Json{{"id", options.bos},
                                                                 {"ids", Json::array({0})},
                                                                 {"tokens", Json::array({options.bos})}}}}}};
  }
  const Json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", pre_tokenizer},
                     {"post_processor", post_processor},
                     {"decoder", byte_level},
                     {"model",
                      {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", false},
                       {"vocab", ids},
                       {"merges", merge_list}}}};
  return file.dump(1) + "\n";
}

std::string BpeVocabulary::tokenizer_config_json() const {
  nlohmann::ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  if (!options.bos.empty()) config["bos_token"] = options.bos;
  if (!options.eos.empty()) config["eos_token"] = options.eos;
  return config.dump(1) + "\n";
}

}  // namespace laconic
