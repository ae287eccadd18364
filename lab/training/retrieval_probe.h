// How well a model in training finds needles: exact answers of held-out entities, by depth.
#pragma once

#include <cstdint>
#include <vector>

#include "lab/language_model.h"
#include "lab/training/windows.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic::lab {

class RetrievalProbe {
 public:
  // `samples` needles at each of the depths 0, 1/4, 1/2, 3/4 and 1 in windows of `context` tokens.
  RetrievalProbe(const Tokenizer& tokenizer, std::int64_t context, std::int64_t samples, std::uint64_t seed);
  std::int64_t context() const { return context_; }
  struct Result {
    std::vector<double>
        found;        // share of needles whose every answer token is the most probable one, by depth
    double nats = 0;  // per answer token, over all depths
  };
  Result measure(const std::vector<LanguageModel>& replicas) const;

 private:
  struct Needle {
    Window tokens;
    std::int64_t answer_tokens = 0;
    std::size_t depth = 0;
  };
  std::int64_t context_;
  std::vector<Needle> needles_;
};

}  // namespace laconic::lab
