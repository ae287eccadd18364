#include "lab/training/training_text.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/threads.h"
#include "methods/gradients/tasks/task_data.h"
#include "runtime/corpus/retrieval.h"
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

// A file, or the train part of a text set of the data directory.
std::vector<std::string> read_source(const TrainLanguageModelRequest& request, const std::string& name) {
  std::string text;
  if (std::filesystem::exists(name)) {
    text = read_text_file(name, largest_text);
  } else {
    const std::vector<std::string> known = known_datasets();
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail(ErrorKind::input, "no such file or text set", name, "name a text file, or a set such as dickens");
    TaskRequest wish;
    wish.dataset = name;
    wish.data = request.data;
    TaskOptions none(wish);
    text = load_task_data(wish, none).as<TextData>("lm").train;
  }
  // Lines end one way.
  std::erase(text, '\r');
  std::vector<std::string> documents = cut_long_documents(split_documents(text));
  if (documents.empty()) fail(ErrorKind::input, "the text is empty", name);
  return documents;
}

// Moves the last 2 % of a source's documents to the held-out text.
void hold_out_end(TrainingText& text, std::size_t source, const std::string& name) {
  std::vector<std::string>& documents = text.sources[source];
  if (documents.size() < 2) {
    fail(ErrorKind::input, "the text is one short document, so none can be held out", name,
         "name a held-out text");
  }
  const std::size_t kept = documents.size() - std::max<std::size_t>(1, documents.size() / 50);
  for (std::size_t i = kept; i < documents.size(); ++i) {
    if (!text.held_out.empty()) text.held_out.append(story_separator).append("\n");
    text.held_out.append(documents[i]).append("\n");
  }
  documents.resize(kept);
}

// The words of retrieval documents belong to the vocabulary: this many documents are counted with the text.
constexpr std::uint64_t counted_documents = 3000;

}  // namespace

TrainingText training_text(const TrainLanguageModelRequest& request) {
  TrainingText text;
  for (const std::string& name : request.text) text.sources.push_back(read_source(request, name));
  const bool hold_out_the_end = request.held_out.empty() && !request.text.empty();
  if (hold_out_the_end) {
    for (std::size_t i = 0; i < text.sources.size(); ++i) hold_out_end(text, i, request.text[i]);
  }
  if (request.text.empty() || !request.curriculum.empty()) {
    if (request.stories == 0)
      fail(ErrorKind::usage, "no stories to train on", "--stories", "ask for 1,000 or more");
    std::vector<std::string>& stories = text.sources.emplace_back(request.stories);
    parallel_for(static_cast<std::int64_t>(request.stories), [&](std::int64_t i) {
      stories[static_cast<std::size_t>(i)] = make_story(request.seed, static_cast<std::uint64_t>(i)).text;
    });
    if (request.held_out.empty() && request.text.empty())
      text.held_out = make_held_out_stories(request.seed, held_out_stories);
  }
  if (!request.held_out.empty()) text.held_out = read_text_file(request.held_out, largest_text);
  return text;
}

void place_tokenizer(const TrainLanguageModelRequest& request, const TrainingText& text,
                     const std::filesystem::path& directory) {
  const std::filesystem::path& given = request.tokenizer.empty() ? request.from : request.tokenizer;
  if (!given.empty()) {
    // What is missing or broken is found by Tokenizer::load, which says so.
    for (const char* name :
         {"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"}) {
      const std::filesystem::path file = given / name;
      if (std::filesystem::exists(file)) write_file(directory / name, read_text_file(file, largest_text));
    }
    return;
  }
  BpeTrainerOptions options;
  options.vocabulary_size = static_cast<std::int32_t>(request.vocabulary);
  options.bos = options.eos = story_separator;
  options.split_digits = request.split_digits;
  std::string joined;
  for (const std::vector<std::string>& documents : text.sources) {
    for (const std::string& document : documents) joined.append(document).append("\n");
  }
  if (!request.curriculum.empty()) {
    const Haystack haystack(request.seed);
    for (std::uint64_t i = 0; i < counted_documents; ++i) {
      const auto task = i % 3 == 0 ? RetrievalTask::copy : RetrievalTask::needle;
      for (const DocumentPart& part : make_retrieval_document(task, request.seed, i, 800, haystack))
        joined += part.text;
      joined += "\n";
    }
  }
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
