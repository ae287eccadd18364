#include "methods/gradients/training/exchange_by_name.h"

#include <algorithm>

#include "engine/base/error.h"
#include "methods/gradients/training/pipeline_exchange.h"
#include "methods/method.h"

namespace laconic {
namespace {

const MethodDescription* exchange_method(std::string_view slug) {
  for (const MethodDescription& method : method_registry()) {
    if (method.slug == slug) return &method;
  }
  return nullptr;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::vector<std::string> exchange_names() {
  std::vector<std::string> names;
  for (const MethodDescription& method : method_registry()) {
    if (method.exchange) names.push_back(method.slug);
  }
  std::sort(names.begin(), names.end());
  return names;
}

ExchangeCandidate exchange_by_name(std::string_view text,
                                   const std::vector<std::pair<std::string, std::string>>& parameters) {
  ExchangeCandidate candidate;
  if (const MethodDescription* method = exchange_method(text)) {
    if (!method->exchange) {
      fail(ErrorKind::usage, "\"" + method->slug + "\" is not an exchange of gradients", "--exchange",
           "these are: " + joined(exchange_names()));
    }
    candidate.name = method->slug;
    candidate.exchange = method->exchange;
    candidate.parameters = Parameters(method->parameters);
    for (const auto& [name, value] : parameters) candidate.parameters.set(name, value);
    candidate.key = settings_text(method->slug, candidate.parameters);
    return candidate;
  }
  // A single word that is no codec either is a method misspelt.
  const bool is_word = text.find_first_of(":([;+|") == std::string_view::npos;
  if (is_word) {
    const auto& codecs = codec_registry();
    if (std::none_of(codecs.begin(), codecs.end(), [&](const auto& codec) { return codec.name == text; })) {
      std::vector<std::string> known = exchange_names();
      for (const MethodDescription& method : method_registry()) {
        if (method.federated) known.push_back(method.slug);
      }
      const std::string nearest = nearest_name(text, known);
      fail(ErrorKind::usage, "there is no exchange \"" + std::string(text) + "\"", "--exchange",
           (nearest.empty() ? "" : "did you mean " + nearest + "? ") + std::string("methods: ") +
               joined(known) + "; or a pipeline like 'ef:outliers(fraction=0.01)'; or auto");
    }
  }
  if (!parameters.empty()) {
    fail(ErrorKind::usage, "a pipeline takes its parameters in parentheses", "-p", "outliers(fraction=0.01)");
  }
  PipelineExchange pipeline = parse_pipeline_exchange(text);
  candidate.name = pipeline.canonical;
  candidate.exchange = std::move(pipeline.exchange);
  candidate.key = pipeline.canonical;
  return candidate;
}

std::vector<ExchangeCandidate> automatic_candidates() {
  std::vector<ExchangeCandidate> candidates;
  const auto add = [&](std::string_view slug,
                       const std::vector<std::pair<std::string, std::string>>& parameters = {}) {
    if (const MethodDescription* method = exchange_method(slug); method != nullptr && method->exchange)
      candidates.push_back(exchange_by_name(slug, parameters));
  };
  add("dense");
  add("dense-bf16");
  add("qsgd", {{"bits", "8"}});
  add("qsgd");
  add("powersgd");
  add("ef-topk");
  return candidates;
}

}  // namespace laconic
