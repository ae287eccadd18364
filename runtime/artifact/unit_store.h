// Finished units of work (a decoder layer, say) of a compression that may be interrupted: one small
// .safetensors file each, in the layout of the final artefact, complete on the disk or absent.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/artifact/layout.h"

namespace laconic {

class UnitStore {
 public:
  // Opens or begins the store in `folder`. A store begun with another run key, or a folder whose parent holds
  // files of unknown origin, is refused with Error(usage), or emptied when `restart`. A second process is
  // refused.
  UnitStore(const std::filesystem::path& folder, const std::string& run_key, bool restart);

  bool has(std::string_view unit) const { return units_.find(unit) != units_.end(); }
  void put(std::string_view unit, const std::vector<std::pair<std::string, Payload>>& payloads);
  std::vector<std::pair<std::string, Payload>> load(std::string_view unit) const;

  // All payload descriptions by tensor, and the file that holds a tensor's fields.
  const std::map<std::string, std::shared_ptr<ArtifactFile>>& tensors() const { return tensors_; }

 private:
  void adopt(const std::filesystem::path& path);
  std::filesystem::path path_of(std::string_view unit) const;
  std::filesystem::path folder_;
  std::shared_ptr<void> lock_;
  std::map<std::string, std::shared_ptr<ArtifactFile>, std::less<>> units_;
  std::map<std::string, std::shared_ptr<ArtifactFile>> tensors_;
};

}  // namespace laconic
