#include "methods/weights/calibration_source.h"

#include <fmt/format.h>

#include <cstdlib>

#include "engine/base/error.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

fs::path calibration_folder(const fs::path& output) {
  if (const std::string own = environment("LACONIC_CACHE"); !own.empty())
    return fs::path(own) / "calibration";
  if (const std::string cache = environment("XDG_CACHE_HOME"); !cache.empty()) {
    return fs::path(cache) / "laconic" / "calibration";
  }
  if (const std::string home = environment("HOME"); !home.empty()) {
    return fs::path(home) / ".cache" / "laconic" / "calibration";
  }
  return fs::absolute(output).parent_path() / ".laconic-calibration";
}

CalibrationSource open_calibration(const CompressionRequest& request, const ModelConfig& config,
                                   std::string_view slug, const CalibrationOptions& options) {
  if (request.calibration_text.empty()) {
    fail(ErrorKind::usage, std::string(slug) + " needs a calibration text", "--calibration",
         "pass a text file like the one the model will see");
  }
  CalibrationSource source;
  const auto tokenizer = Tokenizer::load(request.model);
  source.windows = draw_calibration_windows(*tokenizer, config, request.calibration_text, options);
  source.key = calibration_key(request.model, source.windows);
  if (request.calibration_keep == CalibrationKeep::none) return source;
  const fs::path root =
      request.calibration_store.empty() ? calibration_folder(request.output) : request.calibration_store;
  if (request.message) {
    const std::uint64_t need = CalibrationStore::disk_need(config, source.windows, request.calibration_keep);
    request.message(fmt::format(
        "calibration is kept in {} for later runs: {:.1f} MB (--calibration-keep none stores nothing)",
        (root / source.key).string(), static_cast<double>(need) / 1e6));
  }
  source.store.emplace(root, source.key, request.calibration_keep, config, source.windows);
  return source;
}

std::vector<ParameterSpec> calibration_parameters() {
  return {{"calibration-sequences",
           ParameterSpec::Type::integer,
           "128",
           1,
           1 << 20,
           {},
           "windows drawn from the calibration text"},
          {"calibration-window",
           ParameterSpec::Type::integer,
           "0",
           0,
           1 << 20,
           {},
           "tokens of a window; 0: the model's context, at most 512"}};
}

CalibrationOptions calibration_options(const CompressionRequest& request) {
  CalibrationOptions options;
  options.sequences = request.parameters.integer("calibration-sequences");
  options.window_tokens = request.parameters.integer("calibration-window");
  options.seed = request.seed;
  return options;
}

}  // namespace laconic
