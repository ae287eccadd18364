// laconic kv ACTION: caches of whole texts, saved once and loaded by whoever asks about the text.
#include "apps/cli/kv.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/cache/cachegen/profile_file.h"
#include "methods/cache/context_store.h"
#include "methods/cache/pipeline.h"
#include "runtime/documents.h"
#include "runtime/fingerprint.h"
#include "runtime/generation/generate.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic::cli {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::string text = read_text_file(path);
  if (const auto fault = invalid_utf8_at(text)) {
    fail(ErrorKind::input, fmt::format("is not UTF-8 at byte {}", *fault), path.string(),
         "convert it, for example with iconv -f latin1 -t utf-8");
  }
  return text;
}

// What an action cannot do without.
std::string needed(const Arguments& arguments, std::string_view option, std::string_view action,
                   std::string_view advice) {
  std::string value = arguments.text(option);
  if (value.empty()) fail(ErrorKind::usage, fmt::format("kv {} needs {}", action, option), "kv", advice);
  return value;
}

// Bits per cached number and bytes of every form, over all chunks.
struct FormTotal {
  std::uint64_t bytes = 0;
  std::size_t chunks = 0;
};

std::vector<FormTotal> totals_of(const ContextIndex& index) {
  std::vector<FormTotal> totals(index.forms.size());
  for (const ContextChunk& chunk : index.chunks) {
    for (std::size_t form = 0; form < totals.size(); ++form) {
      if (!chunk.coded[form].present()) continue;
      totals[form].bytes += chunk.coded[form].size;
      ++totals[form].chunks;
    }
  }
  return totals;
}

nlohmann::json as_json(const ContextIndex& index) {
  const double numbers =
      2.0 * static_cast<double>(index.cached_tokens() * index.layers * index.kv_heads * index.head_dim);
  nlohmann::json forms = nlohmann::json::array();
  const std::vector<FormTotal> totals = totals_of(index);
  for (std::size_t form = 0; form < totals.size(); ++form) {
    forms.push_back({{"cache", index.forms[form]},
                     {"bytes", totals[form].bytes},
                     {"chunks", totals[form].chunks},
                     {"bits_per_number", 8.0 * static_cast<double>(totals[form].bytes) / numbers}});
  }
  return {{"model", to_hex(index.model)},
          {"tokenizer", to_hex(index.tokenizer)},
          {"kind", index.kind == ContextIndex::Kind::tokens ? "chunks of tokens" : "layers"},
          {"tokens", index.cached_tokens() + static_cast<std::int64_t>(index.rest.size())},
          {"chunks", index.chunks.size()},
          {"bytes", index.bytes()},
          {"forms", forms}};
}

void print_index(const ContextIndex& index, bool json) {
  const nlohmann::json value = as_json(index);
  if (json) {
    fmt::print("{}\n", value.dump(2));
    return;
  }
  fmt::print("{} tokens, {} in {}, {}\nmodel {}\ntokenizer {}\n\n", value["tokens"].get<std::int64_t>(),
             index.kind == ContextIndex::Kind::tokens ? fmt::format("{} chunks", index.chunks.size())
                                                      : fmt::format("{} layers", index.chunks.size()),
             index.forms.size() == 1 ? "one form" : fmt::format("{} forms", index.forms.size()),
             human_bytes(index.bytes()), to_hex(index.model), to_hex(index.tokenizer));
  std::vector<std::vector<std::string>> rows = {{"level", "cache", "chunks", "bytes", "bits/number"}};
  for (std::size_t form = 0; form < index.forms.size(); ++form) {
    const nlohmann::json& of = value["forms"][form];
    rows.push_back({std::to_string(index.forms.size() - form), index.forms[form],
                    std::to_string(of["chunks"].get<std::size_t>()),
                    human_bytes(of["bytes"].get<std::uint64_t>()),
                    fmt::format("{:.3f}", of["bits_per_number"].get<double>())});
  }
  fmt::print("{}", format_table(rows));
}

int kv(const Arguments& arguments, const Session& session) {
  using Action = int (*)(const Arguments&, const Session&);
  static const std::vector<std::pair<std::string, Action>> actions = {
      {"save", kv_save},   {"load", kv_load},   {"inspect", kv_inspect},
      {"serve", kv_serve}, {"fetch", kv_fetch}, {"profile", kv_profile}};
  const std::string name = arguments.text("action");
  for (const auto& [known, action] : actions) {
    if (known == name) return action(arguments, session);
  }
  std::vector<std::string> names;
  for (const auto& entry : actions) names.push_back(entry.first);
  const std::string nearest = nearest_name(name, names);
  fail(ErrorKind::usage, fmt::format("there is no action \"{}\"", name), "kv",
       (nearest.empty() ? "" : "did you mean " + nearest + "? ") +
           fmt::format("known are {}", fmt::join(names, ", ")));
}

}  // namespace

int kv_save(const Arguments& arguments, const Session& session) {
  const std::filesystem::path directory = arguments.text("what");
  const std::string text = text_of(needed(arguments, "text", "save", "name the file with --text"));
  const std::string output = needed(arguments, "output", "save", "name the new file with -o");
  const auto tokenizer = Tokenizer::load(directory);
  const Transformer model = Transformer::load(directory, {std::nullopt, print_notice, nullptr, {}});
  std::vector<std::int32_t> tokens = prompt_tokens(*tokenizer, model.config(), text);
  ContextSaveOptions options;
  if (arguments.has("cache")) options.pipeline = arguments.text("cache");
  options.chunk_tokens = arguments.integer("chunk", 1500, 1, std::int64_t{1} << 24);
  const ContextIndex index =
      save_context(ContextModel::of(model, directory), tokens, options, output, session.progress);
  print_index(index, session.json);
  return 0;
}

