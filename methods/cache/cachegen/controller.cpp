#include "methods/cache/cachegen/controller.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {

double PrefillCost::seconds(std::int64_t first, std::int64_t tokens) const {
  const auto begin = static_cast<double>(first), count = static_cast<double>(tokens);
  // Token t looks at t + 1 tokens: the sum over t from begin to begin + count - 1.
  return per_token * count + per_pair * (count * begin + count * (count + 1) / 2);
}

PrefillCost measure_prefill(const Transformer& model) {
  constexpr std::int64_t longest = 512;
  const std::int64_t many = std::min(longest, model.config().max_positions),
                     few = std::max<std::int64_t>(1, many / 4);
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < many; ++i)
    tokens.push_back(static_cast<std::int32_t>((7 * i + 1) % model.config().vocabulary));
  // Piece after piece, as chunks are computed: what comes later attends to rows that are in the cache.
  std::vector<double> short_runs, long_runs;
  for (int run = 0; run < 4; ++run) {
    const auto cache = make_exact_cache(model.kv_shape(), DType::f16);
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t first = 0; first < many; first += few) {
      const auto count = static_cast<std::size_t>(std::min(few, many - first));
      model.forward(std::span(tokens).subspan(static_cast<std::size_t>(first), count), cache.get(), true);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (run > 0 && first == 0) short_runs.push_back(seconds);
      if (run > 0 && first + few >= many) long_runs.push_back(seconds);
    }
  }
  std::sort(short_runs.begin(), short_runs.end());
  std::sort(long_runs.begin(), long_runs.end());
  const double short_run = short_runs[1], long_run = long_runs[1];
  // seconds = per_token n + per_pair n (n + 1) / 2 through both points, neither below 0.
  const auto n = static_cast<double>(few), m = static_cast<double>(many);
  PrefillCost cost{long_run / m, 0};
  if (m > n) {
    const double pair = 2 * (long_run / m - short_run / n) / (m - n);
    const double token = short_run / n - pair * (n + 1) / 2;
    if (pair > 0 && token > 0) cost = {token, pair};
  }
  return cost;
}

StreamController::StreamController(const StreamSettings& settings,
                                   std::vector<std::vector<std::uint64_t>> bytes,
                                   std::vector<std::int64_t> tokens)
    : settings_(settings),
      bytes_(std::move(bytes)),
      tokens_(std::move(tokens)),
      throughput_(settings.bits_per_second) {
  if (!(settings.slo > 0) || !std::isfinite(settings.slo)) {
    fail(ErrorKind::usage, fmt::format("a first token within {} s is not possible", settings.slo), "--slo",
         "give a time above 0 seconds");
  }
  require(bytes_.size() == tokens_.size() && !bytes_.empty(), "every chunk has sizes and tokens");
  require(settings.planned_share > 0 && settings.planned_share <= 1, "a share of the time is planned for");
  forms_ = bytes_.front().size();
  std::int64_t at = 0;
  for (std::size_t chunk = 0; chunk < bytes_.size(); ++chunk) {
    require(bytes_[chunk].size() == forms_, "chunks come in the same forms");
    first_.push_back(at);
    at += tokens_[chunk];
  }
}

StreamController StreamController::of(const StreamSettings& settings, const ContextIndex& index) {
  std::vector<std::vector<std::uint64_t>> bytes;
  std::vector<std::int64_t> tokens;
  for (const ContextChunk& chunk : index.chunks) {
    bytes.emplace_back();
    for (const ContextPiece& piece : chunk.coded) bytes.back().push_back(piece.size);
    tokens.push_back(chunk.tokens);
  }
  return StreamController(settings, std::move(bytes), std::move(tokens));
}

std::optional<double> StreamController::transfer_seconds(std::size_t chunk, std::size_t form,
                                                         bool alone) const {
  double bytes = 0;
  const std::size_t end = alone ? chunk + 1 : bytes_.size();
  for (std::size_t i = chunk; i < end; ++i) {
    if (bytes_[i][form] == 0) return std::nullopt;
    bytes += static_cast<double>(bytes_[i][form]);
  }
  double seconds = bytes * 8 / *throughput_;
  if (settings_.decode_bytes_per_second > 0) seconds += bytes / settings_.decode_bytes_per_second;
  return seconds;
}

double StreamController::prefill_seconds(std::size_t chunk) const {
  double seconds = 0;
  for (std::size_t i = chunk; i < tokens_.size(); ++i)
    seconds += settings_.prefill.seconds(first_[i], tokens_[i]);
  return seconds;
}

