#include "runtime/tokenizer/tokenizer.h"

#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/json.h"
#include "runtime/tokenizer/sentencepiece.h"

namespace laconic {
namespace fs = std::filesystem;

std::unique_ptr<Tokenizer> Tokenizer::load(const fs::path& model_directory) {
  SentencePieceOptions options;
  const fs::path settings = model_directory / "tokenizer_config.json";
  if (fs::exists(settings)) {
    const nlohmann::json json = parse_json(read_text_file(settings, 64 << 20), settings.string());
    const auto flag = [&](const char* key, bool otherwise) {
      return json.is_object() && json.contains(key) && json[key].is_boolean() ? json[key].get<bool>()
                                                                              : otherwise;
    };
    options.add_bos = flag("add_bos_token", options.add_bos);
    options.add_eos = flag("add_eos_token", options.add_eos);
  }
  const fs::path model = model_directory / "tokenizer.model";
  if (fs::exists(model)) return read_sentencepiece(read_file(model, 256 << 20), model.string(), options);
  fail(ErrorKind::input, "holds no tokenizer.model", model_directory.string(),
       "copy the tokenizer of the model into its directory");
}

}  // namespace laconic
