// Profiles of a model: where they are kept, and how one is learnt from text.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

#include "engine/base/progress.h"
#include "engine/codec/codec.h"
#include "methods/cache/cachegen/coded_rows.h"
#include "methods/cache/cachegen/profile.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {

// The settings of `cachegen(...)`. Error(usage) where they contradict each other.
CodedRowForm cachegen_form(const Parameters& parameters);

// kv/cachegen-delta-2.profile in the model's directory.
std::filesystem::path cachegen_profile_path(const std::filesystem::path& model, const CodedRowForm& form);
// Reads it; Error(input) with what to do where it is missing or was learnt with other settings.
std::shared_ptr<const CodingProfile> cachegen_profile(const std::filesystem::path& model,
                                                      const CodedRowForm& form);
// Distributions over texts of `window` tokens each. `fingerprint` is the model's.
CodingProfile learn_profile(const Transformer& model, const Hash128& fingerprint, const CodedRowForm& form,
                            std::span<const std::vector<std::int32_t>> windows,
                            const ProgressListener& progress = {});

}  // namespace laconic
