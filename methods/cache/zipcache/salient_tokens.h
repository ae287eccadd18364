// Which tokens of a block are salient, by the attention paid to them: ZipCache, steps 1, 2 and 5 of its card.
#pragma once

#include <memory>

#include "runtime/cache/stages.h"

namespace laconic {

struct SaliencyRule {
  // normalised   softmax rows of probes, divided by the probes that see a token (runtime/cache/saliency.h)
  // full         the same over all rows of the prompt
  // accumulated  sums over all rows without the divisor, as H2O has them
  // random       tokens by chance: the baseline
  enum class Score { normalised, accumulated, random, full };
  Score score = Score::normalised;
  double ratio = 0.6;                   // share of tokens that are salient
  double recent = 0.05, random = 0.05;  // probes, as shares of the prompt's rows
  // Whether a probe counts for its own token. Tokens look at themselves, so that among tokens of which few
  // are probes, those that happen to be seem salient.
  bool own = true;
  std::int64_t steps = 5;  // rows before a later block is compressed that judge its tokens
  // The published code: probes drawn with replacement, divided by the rows after a token; counts rounded so
  // that more tokens are salient; every compression decodes what was compressed before and encodes it anew.
  bool official = false;
};

std::shared_ptr<const TokenSplit> salient_tokens(const KvShape& shape, std::int64_t layer,
                                                 const SaliencyRule& rule, std::uint64_t seed);

}  // namespace laconic
