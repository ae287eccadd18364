#include "engine/base/scratch_folder.h"

#include <stdlib.h>

#include <string>
#include <system_error>

#include "engine/base/error.h"

namespace laconic {

ScratchFolder::ScratchFolder(std::string_view purpose) {
  std::string pattern =
      (std::filesystem::temp_directory_path() / ("laconic-" + std::string(purpose) + "-XXXXXX")).string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    fail(ErrorKind::io, "no temporary folder can be made", pattern,
         "set TMPDIR to a folder with room that you may write to");
  }
  path_ = pattern;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace laconic
