#include "runtime/artifact/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/json.h"
#include "engine/base/threads.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr std::string_view text_start = "{\"laconic_manifest_xxh3_128\":\"";
constexpr std::size_t hash_digits = 32;
constexpr std::string_view text_end = "}\n";

Json to_json(const HashedPart& part) { return {{"bytes", part.bytes}, {"xxh3_128", part.hash}}; }

HashedPart part_from(const Json& json, std::string_view where) {
  if (!json.is_object() || json.size() != 2 || !json.contains("bytes") ||
      !json["bytes"].is_number_unsigned() || !json.contains("xxh3_128") || !json["xxh3_128"].is_string()) {
    fail(ErrorKind::corrupt, "a part of the manifest is not {bytes, xxh3_128}", where);
  }
  return {json["bytes"].get<std::uint64_t>(), json["xxh3_128"].get<std::string>()};
}

ManifestFile file_from(const Json& json, std::string_view where) {
  ManifestFile file;
  if (!json.is_object()) fail(ErrorKind::corrupt, "an entry of the manifest is not an object", where);
  if (json.contains("header")) {
    if (json.size() != 3 || !json.contains("tensors") || !json["tensors"].is_object() ||
        !json.contains("bytes") || !json["bytes"].is_number_unsigned()) {
      fail(ErrorKind::corrupt, "an entry of the manifest is not {bytes, header, tensors}", where);
    }
    file.is_safetensors = true;
    file.bytes = json["bytes"].get<std::uint64_t>();
    file.header = part_from(json["header"], where);
    for (const auto& [name, part] : json["tensors"].items()) file.tensors[name] = part_from(part, where);
  } else {
    file.whole = part_from(json, where);
    file.bytes = file.whole.bytes;
  }
  return file;
}

[[noreturn]] void differs(const fs::path& path, std::string_view part) {
  fail(ErrorKind::corrupt, std::string(part) + " differs from what was written (checksum)", path.string(),
       "get the file again from where it came");
}

}  // namespace

HashedPart hashed(ByteSpan bytes) { return {bytes.size(), to_hex(xxh3_128(bytes))}; }

ManifestFile Manifest::of_file(const fs::path& path) {
  ManifestFile result;
  if (path.extension() != ".safetensors") {
    const MappedFile file(path);
    result.whole = hashed(file.bytes());
    result.bytes = result.whole.bytes;
    return result;
  }
  const SafetensorsFile file(path);
  const ByteSpan bytes = file.file().bytes();
  result.is_safetensors = true;
  result.bytes = bytes.size();
  result.header = hashed(bytes.first(file.header().data_start));
  for (const SafetensorsEntry& entry : file.header().entries) {
    result.tensors[entry.name] = hashed(file.view(entry).span());
  }
  return result;
}

Manifest Manifest::of_directory(const fs::path& directory) {
  Manifest manifest;
  for (const auto& [name, path] : files_below(directory)) {
    if (name != manifest_name) manifest.files[name] = of_file(path);
  }
  return manifest;
}

std::string Manifest::text() const {
  Json list = Json::object();
  for (const auto& [name, file] : files) {
    if (!file.is_safetensors) {
      list[name] = to_json(file.whole);
      continue;
    }
    Json tensors = Json::object();
    for (const auto& [tensor, part] : file.tensors) tensors[tensor] = to_json(part);
    list[name] = {{"bytes", file.bytes}, {"header", to_json(file.header)}, {"tensors", std::move(tensors)}};
  }
  std::string text(text_start);
  text.append(hash_digits, '0');
  try {
    text += "\",\n\"files\":" + list.dump(1) + ",\n\"left_out\":" + Json(left_out).dump();
  } catch (const Json::exception& error) {
    fail(ErrorKind::input, std::string("a file name is not UTF-8: ") + error.what(), {}, "rename the file");
  }
  text += text_end;
  text.replace(text_start.size(), hash_digits, to_hex(xxh3_128(as_byte_span(text))));
  return text;
}

Manifest Manifest::parse(std::string_view text, std::string_view where) {
  if (text.size() < text_start.size() + hash_digits || !text.starts_with(text_start)) {
    fail(ErrorKind::corrupt, "is not a Laconic manifest, or its start is damaged", where);
  }
  std::string blanked(text);
  blanked.replace(text_start.size(), hash_digits, hash_digits, '0');
  if (to_hex(xxh3_128(as_byte_span(blanked))) != text.substr(text_start.size(), hash_digits)) {
    differs(std::string(where), "the manifest");
  }
  try {
    const Json json = parse_json(text, where, {8, std::size_t{256} << 20});
    if (json.size() != 3 || !json.contains("files") || !json["files"].is_object() ||
        !json.contains("left_out") || !json["left_out"].is_array()) {
      fail(ErrorKind::corrupt, "the manifest has no list of files", where);
    }
    Manifest manifest;
    for (const auto& [name, file] : json["files"].items()) {
      const fs::path path(name);
      if (path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end()) {
        fail(ErrorKind::corrupt, "names a file outside the directory: " + name, where);
      }
      manifest.files[name] = file_from(file, where);
    }
    for (const Json& name : json["left_out"]) {
      if (!name.is_string()) fail(ErrorKind::corrupt, "left_out holds something that is not a name", where);
      manifest.left_out.push_back(name.get<std::string>());
    }
    return manifest;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::corrupt) throw;
    fail(ErrorKind::corrupt, error.what(), where);
  }
}