double StreamController::use_seconds(std::size_t chunk, std::size_t form) const {
  if (form == text()) return settings_.prefill.seconds(first_[chunk], tokens_[chunk]);
  if (!(settings_.decode_bytes_per_second > 0)) return 0;
  return static_cast<double>(bytes_[chunk][form]) / settings_.decode_bytes_per_second;
}

std::size_t StreamController::smallest_form(std::size_t chunk) const {
  std::size_t smallest = text();
  for (std::size_t form = 0; form < forms_; ++form) {
    if (bytes_[chunk][form] > 0 && (smallest == text() || bytes_[chunk][form] < bytes_[chunk][smallest]))
      smallest = form;
  }
  return smallest;
}

// What is read is used in order, and an earlier state never ends later: of the states that a chunk can leave
// (when it is read, when it is used), those that another one beats in both need not be followed.
std::size_t StreamController::start_of_fastest_mixture(std::size_t chunk, double elapsed) const {
  struct Way {
    double read, used;
    std::size_t start;
  };
  std::vector<Way> ways = {{elapsed, std::max(elapsed, used_), text()}}, next;
  for (std::size_t i = chunk; i < bytes_.size(); ++i) {
    const std::size_t smallest = smallest_form(i);
    next.clear();
    for (const Way& way : ways) {
      for (const std::size_t form : {smallest, text()}) {
        double read = way.read;
        if (form != text()) read += static_cast<double>(bytes_[i][form]) * 8 / *throughput_;
        const double begin = std::max(read, way.used);
        next.push_back({begin, begin + use_seconds(i, form), i == chunk ? form : way.start});
        if (smallest == text()) break;
      }
    }
    std::sort(next.begin(), next.end(), [](const Way& a, const Way& b) {
      return a.used != b.used ? a.used < b.used : a.read < b.read;
    });
    ways.clear();
    for (const Way& way : next) {
      if (ways.empty() || way.read < ways.back().read) ways.push_back(way);
    }
  }
  if (ways.front().used <= settings_.slo) return ways.front().start;
  // Late at this rate in any way. Only a faster link can help, and tokens that are computed gain nothing by
  // it.
  return smallest_form(chunk);
}

std::size_t StreamController::choose(std::size_t chunk, double elapsed) {
  require(chunk < bytes_.size(), "a chunk of the context");
  const auto decided = [&](std::size_t form) {
    chunk_ = chunk;
    form_ = form;
    elapsed_ = elapsed;
    return form;
  };
  const auto chunks = static_cast<double>(bytes_.size());
  if (!throughput_) {
    const std::size_t first = settings_.rule == StreamSettings::Rule::mixed ? forms_ - 1 : forms_ / 2;
    return decided(bytes_[chunk][first] > 0 ? first : text());
  }
  if (!(*throughput_ > 0)) return decided(text());  // nothing comes through
  if (settings_.rule == StreamSettings::Rule::simplified) {
    for (std::size_t form = 0; form < forms_; ++form) {
      const std::optional<double> seconds = transfer_seconds(chunk, form, true);
      if (seconds && *seconds < settings_.slo / chunks) return decided(form);
    }
    return decided(text());
  }
  const bool mixed = settings_.rule == StreamSettings::Rule::mixed;
  const double objective = settings_.slo * (mixed ? settings_.planned_share : 1);
  const double busy = mixed ? used_ : 0;  // computing that is still going on
  std::size_t fastest = text();
  const double computed = prefill_seconds(chunk);
  double least = computed;
  for (std::size_t form = 0; form < forms_; ++form) {
    const std::optional<double> seconds = transfer_seconds(chunk, form, false);
    if (!seconds) continue;
    if (std::max(elapsed + *seconds, busy) <= objective) return decided(form);
    if (*seconds < least) {
      least = *seconds;
      fastest = form;
    }
  }
  if (std::max(elapsed, busy) + computed <= objective) return decided(text());
  return decided(mixed ? start_of_fastest_mixture(chunk, elapsed) : fastest);
}

void StreamController::observe(std::uint64_t bytes, double seconds) {
  used_ = std::max(elapsed_ + seconds, used_) + use_seconds(chunk_, form_);
  // A text is too short to measure a link by.
  constexpr std::uint64_t enough = 4096;
  if (bytes < enough) return;
  if (seconds > 0) throughput_ = static_cast<double>(bytes) * 8 / seconds;
}

}  // namespace laconic
