#include "apps/cli/context_options.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/transfer/http_source.h"
#include "engine/base/error.h"

namespace laconic::cli {
namespace {

struct FormTotal {
  std::uint64_t bytes = 0;
  std::size_t chunks = 0;
};

std::vector<FormTotal> form_totals(const ContextIndex& index) {
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

}  // namespace

std::unique_ptr<ContextSource> open_context(const std::string& place, const Arguments& arguments) {
  if (!is_url(place)) return open_context_file(place);
  HttpSourceOptions options;
  options.stall_seconds = arguments.number("stall", 10, 0.01, 86400);
  return open_context_url(place, options);
}

OptionSpec stall_option_spec() {
  return {"--stall", OptionSpec::Kind::number, "seconds without a byte that break a connection", false, "10"};
}

std::size_t form_of_level(const std::string& level, const ContextIndex& index) {
  const std::size_t forms = index.forms.size();
  for (std::size_t number = 0; number <= forms; ++number) {
    if (level == std::to_string(number)) return forms - number;
  }
  fail(ErrorKind::usage, fmt::format("\"{}\" is no level of this context", level), "--level",
       fmt::format("it has the levels 1 to {}, and 0 for text alone", forms));
}

void print_context(const ContextIndex& index, bool json) {
  const double numbers =
      2.0 * static_cast<double>(index.cached_tokens() * index.layers * index.kv_heads * index.head_dim);
  const std::int64_t tokens = index.cached_tokens() + static_cast<std::int64_t>(index.rest.size());
  const bool by_tokens = index.kind == ContextIndex::Kind::tokens;
  const std::vector<FormTotal> totals = form_totals(index);
  const auto bits = [&](std::size_t form) { return 8.0 * static_cast<double>(totals[form].bytes) / numbers; };
  if (json) {
    nlohmann::json forms = nlohmann::json::array();
    for (std::size_t form = 0; form < totals.size(); ++form) {
      forms.push_back({{"level", totals.size() - form},
                       {"cache", index.forms[form]},
                       {"bytes", totals[form].bytes},
                       {"chunks", totals[form].chunks},
                       {"bits_per_number", bits(form)}});
    }
    const nlohmann::json value = {{"model", to_hex(index.model)},
                                  {"tokenizer", to_hex(index.tokenizer)},
                                  {"kind", by_tokens ? "chunks of tokens" : "layers"},
                                  {"tokens", tokens},
                                  {"chunks", index.chunks.size()},
                                  {"bytes", index.bytes()},
                                  {"forms", forms}};
    fmt::print("{}\n", value.dump(2));
    return;
  }
  fmt::print("{} tokens in {} {}, {}\nmodel {}\ntokenizer {}\n\n", tokens, index.chunks.size(),
             by_tokens ? "chunks" : "layers", human_bytes(index.bytes()), to_hex(index.model),
             to_hex(index.tokenizer));
  std::vector<std::vector<std::string>> rows = {{"level", "cache", "chunks", "bytes", "bits per number"}};
  for (std::size_t form = 0; form < totals.size(); ++form) {
    rows.push_back({std::to_string(totals.size() - form), index.forms[form],
                    fmt::format("{} of {}", totals[form].chunks, index.chunks.size()),
                    human_bytes(totals[form].bytes), fmt::format("{:.3f}", bits(form))});
  }
  fmt::print("{}", format_table(rows));
}

}  // namespace laconic::cli
