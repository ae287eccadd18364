#include "methods/gradients/training/exchange_by_name.h"

#include <algorithm>

#include "engine/base/error.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/training/pipeline_exchange.h"

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

template <class Takes>
std::vector<std::string> names_where(const Takes& takes) {
  std::vector<std::string> names;
  for (const MethodDescription& method : method_registry()) {
    if (takes(method)) names.push_back(method.slug);
  }
  std::sort(names.begin(), names.end());
  return names;
}

constexpr std::string_view over = " over ";

// A method of local steps, and what carries its means.
ExchangeCandidate local_by_name(const MethodDescription& method, std::string_view carrier,
                                const std::vector<std::pair<std::string, std::string>>& parameters) {
  ExchangeCandidate candidate;
  if (!carrier.empty()) candidate = exchange_by_name(carrier);
  const std::string behind = carrier.empty() ? "" : std::string(over);
  candidate.local = method.local;
  candidate.local_parameters = Parameters(method.parameters);
  for (const auto& [name, value] : parameters) candidate.local_parameters.set(name, value);
  candidate.name = method.slug + behind + candidate.name;
  candidate.text = candidate.local_parameters.canonical(method.slug) + behind + candidate.text;
  candidate.key = settings_text(method.slug, candidate.local_parameters) + behind + candidate.key;
  return candidate;
}

}  // namespace

std::vector<std::string> exchange_names() {
  return names_where([](const MethodDescription& method) { return method.exchange != nullptr; });
}

std::vector<std::string> local_names() {
  return names_where([](const MethodDescription& method) { return method.local != nullptr; });
}

ExchangeCandidate exchange_by_name(std::string_view text,
                                   const std::vector<std::pair<std::string, std::string>>& parameters) {
  ExchangeCandidate candidate;
  const std::size_t split = text.find(over);
  const MethodDescription* local = exchange_method(text.substr(0, split));
  if (local != nullptr && local->local) {
    const bool carried = split != std::string_view::npos;
    const std::string_view carrier = carried ? text.substr(split + over.size()) : std::string_view();
    const MethodDescription* method = exchange_method(carrier);
    if (carried && (carrier.empty() || (method != nullptr && !method->exchange))) {
      fail(ErrorKind::usage, "\"" + std::string(carrier) + "\" does not carry the means of " + local->slug,
           "--exchange",
           "these do: " + joined(exchange_names()) + "; or a pipeline like 'ef:uniform(bits=8)'");
    }
    return local_by_name(*local, carrier, parameters);
  }
  if (split != std::string_view::npos) {
    fail(ErrorKind::usage, "\"" + std::string(text.substr(0, split)) + "\" is not a method of local steps",
         "--exchange", "these are: " + joined(local_names()));
  }
  if (const MethodDescription* method = exchange_method(text)) {
    if (!method->exchange) {
      fail(ErrorKind::usage, "\"" + method->slug + "\" is not an exchange of gradients", "--exchange",
           "these are: " + joined(exchange_names()));
    }
    candidate.name = method->slug;
    candidate.exchange = method->exchange;
    candidate.parameters = Parameters(method->parameters);
    for (const auto& [name, value] : parameters) candidate.parameters.set(name, value);
    candidate.text = candidate.parameters.canonical(method->slug);
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
  candidate.name = candidate.text = pipeline.canonical;
  candidate.exchange = std::move(pipeline.exchange);
  candidate.key = pipeline.canonical;
  return candidate;
}

ExchangeCandidate step_exchange_by_name(std::string_view text,
                                        const std::vector<std::pair<std::string, std::string>>& parameters) {
  ExchangeCandidate candidate = exchange_by_name(text, parameters);
  if (candidate.local) {
    fail(ErrorKind::usage, "\"" + candidate.name + "\" trains by local steps and exchanges no gradients",
         "--exchange", "these do: " + joined(exchange_names()));
  }
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
