// The models and texts of convention C15.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/trial_subjects.h"
#include "runtime/corpus/stories.h"
#include "runtime/documents.h"

namespace laconic {
namespace {

constexpr std::size_t calibration_stories = 2000, last_story = 2316;
constexpr std::size_t dickens_train_bytes = 9'173'201, dickens_calibration_bytes = 1'000'000;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// Stories first .. last, counted from 1, with their separators.
std::string stories(std::string_view all, std::size_t first, std::size_t last) {
  const auto documents = split_documents(all);
  std::string text;
  for (std::size_t i = first; i <= std::min(last, documents.size()); ++i) {
    text += documents[i - 1];
    text += '\n';
    text += document_separator;
    text += '\n';
  }
  return text;
}

std::string wikitext(const std::filesystem::path& data) {
  std::string text = read_text_file(data / "text/wikitext-2/test.txt");
  text = replaced(std::move(text), " @-@ ", "-");
  text = replaced(std::move(text), " @,@ ", ",");
  return replaced(std::move(text), " @.@ ", ".");
}

bool holds_model(const std::filesystem::path& directory) {
  return std::filesystem::exists(directory / "config.json");
}

// A model directory that the project carries; empty when it is not found.
std::filesystem::path asset(std::string_view name) {
  if (const char* assets = std::getenv("LACONIC_ASSETS")) {
    std::filesystem::path model = std::filesystem::path(assets) / name;
    if (holds_model(model)) return model;
  }
  return {};
}

}  // namespace

std::filesystem::path bundled_model() { return asset("stories"); }

TrialSubject long_context_subject(const ReproduceRequest& request) {
  const std::filesystem::path model = asset("long");
  if (model.empty())
    fail(ErrorKind::input, "the model with a long context is not there", "assets/long",
         "run from the project, or set LACONIC_ASSETS to its assets folder");
  TrialSubject subject{"long", model, make_training_stories(2, calibration_stories), {}, false};
  const std::filesystem::path tiny = request.data / "text/tinystories/tinystories_sample.txt";
  if (!request.data.empty() && std::filesystem::exists(tiny)) {
    const std::string all = read_text_file(tiny);
    subject.calibration = stories(all, 1, calibration_stories);
    subject.held_out.push_back({"wikitext-2", wikitext(request.data)});
    subject.held_out.push_back({"tinystories", stories(all, calibration_stories + 1, last_story)});
  }
  subject.held_out.push_back({"generated", make_held_out_stories(3, 600)});
  const std::filesystem::path dickens = request.data / "text/dickens/dickens";
  if (!request.data.empty() && std::filesystem::exists(dickens)) {
    std::string text = read_text_file(dickens);
    text.erase(0, std::min(dickens_train_bytes, text.size()));
    std::erase(text, '\r');
    if (!text.empty()) subject.held_out.push_back({"dickens", std::move(text)});
  }
  return subject;
}

std::vector<TrialSubject> trial_subjects(const ReproduceRequest& request) {
  std::vector<TrialSubject> subjects;
  const std::filesystem::path& data = request.data;
  const std::filesystem::path tiny = data / "text/tinystories/tinystories_sample.txt";
  if (!data.empty() && std::filesystem::exists(tiny)) {
    const std::string all = read_text_file(tiny);
    const std::string calibration = stories(all, 1, calibration_stories);
    const HeldOutText held_out{"tinystories", stories(all, calibration_stories + 1, last_story)};
    if (holds_model(data / "models/lm-5m")) {
      std::string dickens = read_text_file(data / "text/dickens/dickens");
      dickens.resize(std::min(dickens.size(), dickens_calibration_bytes));
      subjects.push_back({"lm-5m",
                          data / "models/lm-5m",
                          calibration + replaced(std::move(dickens), "\r\n", "\n"),
                          {{"wikitext-2", wikitext(data)}, held_out},
                          false});
    }
    if (holds_model(data / "models/stories260K-hf")) {
      subjects.push_back({"stories260K-hf", data / "models/stories260K-hf", calibration, {held_out}, true});
    }
  }
  if (const auto model = bundled_model(); !model.empty()) {
    // Training drew from seed 1; these are stories of other seeds, and the reported ones are held out by plot
    // facts as well.
    subjects.push_back({"stories",
                        model,
                        make_training_stories(2, calibration_stories),
                        {{"generated", make_held_out_stories(3, 600)}},
                        false});
  }
  if (subjects.empty()) {
    fail(ErrorKind::input, "no reference models were found", data.empty() ? "--data" : data.string(),
         "give the folder that holds models/ and text/ with --data or LACONIC_DATA");
  }
  return subjects;
}

TrialSubject trial_subject(const ReproduceRequest& request, std::string_view name) {
  for (TrialSubject& subject : trial_subjects(request)) {
    if (subject.name == name) return std::move(subject);
  }
  fail(ErrorKind::input, "the reference model " + std::string(name) + " was not found", request.data.string(),
       "give the folder that holds models/ and text/ with --data or LACONIC_DATA");
}

}  // namespace laconic
