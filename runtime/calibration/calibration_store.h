// Calibration statistics of the dense model on disk, so that a second method (or a resumed run) does not run
// the model again. One safetensors file per block under <root>/<key>, each written whole or not at all;
// moments are stored as upper triangles in f32, row by row. The key is XXH3-128 over model fingerprint,
// config.json and windows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/hash.h"
#include "engine/base/progress.h"
#include "runtime/calibration/calibration.h"

namespace laconic {

enum class CalibrationKeep {
  none,        // nothing is stored; every method runs the model
  statistics,  // moments and channel norms
  hidden,      // and the hidden states before every block
};

// `model_directory` gives fingerprint and configuration.
std::string calibration_key(const std::filesystem::path& model_directory,
                            const std::vector<std::vector<std::int32_t>>& windows);

class CalibrationStore {
 public:
  // Refuses a root that cannot be written, or a disk without room for what is still missing.
  CalibrationStore(const std::filesystem::path& root, const std::string& key, CalibrationKeep keep,
                   const ModelConfig& config, const std::vector<std::vector<std::int32_t>>& windows);
  // Exact size of all files of one key: to be told to the user before anything is stored.
  static std::uint64_t disk_need(const ModelConfig& config,
                                 const std::vector<std::vector<std::int32_t>>& windows, CalibrationKeep keep);

  const std::filesystem::path& directory() const { return directory_; }
  CalibrationKeep keep() const { return keep_; }
  std::uint64_t bytes_stored() const;

  bool has_statistics(std::int64_t layer) const;
  void put_statistics(std::int64_t layer, const BlockStatistics& statistics);
  // Throws Error(corrupt) when the file is damaged.
  BlockStatistics statistics(std::int64_t layer) const;

  // Hidden states before block `layer`.
  bool has_hidden(std::int64_t layer) const;
  void put_hidden(std::int64_t layer, const HiddenStates& hidden);
  void load_hidden(std::int64_t layer, HiddenStates& hidden) const;

 private:
  std::filesystem::path statistics_path(std::int64_t layer) const;
  std::filesystem::path hidden_path(std::int64_t layer) const;
  std::filesystem::path directory_;
  CalibrationKeep keep_;
  ModelConfig config_;
  std::vector<std::size_t> window_sizes_;
};

// Statistics of every block of the dense model in order, taken from the store where it has them, else
// measured and put there. They are rounded as the store rounds them, with or without a store, so a result
// never depends on which it was. The visitor may take them apart, to free what it is done with. `store` may
// be null. Blocks before `first_needed` are not visited (a resumed run).
void for_each_dense_block(const Transformer& dense, const std::vector<std::vector<std::int32_t>>& windows,
                          CalibrationStore* store,
                          const std::function<void(std::int64_t layer, BlockStatistics& statistics)>& visit,
                          const ProgressListener& progress = {}, std::int64_t first_needed = 0);

}  // namespace laconic
