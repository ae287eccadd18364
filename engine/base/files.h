// Files: memory-mapped reading, whole-file reading with a limit, and writing that is complete or absent.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

// A read-only view of a file. Movable; the view lives as long as the object.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  ByteSpan bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  // Tells the system that the pages of a part are not needed soon: they leave the resident set.
  void release(std::size_t offset, std::size_t size) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Throws Error(input) when missing or larger than `limit`.
Bytes read_file(const std::filesystem::path& path, std::size_t limit = std::size_t{1} << 32);
std::string read_text_file(const std::filesystem::path& path, std::size_t limit = std::size_t{1} << 30);

// Writes a file through a temporary name beside it, flushed to disk, then renamed: readers see the old file
// or the whole new one. Throws Error(io), naming the path and the system's reason (disk full, no permission).
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();  // an uncommitted file is removed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(ByteSpan bytes);
  void write(std::string_view text) { write(as_byte_span(text)); }
  std::uint64_t written() const { return written_; }
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  std::uint64_t written_ = 0;
};

void write_file(const std::filesystem::path& path, ByteSpan bytes);
void write_file(const std::filesystem::path& path, std::string_view text);

// A directory that appears under its name only when complete. Work goes on in `<path>.partial`, which stays
// when the work is interrupted so that a later run can resume from it.
class StagedDirectory {
 public:
  // Refuses an existing target unless `replace`. Keeps what an earlier run left in the partial directory.
  StagedDirectory(std::filesystem::path target, bool replace);
  const std::filesystem::path& partial() const { return partial_; }
  const std::filesystem::path& target() const { return target_; }
  void commit();   // renames partial to target
  void discard();  // removes the partial directory

 private:
  std::filesystem::path target_, partial_;
  bool replace_;
};

}  // namespace laconic
