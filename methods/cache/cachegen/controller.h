// CacheGen's streaming controller: in which form each chunk of a context is sent, so that the first token
// comes in time. A pure policy: whoever moves bytes tells it what it measured.
//
// Before chunk i, with throughput b (of the last chunk that was read; before any, a configured one):
//   forms from finest to coarsest: the first with elapsed + bytes_left(i.., form) 8 / b + decode_left <= SLO
//   else text, where elapsed + prefill(i..) <= SLO
//   else the fastest
// Without a throughput the middle form. Rules:
//   published    as above; the fastest is the fastest form, or text, for all that is left
//   mixed        starts with the coarsest form, which measures the link at the least risk; plans for a share
//                of the SLO, because a link may get slower; the fastest is the first step of the fastest
//                mixture of the coarsest form and text, since the next chunk is read while one is computed,
//                or the coarsest form where that mixture is late as well: only a faster link can help then
//   simplified   that of the released code: the finest form of this chunk with bytes 8 / b < SLO / n, else
//                text
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "methods/cache/context_store.h"

namespace laconic {

// Seconds that computing tokens anew takes: each by itself, and with every token before it.
struct PrefillCost {
  double per_token = 0, per_pair = 0;
  double seconds(std::int64_t first, std::int64_t tokens) const;
};

// Measured on this machine with a few hundred tokens, the median of some runs.
PrefillCost measure_prefill(const Transformer& model);

struct StreamSettings {
  double slo = 0;                         // seconds from the request to the first token; > 0
  std::optional<double> bits_per_second;  // before anything was measured; absent: unknown
  enum class Rule { published, mixed, simplified };
  Rule rule = Rule::mixed;
  double planned_share = 0.7;          // of the SLO, rule mixed
  double decode_bytes_per_second = 0;  // of coded bytes, where decoding is not hidden; 0: hidden
  PrefillCost prefill;
};

class StreamController final : public ChunkPolicy {
 public:
  // Sizes of the chunks: [chunk][form], finest first, 0 where a form is missing. Error(usage) on an SLO that
  // is not positive.
  StreamController(const StreamSettings& settings, std::vector<std::vector<std::uint64_t>> bytes,
                   std::vector<std::int64_t> tokens);
  static StreamController of(const StreamSettings& settings, const ContextIndex& index);

  std::size_t choose(std::size_t chunk, double elapsed) override;
  void observe(std::uint64_t bytes, double seconds) override;
  std::optional<double> bits_per_second() const { return throughput_; }

 private:
  std::size_t text() const { return forms_; }
  std::optional<double> transfer_seconds(std::size_t chunk, std::size_t form, bool alone) const;
  double prefill_seconds(std::size_t chunk) const;
  double use_seconds(std::size_t chunk, std::size_t form) const;
  std::size_t smallest_form(std::size_t chunk) const;
  std::size_t start_of_fastest_mixture(std::size_t chunk, double elapsed) const;

  StreamSettings settings_;
  std::size_t forms_ = 0;
  std::vector<std::vector<std::uint64_t>> bytes_;  // [chunk][form]
  std::vector<std::int64_t> tokens_, first_;
  std::optional<double> throughput_;
  // When what was chosen so far will be decoded or computed, as far as is known.
  double used_ = 0, elapsed_ = 0;
  std::size_t chunk_ = 0, form_ = 0;  // of the last choice
};

}  // namespace laconic