int kv_inspect(const Arguments& arguments, const Session& session) {
  const auto source = open_context_file(arguments.text("what"));
  const ContextIndex index = read_context_index(*source);
  print_index(index, session.json);
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

int kv_profile(const Arguments& arguments, const Session& session) {
  const std::filesystem::path directory = arguments.text("what");
  const std::string text = text_of(needed(arguments, "text", "profile", "name a text with --text"));
  const std::vector<CacheStageText> stages = parse_cache_pipeline(arguments.text("cache", "cachegen"));
  if (stages.size() != 1 || stages.front().method->slug != "cachegen")
    fail(ErrorKind::usage, "profiles are of cachegen alone", "--cache", "name it with its settings");
  const auto tokenizer = Tokenizer::load(directory);
  const Transformer model = Transformer::load(directory, {std::nullopt, print_notice, nullptr, {}});
  const std::int64_t length = arguments.integer(
      "chunk", std::min<std::int64_t>(model.config().max_positions, 1024), 2, model.config().max_positions);
  const std::int64_t count = arguments.integer("windows", 16, 1, 1 << 20);
  std::vector<std::vector<std::int32_t>> windows;
  std::vector<std::int32_t> tokens;
  const std::int32_t begin = beginning_token(*tokenizer, model.config());
  for (const std::string_view document : split_documents(text)) {
    tokens.push_back(begin);
    const std::vector<std::int32_t> ids = tokenizer->encode(document, false);
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  }
  for (std::int64_t at = 0; static_cast<std::int64_t>(windows.size()) < count &&
                            at + length <= static_cast<std::int64_t>(tokens.size());
       at += length)
    windows.emplace_back(tokens.begin() + at, tokens.begin() + at + length);
  if (windows.empty()) {
    fail(ErrorKind::input, fmt::format("the text has {} tokens, fewer than {}", tokens.size(), length),
         "kv profile", "give more text, or shorter windows with --chunk");
  }
  const CodedRowForm form = cachegen_form(stages.front().parameters);
  const CodingProfile profile = learn_profile(model, fingerprint(directory), form, windows, session.progress);
  const std::filesystem::path path = cachegen_profile_path(directory, form);
  std::filesystem::create_directories(path.parent_path());
  write_file(path, profile.bytes());
  if (session.json) {
    const nlohmann::json value = {{"profile", path.string()},
                                  {"bytes", profile.bytes().size()},
                                  {"settings", profile.settings()},
                                  {"windows", windows.size()}};
    fmt::print("{}\n", value.dump(2));
  } else {
    fmt::print("{}: {} from {} windows of {} tokens ({})\n", path.string(),
               human_bytes(profile.bytes().size()), windows.size(), length, profile.settings());
  }
  return 0;
}

Verb kv_verb() {
  using Kind = OptionSpec::Kind;
  return {
      "kv",
      "Save, load, serve and fetch the KV cache of a text",
      "  laconic kv save ./model --text book.txt -o book.kv\n"
      "  laconic kv load ./model book.kv --prompt \"In one sentence:\"\n"
      "  laconic kv inspect book.kv\n"
      "  laconic kv serve ./contexts --port 8080\n"
      "  laconic kv load ./model http://127.0.0.1:8080/book.kv --slo 0.5\n"
      "  laconic kv fetch http://127.0.0.1:8080/book.kv --level 2 -o book.kv\n"
      "  laconic kv profile ./model --text corpus.txt --cache 'cachegen(level=2)'\n",
      {{"action", Kind::text, "save, load, inspect, serve, fetch or profile", true},
       {"what", Kind::text, "a model directory (save, load, profile), a context, a folder or an address",
        true},
       {"context", Kind::text, "load: a file, or the address of one on a server"},
       {"--text", Kind::text, "save, profile: a file of text"},
       {"-o,--output", Kind::text, "save, fetch: the new file"},
       {"--cache", Kind::text,
        "save: the form to keep it in (several levels of cachegen otherwise); load: of what follows; "
        "profile: the settings",
        false, "cachegen"},
       {"--chunk", Kind::integer, "save: tokens of a chunk; profile: tokens of a window", false,
        "1500; 1024"},
       {"--windows", Kind::integer, "profile: windows of text", false, "16"},
       {"--level", Kind::text, "load, fetch: 3 finest, 0 only text; fetch: all", false, "2; all"},
       {"--slo", Kind::number, "load: seconds to the first token; levels are chosen to meet it"},
       {"--bandwidth", Kind::number, "load: Mbit/s that are expected before anything was measured"},
       {"--prompt", Kind::text, "load: text that follows the context"},
       {"--tokens", Kind::integer, "load: make at most so many tokens", false, "64"},
       {"--stall", Kind::number, "load, fetch: seconds without a byte that break a connection", false, "10"},
       {"--host", Kind::text, "serve: address to listen on", false, "127.0.0.1"},
       {"--port", Kind::integer, "serve: 0 takes a free one", false, "8080"}},
      kv};
}

}  // namespace laconic::cli
