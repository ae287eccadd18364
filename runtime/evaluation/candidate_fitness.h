// Many variants of one model (copies with other linear layers or dropped halves) judged on the same windows,
// as a search needs it: variants whose first blocks are the same objects run these blocks once.
#pragma once

#include <vector>

#include "runtime/evaluation/teacher_cache.h"

namespace laconic {

enum class FitnessMeasure {
  kl,    // mean KL(dense || variant), in the form of the teacher cache (full or sparse)
  nats,  // mean cross entropy of the text: the logarithm of the perplexity
};

// One value per candidate, lower is better: what TeacherCache::kl and ::nats_per_token give for each alone,
// to the last bit. Parallel over windows and, where these are few, over candidates; peak memory per thread is
// one window's hidden states for each block at which candidates part.
std::vector<double> candidate_fitness(const std::vector<Transformer>& candidates, const TeacherCache& teacher,
                                      const TeacherBatch& batch, FitnessMeasure measure = FitnessMeasure::kl);

}  // namespace laconic
