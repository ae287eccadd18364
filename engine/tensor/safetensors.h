// Safetensors files. The reader trusts nothing: it refuses duplicate keys, overlaps, gaps, lying lengths and
// offsets, absurd shapes and JSON depth. Layout: u64 header length, JSON header, tensor bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/files.h"
#include "engine/tensor/tensor.h"

namespace laconic {

struct SafetensorsEntry {
  std::string name;
  DType dtype;
  Shape shape;
  std::uint64_t begin = 0, end = 0;  // offsets into the data part
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // by offset
  std::map<std::string, std::string> metadata;
  std::uint64_t data_start = 0;  // file offset of the data part
  // Parses and checks the start of a file of `file_bytes` bytes. Throws Error(input).
  static SafetensorsHeader parse(ByteSpan file_start, std::uint64_t file_bytes, std::string_view where);
};

// A memory-mapped file. Views live as long as the object.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const SafetensorsHeader& header() const { return header_; }
  const MappedFile& file() const { return file_; }
  const SafetensorsEntry* find(std::string_view name) const;
  TensorView tensor(std::string_view name) const;  // Throws Error(input) when missing.
  TensorView view(const SafetensorsEntry& entry) const;

 private:
  MappedFile file_;
  SafetensorsHeader header_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// All tensors of a model directory: `model.safetensors`, or the shards that `model.safetensors.index.json`
// names, or every *.safetensors of a directory without either.
class SafetensorsDirectory {
 public:
  explicit SafetensorsDirectory(const std::filesystem::path& directory);
  const std::vector<std::shared_ptr<SafetensorsFile>>& files() const { return files_; }
  bool contains(std::string_view name) const { return index_.find(name) != index_.end(); }
  TensorView tensor(std::string_view name) const;
  const SafetensorsFile& file_of(std::string_view name) const;
  std::vector<std::string> names() const;  // sorted
  std::uint64_t file_bytes() const;        // sum of the sizes of the files

 private:
  std::filesystem::path directory_;
  std::vector<std::shared_ptr<SafetensorsFile>> files_;
  std::map<std::string, std::size_t, std::less<>> index_;  // name -> file
};

// Place of one tensor in a file to be written.
struct SafetensorsSlot {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::uint64_t bytes() const;
};

// Everything that stands before the data part: the length word and the JSON text, filled with spaces so that
// the data part starts at a multiple of 64. Names are unique and none is "__metadata__".
std::string safetensors_header(const std::vector<SafetensorsSlot>& slots,
                               const std::map<std::string, std::string>& metadata);

// Writes a file whose slots are known but whose bytes come one after the other: one tensor in memory at a
// time. The file appears under its name at commit().
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<SafetensorsSlot>& slots,
                    const std::map<std::string, std::string>& metadata = {});
  // The next bytes of the data part, in pieces of any size.
  void append(ByteSpan bytes);
  // Requires that all bytes of all slots came. Returns the size of the file.
  std::uint64_t commit();
  const std::string& header() const { return header_; }

 private:
  std::string header_;
  std::uint64_t promised_ = 0;  // bytes of the whole file
  AtomicFile file_;
};

struct SafetensorsItem {
  std::string name;
  TensorView view;
};

// Exact size of the file that write_safetensors makes.
std::uint64_t safetensors_size(const std::vector<SafetensorsItem>& items,
                               const std::map<std::string, std::string>& metadata);
// Writes the items in the given order. Returns the bytes written.
std::uint64_t write_safetensors(const std::filesystem::path& path, const std::vector<SafetensorsItem>& items,
                                const std::map<std::string, std::string>& metadata = {});

}  // namespace laconic
