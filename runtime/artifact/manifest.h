// laconic.manifest.json: size and XXH3-128 of every part of every file of a directory, itself included, so
// that any flipped bit, cut file, missing file, extra file or exchange of two files is found. It detects
// damage, not forgery.
//
// The text begins with {"laconic_manifest_xxh3_128":" followed by 32 lower-case hex digits: the hash of the
// whole text with these digits replaced by zeros.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/hash.h"
#include "engine/tensor/safetensors.h"

namespace laconic {

inline constexpr std::string_view manifest_name = "laconic.manifest.json";

struct HashedPart {
  std::uint64_t bytes = 0;
  std::string hash;  // 32 hex digits
  bool operator==(const HashedPart&) const = default;
};
HashedPart hashed(ByteSpan bytes);

// One file: a side file is one part, a .safetensors file is its header (length word included) and its
// tensors.
struct ManifestFile {
  std::uint64_t bytes = 0;
  HashedPart whole;                           // side files
  HashedPart header;                          // .safetensors files
  std::map<std::string, HashedPart> tensors;  // .safetensors files, by entry name
  bool is_safetensors = false;
};

class Manifest {
 public:
  std::map<std::string, ManifestFile> files;  // by path relative to the directory, "/" between folders
  std::vector<std::string> left_out;          // files of the source model that were not copied

  // Hashes what lies on the disk now: for directories that were not written by ArtifactWriter.
  static Manifest of_directory(const std::filesystem::path& directory);
  static ManifestFile of_file(const std::filesystem::path& path);

  std::string text() const;
  // Throws Error(corrupt) on any change of the text, even of white space.
  static Manifest parse(std::string_view text, std::string_view where);
  static Manifest read(const std::filesystem::path& directory);

  // Throws Error(corrupt) naming the file and the part that differs.
  void verify_file(const std::filesystem::path& directory, const std::string& name) const;
  // Every file, and that there are no others. Paths below `ignored` (a folder of the directory) do not count;
  // files for which `elsewhere` holds may be there or not, and are verified by whoever reads them.
  void verify(const std::filesystem::path& directory, std::string_view ignored = {},
              const std::function<bool(std::string_view name)>& elsewhere = {}) const;
};

// Regular files below a directory by relative path, links followed for files but not for folders; `skipped`,
// when given, gets what is neither a file nor a folder. .git and .cache at the top are passed over.
std::map<std::string, std::filesystem::path> files_below(const std::filesystem::path& directory,
                                                         std::vector<std::string>* skipped = nullptr);

}  // namespace laconic
