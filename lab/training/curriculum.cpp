#include "lab/training/curriculum.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/threads.h"
#include "lab/training/training_text.h"
#include "runtime/corpus/retrieval.h"

namespace laconic::lab {
namespace {

// Documents per window at most, and so the distance of the indices of neighbouring windows.
constexpr std::uint64_t documents_per_window = 64;
constexpr std::uint64_t windows_per_step = 4096;

// Bytes per token to begin with; a document that turns out too long is made again, shorter.
double bytes_per_token(RetrievalTask task) {
  return task == RetrievalTask::needle || task == RetrievalTask::far_needle ? 3.4 : 2.2;
}

}  // namespace

CurriculumSource::CurriculumSource(const TrainLanguageModelRequest& request, const Tokenizer& tokenizer,
                                   std::vector<std::vector<std::string>> texts)
    : request_(request), tokenizer_(tokenizer), bos_(*tokenizer.bos()), eos_(tokenizer.eos().value_or(bos_)) {
  double total = 0;
  for (std::vector<std::string>& documents : texts) {
    Text text{{}, {}, Haystack(documents)};
    for (const std::vector<std::int32_t>& tokens : tokenize(tokenizer, documents)) {
      text.starts.push_back(text.tokens.size());
      text.tokens.insert(text.tokens.end(), tokens.begin(), tokens.end());
      text.tokens.push_back(eos_);
    }
    documents.clear();
    shares_.push_back(total += std::sqrt(static_cast<double>(text.tokens.size())));
    texts_.push_back(std::move(text));
  }
  for (double& share : shares_) share /= total;
  double steps = 0;
  for (const CurriculumStage& stage : request.curriculum) {
    steps += stage.steps;
    last_.push_back(std::llround(steps * static_cast<double>(request.steps)));
  }
  last_.back() = request.steps;
}

const CurriculumStage& CurriculumSource::stage(std::int64_t step) const {
  std::size_t i = 0;
  while (i + 1 < last_.size() && step >= last_[i]) ++i;
  return request_.curriculum[i];
}

std::string CurriculumSource::text_hash() const {
  StreamingHash128 hash;
  for (const Text& text : texts_) hash.update(std::as_bytes(std::span(text.tokens)));
  return to_hex(hash.digest());
}

const CurriculumSource::Text& CurriculumSource::draw_text(RandomStream& random) const {
  const double place = random.uniform();
  std::size_t i = 0;
  while (i + 1 < shares_.size() && place >= shares_[i]) ++i;
  return texts_[i];
}

void CurriculumSource::fill_with_text(WeightedWindow& window, std::size_t length,
                                      RandomStream& random) const {
  const Text& text = draw_text(random);
  const auto below = [&](std::size_t bound) { return random.below(static_cast<std::uint32_t>(bound)); };
  std::size_t at = below(text.tokens.size());
  // Every second window begins where a document does, if documents are short.
  if (text.tokens.size() < text.starts.size() * 4 * length && random.below(2) == 0)
    at = text.starts[below(text.starts.size())];
  while (window.tokens.size() < length) {
    window.tokens.push_back(text.tokens[at]);
    window.weights.push_back(1);
    at = (at + 1) % text.tokens.size();
  }
}

void CurriculumSource::fill_with_documents(WeightedWindow& window, const CurriculumStage& stage, double drawn,
                                           RandomStream& random, std::uint64_t first_index) const {
  const std::size_t length = static_cast<std::size_t>(stage.context);
  const bool needles = drawn < stage.text + stage.needles;
  const bool far = !needles && drawn < stage.text + stage.needles + stage.far_needles;
  constexpr std::size_t least = 48;  // tokens that are worth a document
  constexpr int tries = 4;
  for (std::uint64_t i = 0; i < documents_per_window && window.tokens.size() + least <= length; ++i) {
    const std::size_t room = length - window.tokens.size();
    RetrievalTask task = RetrievalTask::needle;
    if (far) {
      task = RetrievalTask::far_needle;
    } else if (!needles) {
      task = random.below(2) == 0 ? RetrievalTask::recall : RetrievalTask::copy;
    }
    const bool whole = far || random.below(3) > 0;
    const double share = whole ? 1 : 0.25 + 0.75 * random.uniform();
    double bytes = std::max(80.0, static_cast<double>(room) * share * bytes_per_token(task));
    const Haystack& haystack = draw_text(random).haystack;
    Window tokens;
    std::vector<float> weights;
    for (int attempt = 0; attempt < tries; ++attempt) {
      tokens.clear();
      weights.clear();
      for (const DocumentPart& part : make_retrieval_document(task, request_.seed, first_index + i,
                                                              static_cast<std::size_t>(bytes), haystack)) {
        const std::vector<std::int32_t> encoded = tokenizer_.encode(part.text, false);
        tokens.insert(tokens.end(), encoded.begin(), encoded.end());
        const double weight = part.role == PartRole::text     ? 1
                              : part.role == PartRole::answer ? request_.answer_weight
                                                              : request_.given_weight;
        weights.resize(tokens.size(), static_cast<float>(weight));
      }
      if (tokens.size() <= room) break;
      bytes = std::max(80.0, bytes * 0.95 * static_cast<double>(room) / static_cast<double>(tokens.size()));
    }
    if (tokens.size() < room) {
      tokens.push_back(eos_);
      weights.push_back(1);
    }
    const std::size_t taken = std::min(room, tokens.size());
    window.tokens.insert(window.tokens.end(), tokens.begin(),
                         tokens.begin() + static_cast<std::ptrdiff_t>(taken));
    window.weights.insert(window.weights.end(), weights.begin(),
                          weights.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  fill_with_text(window, length, random);
}

std::vector<TrainingExample> CurriculumSource::examples(std::int64_t step) {
  const CurriculumStage& now = stage(step);
  const std::int64_t rows = std::clamp<std::int64_t>((request_.batch_tokens + now.context / 2) / now.context,
                                                     1, static_cast<std::int64_t>(windows_per_step));
  windows_.assign(static_cast<std::size_t>(rows), {});
  parallel_for(rows, [&](std::int64_t row) {
    WeightedWindow& window = windows_[static_cast<std::size_t>(row)];
    window.tokens.push_back(bos_);
    RandomStream random(request_.seed, "curriculum", "window", static_cast<std::uint64_t>(step),
                        static_cast<std::uint16_t>(row));
    const std::size_t length = static_cast<std::size_t>(now.context);
    const double drawn = random.uniform();
    if (drawn < now.text) {
      fill_with_text(window, length, random);
    } else {
      const std::uint64_t number =
          static_cast<std::uint64_t>(step) * windows_per_step + static_cast<std::uint64_t>(row);
      fill_with_documents(window, now, drawn, random, number * documents_per_window);
    }
  });
  std::vector<TrainingExample> list;
  for (const WeightedWindow& window : windows_) list.push_back({window.tokens, window.weights});
  return list;
}

std::int64_t CurriculumSource::tokens(std::int64_t step) {
  const std::int64_t context = stage(step).context;
  return std::clamp<std::int64_t>((request_.batch_tokens + context / 2) / context, 1,
                                  static_cast<std::int64_t>(windows_per_step)) *
         (context - 1);
}

}  // namespace laconic::lab
