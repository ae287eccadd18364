// laconic kv save MODEL: prefills a text and stores its cache; laconic kv inspect: what a stored one holds.
#include <fmt/format.h>

#include "apps/cli/context_options.h"
#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/cache/context_store.h"
#include "runtime/generation/generate.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic::cli {
namespace {

int save(const Arguments& arguments, const Session& session) {
  const std::filesystem::path directory = arguments.text("model");
  const std::string text = read_text_file(arguments.text("text"));
  if (const auto fault = invalid_utf8_at(text)) {
    fail(ErrorKind::input, fmt::format("is not UTF-8 at byte {}", *fault), arguments.text("text"),
         "convert it, for example with iconv -f latin1 -t utf-8");
  }
  const auto tokenizer = Tokenizer::load(directory);
  const Transformer model = Transformer::load(directory, {std::nullopt, print_notice, nullptr, {}});
  const std::vector<std::int32_t> tokens = prompt_tokens(*tokenizer, model.config(), text);
  ContextSaveOptions options;
  options.pipeline = arguments.text("cache", options.pipeline);
  options.chunk_tokens = arguments.integer("chunk", options.chunk_tokens, 1, std::int64_t{1} << 24);
  const ContextModel context_model = ContextModel::of(model, directory, arguments.text("cache-bases"));
  print_context(save_context(context_model, tokens, options, arguments.text("output"), session.progress),
                session.json);
  return 0;
}

int inspect_context(const Arguments& arguments, const Session& session) {
  const auto source = open_context(arguments.text("context"), arguments);
  const ContextIndex index = read_context_index(*source);
  print_context(index, session.json);
  int damaged = 0;
  const auto check = [&](const ContextPiece& piece, const std::string& name) {
    if (!piece.present()) return;
    try {
      read_context_piece(*source, piece, name);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      fmt::print(stderr, "laconic: {}\n", error.what());
      ++damaged;
    }
  };
  for (std::size_t chunk = 0; chunk < index.chunks.size(); ++chunk) {
    throw_if_interrupted();
    for (std::size_t form = 0; form < index.forms.size(); ++form)
      check(index.chunks[chunk].coded[form], index.chunk_name(chunk, form));
    check(index.chunks[chunk].text, index.chunk_name(chunk, index.forms.size()));
  }
  if (damaged > 0) fail(ErrorKind::corrupt, fmt::format("{} pieces are damaged", damaged), source->name());
  return 0;
}

}  // namespace

Verb kv_save_verb() {
  using Kind = OptionSpec::Kind;
  return {"kv save",
          "Store the cache of a text, for whoever asks about it later",
          "  laconic kv save ./model --text book.txt -o book.kv\n"
          "  laconic kv save ./model --text book.txt -o book.kv --cache 'kivi(bits=4)'\n",
          {{"model", Kind::text, "a model directory", true},
           {"--text", Kind::text, "a file of text", true},
           {"-o,--output", Kind::text, "the new file", true},
           {"--cache", Kind::text, "the form to keep it in: a method or a pipeline", false,
            "cachegen in three levels"},
           {"--cache-bases", Kind::text, "directory whose kv/ holds trained bases", false, "the model's"},
           {"--chunk", Kind::integer, "tokens of a chunk", false, "1500"}},
          save};
}

Verb kv_inspect_verb() {
  using Kind = OptionSpec::Kind;
  return {"kv inspect",
          "Show what a stored context holds, and check every piece of it",
          "  laconic kv inspect book.kv\n"
          "  laconic kv inspect http://127.0.0.1:8080/book.kv\n",
          {{"context", Kind::text, "a file, or its address on a server", true}, stall_option_spec()},
          inspect_context};
}

}  // namespace laconic::cli
