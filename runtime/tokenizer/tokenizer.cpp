#include "runtime/tokenizer/tokenizer.h"

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "runtime/tokenizer/sentencepiece.h"
#include "runtime/tokenizer/tiktoken.h"
#include "runtime/tokenizer/tokenizer_json.h"
#include "runtime/tokenizer/tokenizer_settings.h"

namespace laconic {

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& model_directory) {
  constexpr std::size_t largest_file = std::size_t{256} << 20;
  std::error_code ignored;
  const auto json = model_directory / "tokenizer.json", model = model_directory / "tokenizer.model";
  if (std::filesystem::exists(json, ignored)) {
    const TokenizerSettings settings = TokenizerSettings::read(model_directory);
    return json_tokenizer(read_text_file(json, largest_file), settings, json.string());
  }
  if (std::filesystem::exists(model, ignored)) {
    const TokenizerSettings settings = TokenizerSettings::read(model_directory);
    const Bytes file = read_file(model, largest_file);
    if (is_tiktoken_text(as_text(file))) return tiktoken_tokenizer(as_text(file), settings, model.string());
    return sentencepiece_tokenizer(SentencePieceModel::parse(file, model.string()), settings, model.string());
  }
  fail(ErrorKind::input, "no tokenizer.json and no tokenizer.model", model_directory.string(),
       "copy the tokenizer files of the model into this directory");
}

}  // namespace laconic