Manifest Manifest::read(const fs::path& directory) {
  const fs::path path = directory / manifest_name;
  if (!fs::is_regular_file(path)) {
    fail(ErrorKind::corrupt, "the manifest is missing", path.string(),
         "every compressed directory has one; get it again from where the model came");
  }
  return parse(read_text_file(path), path.string());
}

void Manifest::verify_file(const fs::path& directory, const std::string& name) const {
  const auto found = files.find(name);
  const fs::path path = directory / name;
  if (found == files.end()) fail(ErrorKind::corrupt, "is not in the manifest", path.string());
  const ManifestFile& expected = found->second;
  if (!fs::is_regular_file(path)) fail(ErrorKind::corrupt, "is missing", path.string());
  const MappedFile file(path);
  const ByteSpan bytes = file.bytes();
  if (bytes.size() != expected.bytes) {
    fail(ErrorKind::corrupt,
         "has " + std::to_string(bytes.size()) + " bytes instead of " + std::to_string(expected.bytes),
         path.string(), bytes.size() < expected.bytes ? "the file was cut; get it again" : "");
  }
  if (!expected.is_safetensors) {
    if (hashed(bytes) != expected.whole) differs(path, "the content");
    return;
  }
  // The header is compared before it is believed.
  if (expected.header.bytes > bytes.size() || hashed(bytes.first(expected.header.bytes)) != expected.header) {
    differs(path, "the header");
  }
  const SafetensorsHeader header = SafetensorsHeader::parse(bytes, bytes.size(), path.string());
  if (header.entries.size() != expected.tensors.size() || header.data_start != expected.header.bytes) {
    fail(ErrorKind::corrupt, "holds other tensors than the manifest lists", path.string());
  }
  parallel_for(static_cast<std::int64_t>(header.entries.size()), [&](std::int64_t i) {
    const SafetensorsEntry& entry = header.entries[static_cast<std::size_t>(i)];
    const auto part = expected.tensors.find(entry.name);
    const ByteSpan data = bytes.subspan(header.data_start + entry.begin, entry.end - entry.begin);
    if (part == expected.tensors.end() || hashed(data) != part->second) {
      differs(path, "tensor \"" + entry.name + "\"");
    }
    file.release(header.data_start + entry.begin, entry.end - entry.begin);
  });
}

void Manifest::verify(const fs::path& directory, std::string_view ignored,
                      const std::function<bool(std::string_view)>& elsewhere) const {
  for (const auto& [name, path] : files_below(directory)) {
    if (name == manifest_name || files.contains(name)) continue;
    if (!ignored.empty() && name.starts_with(std::string(ignored) + "/")) continue;
    fail(ErrorKind::corrupt, "is not in the manifest", path.string(),
         "the directory was changed after it was written; move the file elsewhere");
  }
  for (const auto& [name, file] : files) {
    if (!elsewhere || !elsewhere(name)) verify_file(directory, name);
  }
}

std::map<std::string, fs::path> files_below(const fs::path& directory, std::vector<std::string>* skipped) {
  std::map<std::string, fs::path> result;
  std::error_code error;
  fs::recursive_directory_iterator walk(directory, error), end;
  if (error) fail(ErrorKind::input, "cannot be listed: " + error.message(), directory.string());
  for (; walk != end; walk.increment(error)) {
    if (error) fail(ErrorKind::input, "cannot be listed: " + error.message(), directory.string());
    const fs::path path = walk->path();
    const std::string name = path.lexically_relative(directory).generic_string();
    if (walk.depth() == 0 && (name == ".git" || name == ".cache")) {
      if (walk->is_directory(error)) walk.disable_recursion_pending();
      continue;
    }
    if (walk->is_regular_file(error)) {
      result[name] = path;
    } else if ((!walk->is_directory(error) || walk->is_symlink(error)) && skipped != nullptr) {
      skipped->push_back(name);
    }
  }
  if (skipped != nullptr) std::sort(skipped->begin(), skipped->end());
  return result;
}

}  // namespace laconic
