// The making of a base (methods/cache/trained_base.h), once for all methods that learn one: the model and the
// windows of text it is calibrated and trained on, and the parts that an interrupted run finds again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "methods/cache/cache_method.h"
#include "runtime/transformer.h"

namespace laconic {

// calibration-sequences, calibration-window.
std::vector<ParameterSpec> base_run_parameters();

class BaseRun {
 public:
  // Loads the model and draws the windows. Unfinished work of a run with other settings, beside the file that
  // is to be made, is refused (Error(usage)), or removed where the request replaces.
  BaseRun(const CacheBaseRequest& request, std::string_view slug, int version);

  const Transformer& model() const { return model_; }
  KvShape shape() const { return model_.kv_shape(); }
  const std::vector<std::vector<std::int32_t>>& windows() const { return windows_; }
  std::int64_t tokens() const;
  const std::string& fingerprint() const { return fingerprint_; }
  const std::string& made() const { return made_; }  // "cskv(rank=0.25)"
  const std::filesystem::path& file() const { return file_; }
  // Unfinished work.
  std::filesystem::path folder() const;

  // Arrays of numbers that a part of the work ended in.
  using Arrays = std::vector<std::vector<float>>;
  std::optional<Arrays> finished(std::string_view part) const;
  void finish(std::string_view part, const Arrays& arrays) const;
  // The base is written: nothing is unfinished.
  void done() const;

 private:
  Transformer model_;
  std::vector<std::vector<std::int32_t>> windows_;
  std::string fingerprint_, made_;
  std::filesystem::path file_, folder_;
};

// f32 [out, in] of a linear layer; Error(input) naming it where it is not finite.
std::vector<float> finite_weight(const Transformer& model, std::int64_t layer, LinearSlot slot);

}  // namespace laconic
