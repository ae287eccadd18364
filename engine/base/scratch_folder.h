// A new folder in the system's temporary one (TMPDIR), readable by its owner alone, that goes away with the
// object and everything in it. Error(io) where none can be made.
#pragma once

#include <filesystem>
#include <string_view>

namespace laconic {

class ScratchFolder {
 public:
  // `purpose`: a word in its name, for whoever finds one that a killed program left.
  explicit ScratchFolder(std::string_view purpose);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace laconic
