#include "lab/training/training_text.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/threads.h"
#include "runtime/corpus/stories.h"
#include "runtime/tokenizer/bpe_trainer.h"

namespace laconic::lab {
namespace {

constexpr std::uint64_t held_out_stories = 400;
constexpr std::size_t largest_text = std::size_t{2} << 30;

std::vector<std::string> split_documents(std::string_view text) {
  std::vector<std::string> documents;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(story_separator), text.size());
    std::string_view document = text.substr(0, end);
    while (!document.empty() && (document.front() == '\n' || document.front() == '\r'))
      document.remove_prefix(1);
    while (!document.empty() && (document.back() == '\n' || document.back() == '\r'))
      document.remove_suffix(1);
    if (!document.empty()) documents.emplace_back(document);
    text.remove_prefix(std::min(text.size(), end + story_separator.size()));
  }
  return documents;
}

// A long text without separators is cut at line ends, so that a part can be held out.
std::vector<std::string> cut_long_documents(std::vector<std::string> documents) {
  constexpr std::size_t piece = 1 << 16;
  std::vector<std::string> pieces;
  for (std::string& document : documents) {
    std::string_view rest = document;
    while (rest.size() > 2 * piece) {
      const std::size_t line_end = rest.find('\n', piece);
      if (line_end == std::string_view::npos) break;
      pieces.emplace_back(rest.substr(0, line_end + 1));
      rest.remove_prefix(line_end + 1);
    }
    if (!rest.empty()) pieces.emplace_back(rest);
  }
  return pieces;
}

}  // namespace

TrainingText training_text(const TrainLanguageModelRequest& request) {
  TrainingText text;
  if (request.text.empty()) {
    if (request.stories == 0)
      fail(ErrorKind::usage, "no stories to train on", "--stories", "ask for 1,000 or more");
    text.documents.resize(request.stories);
    parallel_for(static_cast<std::int64_t>(request.stories), [&](std::int64_t i) {
      text.documents[static_cast<std::size_t>(i)] =
          make_story(request.seed, static_cast<std::uint64_t>(i)).text;
    });
    if (request.held_out.empty()) text.held_out = make_held_out_stories(request.seed, held_out_stories);
  } else {
    text.documents = cut_long_documents(split_documents(read_text_file(request.text, largest_text)));
    if (text.documents.empty()) fail(ErrorKind::input, "the text is empty", request.text.string());
    if (request.held_out.empty()) {
      if (text.documents.size() < 2) {
        fail(ErrorKind::input, "the text is one short document, so none can be held out",
             request.text.string(), "name a held-out text");
      }
      const std::size_t kept = text.documents.size() - std::max<std::size_t>(1, text.documents.size() / 50);
      for (std::size_t i = kept; i < text.documents.size(); ++i) {
        if (i > kept) text.held_out.append(story_separator).append("\n");
        text.held_out.append(text.documents[i]).append("\n");
      }
      text.documents.resize(kept);
    }
  }
  if (!request.held_out.empty()) text.held_out = read_text_file(request.held_out, largest_text);
  return text;
}

void place_tokenizer(const TrainLanguageModelRequest& request, const TrainingText& text,
                     const std::filesystem::path& directory) {
  if (!request.tokenizer.empty()) {
    // What is missing or broken is found by Tokenizer::load, which says so.
    for (const char* name :
         {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"}) {
      const std::filesystem::path file = request.tokenizer / name;
      if (std::filesystem::exists(file)) write_file(directory / name, read_text_file(file, largest_text));
    }
    return;
  }
  BpeTrainerOptions options;
  options.vocabulary_size = static_cast<std::int32_t>(request.vocabulary);
  options.bos = options.eos = story_separator;
  std::string joined;
  for (const std::string& document : text.documents) joined.append(document).append("\n");
  const BpeVocabulary vocabulary = train_bpe(joined, options, request.progress);
  write_file(directory / "tokenizer.json", vocabulary.tokenizer_json());
  write_file(directory / "tokenizer_config.json", vocabulary.tokenizer_config_json());
}

std::vector<std::vector<std::int32_t>> tokenize(const Tokenizer& tokenizer,
                                                const std::vector<std::string>& documents) {
  std::vector<std::vector<std::int32_t>> tokens(documents.size());
  parallel_for(static_cast<std::int64_t>(documents.size()), [&](std::int64_t i) {
    tokens[static_cast<std::size_t>(i)] = tokenizer.encode(documents[static_cast<std::size_t>(i)], false);
  });
  return tokens;
}

}  // namespace laconic::lab
