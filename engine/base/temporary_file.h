// A file that is written under a temporary name beside its own, and gets its name when it is whole: readers
// see the old file or all of the new one.
#pragma once

#include <filesystem>
#include <optional>

#include "engine/base/bytes.h"

namespace laconic {

// Who may use a file.
struct FileAccess {
  unsigned mode = 0600;                // permission bits, of 0777
  std::optional<unsigned> group = {};  // its number; nothing: the one that the system gives
};
// Nothing where there is no such regular file.
std::optional<FileAccess> access_of(const std::filesystem::path& path);
// What both allow.
FileAccess shared_access(const FileAccess& a, const FileAccess& b);
// Gives an open file the access. Where it cannot have the group, its own group may do what everybody may.
void give_access(int descriptor, const FileAccess& access);

struct TemporaryFileOptions {
  std::optional<FileAccess> access = {};  // from the beginning nobody has more; nothing: as the umask says
  bool replace = true;                    // false: a file that has the name when this one is whole stays
};

// The temporary name of a file tells the process. create_temporary() makes it new, open for reading and
// writing, and locked; what a killed process of that number left is removed, and links are not followed.
// Error(io), also where the name is in use.
std::filesystem::path temporary_name(const std::filesystem::path& path);
int create_temporary(const std::filesystem::path& path, unsigned mode);

// Unlike AtomicFile it has an access and may leave what is there.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::filesystem::path path, const TemporaryFileOptions& options = {});
  ~TemporaryFile();  // what did not get its name is removed
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  int descriptor() const { return descriptor_; }
  void write(ByteSpan bytes);  // at its end; Error(io)
  // Flushed to the disk and under its name. Error(io), and Error(usage) where a file has the name and stays;
  // it may be tried again.
  void put_in_place();

 private:
  std::filesystem::path path_, temporary_;
  TemporaryFileOptions options_;
  int descriptor_ = -1;
  bool in_place_ = false;
};

// A new name in a folder is on the disk when the folder is. Some file systems refuse; there it is their
// affair.
void flush_folder_of(const std::filesystem::path& path);

}  // namespace laconic
