// A database of compressed variants: every linear layer ("unit") at every level of a method, all from the
// same statistics, each encoded once. It lies on disk, one file per unit, complete or absent, so that an
// interrupted run continues at the unit; a payload is read when it is asked for. Allocators and searches
// choose one level per unit from it (cards 23, 49, 60).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "engine/codec/payload.h"
#include "engine/tensor/safetensors.h"
#include "methods/weights/leveled_method.h"
#include "runtime/artifact/layout.h"
#include "runtime/calibration/calibration_store.h"

namespace laconic {

// One unit at one level.
struct Variant {
  DescribedTensor description;    // of the payload: fields, lengths and the text that the header will carry
  std::uint64_t frame_bytes = 0;  // of the compact frame: what "bits per weight" counts
  double loss = 0;                // tr(dW H dW^T), H = mean of x x^T; without calibration H = I
  double squared_error = 0;       // sum of dW^2
  std::uint64_t stored_bytes() const { return description.stored_bytes(); }  // of the padded fields
};

struct UnitVariants {
  std::string name;        // of the weight tensor
  std::int64_t order = 0;  // place in the model
  std::int64_t rows = 0, columns = 0;
  double reference = 0;     // tr(W H W^T)
  double squared_norm = 0;  // sum of W^2
  std::vector<Variant> levels;
  // loss / reference; 0 for a layer that is zero on its input.
  double relative_loss(std::size_t level) const;
};

class VariantDatabase {
 public:
  // Opens or begins a database. `key` names everything the payloads depend on; files of another key, of
  // another list of levels, or damaged ones are removed.
  VariantDatabase(std::filesystem::path folder, std::string key, std::vector<std::string> levels);

  const std::vector<std::string>& levels() const { return levels_; }
  std::size_t level_named(std::string_view name) const;  // Error(usage) when there is none
  bool has(std::string_view unit) const { return units_.find(unit) != units_.end(); }
  const UnitVariants& unit(std::string_view name) const;
  // Names in the order of the model.
  std::vector<std::string> units() const;
  // Stores one unit durably, one payload per level. Descriptions and sizes of `unit.levels` are filled in.
  void put(UnitVariants unit, const std::vector<Payload>& payloads);
  // Throws Error(corrupt) on a file that was damaged since it was opened.
  Payload payload(std::string_view unit, std::size_t level) const;
  std::uint64_t disk_bytes() const;

 private:
  struct Stored {
    UnitVariants unit;
    std::shared_ptr<const SafetensorsFile> file;
  };
  void adopt(const std::filesystem::path& path);
  std::filesystem::path path_of(std::string_view unit) const;

  std::filesystem::path folder_;
  std::string key_;
  std::vector<std::string> levels_;
  std::map<std::string, Stored, std::less<>> units_;
};

// What the statistics come from. `store` may be null; statistics of sequential propagation depend on the
// method and are never stored.
struct VariantCalibration {
  std::vector<std::vector<std::int32_t>> windows;
  CalibrationStore* store = nullptr;
};

// Encodes every linear layer of the model that the database does not hold yet, at all levels. `model` is the
// dense model, `source` its tensors. Memory: one layer as f32 and its encodings, one block's statistics.
void build_variants(const Transformer& model, const SafetensorsDirectory& source, const LeveledMethod& method,
                    const VariantCalibration& calibration, std::uint64_t seed, VariantDatabase& database,
                    const ProgressListener& progress = {});

}  // namespace laconic
