#include "engine/tensor/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/base/json.h"

namespace laconic {
namespace fs = std::filesystem;
using Json = nlohmann::json;
namespace {

constexpr std::uint64_t header_limit = std::uint64_t{100} << 20;

SafetensorsEntry parse_entry(const std::string& name, const Json& value, std::string_view where) {
  const auto refuse = [&](std::string_view what) -> void {
    fail(ErrorKind::input, std::string(what) + " for tensor \"" + name + "\"", where);
  };
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets")) {
    refuse("header entry is not {dtype, shape, data_offsets}");
  }
  SafetensorsEntry entry;
  entry.name = name;
  if (!value["dtype"].is_string()) refuse("dtype is not a string");
  const std::string dtype = value["dtype"].get<std::string>();
  if (const auto known = dtype_named(dtype)) {
    entry.dtype = *known;
  } else {
    fail(ErrorKind::unsupported, "dtype " + dtype + " of tensor \"" + name + "\" is not supported", where);
  }
  const Json& shape = value["shape"];
  if (!shape.is_array() || shape.size() > 16) refuse("shape is not a list of at most 16 sides");
  for (const Json& side : shape) {
    if (!side.is_number_unsigned() || side.get<std::uint64_t>() > (std::uint64_t{1} << 48)) {
      refuse("shape has a side that is not a sensible count");
    }
    entry.shape.push_back(side.get<std::int64_t>());
  }
  const Json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    refuse("data_offsets is not a pair of counts");
  }
  entry.begin = offsets[0].get<std::uint64_t>();
  entry.end = offsets[1].get<std::uint64_t>();
  const std::uint64_t bytes = static_cast<std::uint64_t>(element_count(entry.shape)) * size_of(entry.dtype);
  if (entry.begin > entry.end || entry.end - entry.begin != bytes) {
    refuse("data_offsets do not fit shape and dtype");
  }
  return entry;
}

}  // namespace

SafetensorsHeader SafetensorsHeader::parse(ByteSpan file_start, std::uint64_t file_bytes,
                                           std::string_view where) {
  if (file_start.size() < 8 || file_bytes < 8) {
    fail(ErrorKind::input, "is too short to be a safetensors file", where);
  }
  ByteReader reader(file_start, std::string(where));
  const std::uint64_t length = reader.u64();
  if (length > header_limit || length > file_bytes - 8 || length > reader.remaining()) {
    fail(ErrorKind::input,
         "claims a header of " + std::to_string(length) + " bytes in a file of " + std::to_string(file_bytes),
         where, "the file is truncated or not a safetensors file");
  }
  const Json json = parse_json(as_text(reader.take(length)), where, {8, header_limit});
  if (!json.is_object()) fail(ErrorKind::input, "header is not a JSON object", where);

  SafetensorsHeader header;
  header.data_start = 8 + length;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) fail(ErrorKind::input, "__metadata__ is not an object", where);
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) fail(ErrorKind::input, "metadata value of \"" + key + "\" is not text", where);
        header.metadata[key] = text.get<std::string>();
      }
    } else {
      header.entries.push_back(parse_entry(name, value, where));
    }
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t position = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.begin != position) {
      fail(ErrorKind::input,
           std::string(entry.begin < position ? "overlapping bytes" : "a gap") + " before tensor \"" +
               entry.name + "\"",
           where);
    }
    position = entry.end;
  }
  if (position != file_bytes - header.data_start) {
    fail(ErrorKind::input,
         "tensors need " + std::to_string(position) + " bytes, the file holds " +
             std::to_string(file_bytes - header.data_start),
         where, position > file_bytes - header.data_start ? "the file is truncated" : "");
  }
  return header;
}

SafetensorsFile::SafetensorsFile(const fs::path& path)
    : file_(path), header_(SafetensorsHeader::parse(file_.bytes(), file_.bytes().size(), path.string())) {
  for (std::size_t i = 0; i < header_.entries.size(); ++i) index_[header_.entries[i].name] = i;
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.entries[found->second];
}

TensorView SafetensorsFile::view(const SafetensorsEntry& entry) const {
  return {entry.dtype, entry.shape, file_.bytes().data() + header_.data_start + entry.begin};
}

TensorView SafetensorsFile::tensor(std::string_view name) const {
  const SafetensorsEntry* entry = find(name);
  if (entry == nullptr) {
    fail(ErrorKind::input, "has no tensor \"" + std::string(name) + "\"", file_.path().string());
  }
  return view(*entry);
}

SafetensorsDirectory::SafetensorsDirectory(const fs::path& directory) : directory_(directory) {
  if (!fs::is_directory(directory)) fail(ErrorKind::input, "is not a directory", directory.string());
  std::set<std::string> names;
  std::map<std::string, std::string> weight_map;
  const fs::path index_path = directory / "model.safetensors.index.json";
  if (fs::exists(index_path)) {
    const Json index = parse_json(read_text_file(index_path), index_path.string());
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
      fail(ErrorKind::input, "has no weight_map", index_path.string());
    }
    for (const auto& [tensor, file] : index["weight_map"].items()) {
      if (!file.is_string()) fail(ErrorKind::input, "names no file for " + tensor, index_path.string());
      const std::string name = file.get<std::string>();
      if (name.empty() || fs::path(name).filename() != name || name == "." || name == "..") {
        fail(ErrorKind::input, "names a file outside the directory: " + name, index_path.string());
      }
      names.insert(name);
      weight_map[tensor] = name;
    }
  } else if (fs::exists(directory / "model.safetensors")) {
    names.insert("model.safetensors");
  } else {
    for (const auto& item : fs::directory_iterator(directory)) {
      if (item.path().extension() == ".safetensors") names.insert(item.path().filename().string());
    }
  }
  if (names.empty()) {
    fail(ErrorKind::input, "holds no .safetensors file", directory.string(),
         "a Hugging Face model directory has model.safetensors or model.safetensors.index.json");
  }
  for (const std::string& name : names) {
    if (!fs::exists(directory / name)) {
      fail(ErrorKind::input, "shard " + name + " is missing", directory.string());
    }
    files_.push_back(std::make_shared<SafetensorsFile>(directory / name));
    for (const SafetensorsEntry& entry : files_.back()->header().entries) {
      if (!index_.emplace(entry.name, files_.size() - 1).second) {
        fail(ErrorKind::input, "tensor \"" + entry.name + "\" stands in two files", directory.string());
      }
    }
  }
  for (const auto& [tensor, name] : weight_map) {
    const auto found = index_.find(tensor);
    if (found == index_.end() || files_[found->second]->file().path().filename() != name) {
      fail(ErrorKind::input, "index says \"" + tensor + "\" lies in " + name + ", but it does not",
           directory.string());
    }
  }
}

const SafetensorsFile& SafetensorsDirectory::file_of(std::string_view name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    fail(ErrorKind::input, "has no tensor \"" + std::string(name) + "\"", directory_.string());
  }
  return *files_[found->second];
}

TensorView SafetensorsDirectory::tensor(std::string_view name) const { return file_of(name).tensor(name); }

std::vector<std::string> SafetensorsDirectory::names() const {
  std::vector<std::string> result;
  for (const auto& [name, file] : index_) result.push_back(name);
  return result;
}

std::uint64_t SafetensorsDirectory::file_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& file : files_) sum += file->file().bytes().size();
  return sum;
}

}  // namespace laconic
