// The calibration of one compression: windows of the user's text, and the store that keeps the dense model's
// statistics for the next method.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "methods/method.h"
#include "runtime/calibration/calibration_store.h"

namespace laconic {

struct CalibrationSource {
  std::vector<std::vector<std::int32_t>> windows;
  std::string key;                        // of model and windows
  std::optional<CalibrationStore> store;  // none with CalibrationKeep::none
};

// Error(usage) when the request has no calibration text. Says through request.message how much disk the store
// needs and where it lies, before anything is stored.
CalibrationSource open_calibration(const CompressionRequest& request, const ModelConfig& config,
                                   std::string_view slug, const CalibrationOptions& options);

// $LACONIC_CACHE/calibration, else $XDG_CACHE_HOME/laconic/calibration, else ~/.cache/laconic/calibration,
// else beside the output.
std::filesystem::path calibration_folder(const std::filesystem::path& output);

// The parameters that calibrated methods share: calibration-sequences, calibration-window.
std::vector<ParameterSpec> calibration_parameters();
CalibrationOptions calibration_options(const CompressionRequest& request);

}  // namespace laconic
