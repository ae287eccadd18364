// A model directory with random weights that a method can calibrate: a two-layer Llama with a byte-level BPE
// trained on generated stories.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

#include "../runtime/reference_model.h"
#include "engine/base/files.h"
#include "runtime/corpus/stories.h"
#include "runtime/tokenizer/bpe_trainer.h"

namespace laconic {

class SmallLanguageModel {
 public:
  explicit SmallLanguageModel(DType dtype = DType::bf16) {
    std::string pattern = (std::filesystem::temp_directory_path() / "laconic-model-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    text_ = make_stories(5, 0, 60);
    BpeTrainerOptions options;
    options.vocabulary_size = 300;
    const BpeVocabulary vocabulary = train_bpe(text_, options);
    description_.vocabulary = options.vocabulary_size;
    description_.hidden = 64;
    description_.intermediate = 96;
    description_.layers = 2;
    description_.head_dim = 16;
    description_.max_positions = 64;
    reference::write_model(model(), description_, reference::random_weights(description_, 3, dtype), dtype,
                           "");
    write_file(model() / "tokenizer.json", std::string_view(vocabulary.tokenizer_json()));
    write_file(model() / "tokenizer_config.json", std::string_view(vocabulary.tokenizer_config_json()));
    write_file(text_file(), std::string_view(text_));
  }
  ~SmallLanguageModel() {
    std::error_code error;
    std::filesystem::remove_all(root_, error);
  }
  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path model() const { return root_ / "model"; }
  std::filesystem::path text_file() const { return root_ / "text.txt"; }
  const std::string& text() const { return text_; }

 private:
  std::filesystem::path root_;
  std::string text_;
  reference::Description description_;
};

}  // namespace laconic
