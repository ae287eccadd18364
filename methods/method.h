// A published system: who wrote it, what it compresses, its parameters, and what it can do. The registry is
// the only list of methods; help texts, `laconic list`, docs/methods.md and the Python module are made from
// it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "engine/codec/codec.h"
#include "methods/reproduce.h"
#include "runtime/calibration/calibration_store.h"

namespace laconic {

// At most one member is set; none: the method's own default.
struct SizeTarget {
  std::optional<double> bits;         // total bits per compressed weight, all side information included
  std::optional<double> ratio;        // against the 16-bit size
  std::optional<std::uint64_t> size;  // sum of all .safetensors files, headers included: never over, >= 98 %
};

struct CompressionRequest {
  std::filesystem::path model, output;
  SizeTarget target;
  Parameters parameters;
  std::string calibration_text;  // empty: the method says whether it needs one
  std::uint64_t seed = 0;
  bool replace = false;                                      // --force
  bool dry_run = false;                                      // plan and predict, write nothing
  CalibrationKeep calibration_keep = CalibrationKeep::none;  // what later runs may reuse
  std::filesystem::path calibration_store;                   // where; empty: calibration_folder()
  ProgressListener progress;
  std::function<void(std::string_view)> message;  // one line that the user should see while work goes on
};

struct CompressionResult {
  std::uint64_t safetensors_bytes = 0;  // written, read back and decoded (dry run: predicted)
  double linear_bits_per_weight = 0;    // 8 * payload bytes / elements of the compressed tensors
  std::vector<std::pair<std::string, std::string>> notes;  // what a user should know, e.g. the mix of levels
};

struct CacheMethod;  // methods/cache/cache_method.h
// methods/gradients/gradient_method.h
struct ExchangeRequest;
struct TrainingExchange;
struct LocalRequest;
struct LocalRounds;
struct FederatedRequest;
class FederatedAlgorithm;

// A method's CacheMethod, if it has one. Behind a pointer, so that only those who look into it need to know
// the caches.
class CacheEntry {
 public:
  template <class Method>
  CacheEntry& operator=(Method method) {
    method_ = std::make_shared<const Method>(std::move(method));
    return *this;
  }
  explicit operator bool() const { return method_ != nullptr; }
  const CacheMethod& operator*() const { return *method_; }
  const CacheMethod* operator->() const { return method_.get(); }

 private:
  std::shared_ptr<const CacheMethod> method_;
};

struct MethodDescription {
  std::string slug;     // "decoupleq"
  int card = 0;         // 0: a baseline without a card
  std::string title;    // of the paper
  std::string paper;    // authors, venue, arXiv number
  std::string subject;  // "weights"
  std::string summary;  // one line
  int version =
      1;  // raised whenever the same request gives other numbers; kept arms of reproductions go stale
  bool needs_calibration = false;
  std::vector<ParameterSpec> parameters;
  std::function<CompressionResult(const CompressionRequest&)> compress;  // weight methods
  // Methods that take part in data-parallel training (`laconic train --exchange SLUG`).
  std::function<TrainingExchange(const ExchangeRequest&)> exchange;
  // Methods whose workers take local steps between reductions (the same option).
  std::function<LocalRounds(const LocalRequest&)> local;
  // Methods that train over clients in rounds.
  std::function<std::unique_ptr<FederatedAlgorithm>(const FederatedRequest&)> federated;
  CacheEntry cache;  // stages of KV caches (`laconic generate --cache SLUG`)
  std::function<Reproduction(const ReproduceRequest&)> reproduce;  // null: nothing to reproduce (baselines)
};

const std::vector<MethodDescription>& method_registry();  // by subject, then slug
// What decides a method's result besides model, text, seed and size: its version and its parameters. Part of
// the key of unfinished work, so that a newer version does not go on with an older one's. Version 0: a
// composition.
std::string settings_text(std::string_view slug, const Parameters& parameters);
const MethodDescription& method_named(std::string_view slug);  // Error(usage) with the nearest slug

}  // namespace laconic
