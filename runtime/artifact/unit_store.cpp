#include "runtime/artifact/unit_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/hash.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

constexpr const char* run_key_file = "run-key";
constexpr const char* lock_file = "lock";
constexpr const char* unit_key = "laconic_unit";
constexpr const char* data_hash_key = "laconic_unit_xxh3_128";

// Makes a finished rename survive a loss of power.
void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

void empty_folder(const fs::path& folder, const fs::path& except) {
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (item.path() == except) continue;
    fs::remove_all(item.path(), error);
    if (error) fail(ErrorKind::io, "cannot be removed: " + error.message(), item.path().string());
  }
}

bool holds_other_than(const fs::path& folder, const fs::path& allowed) {
  for (const auto& item : fs::directory_iterator(folder)) {
    if (item.path() != allowed) return true;
  }
  return false;
}

ByteSpan data_of(const SafetensorsFile& file) {
  return file.file().bytes().subspan(file.header().data_start);
}

// Held until the last copy of the result goes, or the process ends in whatever way.
std::shared_ptr<void> locked(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0)
    fail(ErrorKind::io, std::string("cannot be written: ") + std::strerror(errno), path.string());
  std::shared_ptr<void> held(nullptr, [descriptor](void*) { ::close(descriptor); });
  // File systems without locks are used without them.
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    fail(ErrorKind::usage, "another run is writing this output", path.parent_path().parent_path().string(),
         "wait for it to end or choose another output");
  }
  return held;
}

}  // namespace

UnitStore::UnitStore(const fs::path& folder, const std::string& run_key, bool restart) : folder_(folder) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail(ErrorKind::io, "cannot be created: " + error.message(), folder_.string());
  lock_ = locked(folder_ / lock_file);
  const fs::path partial = folder_.parent_path(), key_path = folder_ / run_key_file;
  const bool has_key = fs::exists(key_path);
  const bool same = has_key && read_text_file(key_path) == run_key;
  if (!same) {
    const bool foreign =
        has_key || holds_other_than(partial, folder_) || holds_other_than(folder_, folder_ / lock_file);
    if (foreign && !restart) {
      fail(ErrorKind::usage, "holds the unfinished work of a run with other settings", partial.string(),
           "repeat that run to finish it, choose another output, or pass --force to start anew");
    }
    empty_folder(partial, folder_);
    empty_folder(folder_, folder_ / lock_file);
    write_file(key_path, std::string_view(run_key));
    sync_folder(folder_);
  }
  std::vector<fs::path> paths;
  for (const auto& item : fs::directory_iterator(folder_)) paths.push_back(item.path());
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    if (path.extension() == ".safetensors") {
      adopt(path);
    } else if (path.filename() != run_key_file && path.filename() != lock_file && !fs::is_directory(path)) {
      fs::remove(path, error);  // what a killed process left half-written
    }
  }
}

// A unit that cannot be read whole was never finished: it is removed and made again.
void UnitStore::adopt(const fs::path& path) {
  try {
    auto file = std::make_shared<const SafetensorsFile>(path);
    const auto& metadata = file->header().metadata;
    const auto unit = metadata.find(unit_key), hash = metadata.find(data_hash_key);
    const bool intact = unit != metadata.end() && hash != metadata.end() && path == path_of(unit->second) &&
                        to_hex(xxh3_128(data_of(*file))) == hash->second;
    if (intact) {
      const std::string name = unit->second;
      file->file().release(0, file->file().bytes().size());
      auto opened = std::make_shared<ArtifactFile>(std::move(file));
      for (const auto& [tensor, description] : opened->metadata().tensors) {
        require(tensors_.emplace(tensor, opened).second, "a tensor belongs to one unit");
      }
      units_[name] = std::move(opened);
      return;
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) throw;
  }
  std::error_code error;
  fs::remove(path, error);
  if (error) fail(ErrorKind::io, "cannot be removed: " + error.message(), path.string());
}

fs::path UnitStore::path_of(std::string_view unit) const {
  return folder_ / (to_hex(xxh3_128(as_byte_span(unit))) + ".safetensors");
}

void UnitStore::put(std::string_view unit, const std::vector<std::pair<std::string, Payload>>& payloads) {
  require(!has(unit), "a unit is stored once");
  static constexpr std::byte zeros[field_alignment] = {};
  ArtifactMetadata metadata{"unit", {}, {}};
  std::vector<SafetensorsSlot> slots;
  StreamingHash128 hash;
  const auto for_each_piece = [&](auto&& take) {
    for (const auto& [tensor, payload] : payloads) {
      for (const Field& field : payload.fields) {
        const ByteSpan bytes = field.data.span();
        take(bytes);
        take(ByteSpan(zeros, padded_to_alignment(bytes.size()) - bytes.size()));
      }
    }
  };
  for (const auto& [tensor, payload] : payloads) {
    require(!tensors_.contains(tensor), "a tensor belongs to one unit");
    require(metadata.tensors.emplace(tensor, described(payload)).second, "a tensor has one payload");
    for (const Field& field : payload.fields) {
      const std::uint64_t padded = padded_to_alignment(field.data.bytes());
      slots.push_back({tensor + "." + field.name,
                       field.data.dtype(),
                       {static_cast<std::int64_t>(padded / size_of(field.data.dtype()))}});
    }
  }
  for_each_piece([&](ByteSpan bytes) { hash.update(bytes); });
  const fs::path path = path_of(unit);
  SafetensorsWriter writer(path, slots,
                           {{unit_key, std::string(unit)},
                            {data_hash_key, to_hex(hash.digest())},
                            {std::string(artifact_metadata_key), metadata.text()}});
  for_each_piece([&](ByteSpan bytes) { writer.append(bytes); });
  writer.commit();
  sync_folder(folder_);
  adopt(path);
  if (!has(unit))
    fail(ErrorKind::io, "reads back different from what was written", path.string(), "check the disk");
}

std::vector<std::pair<std::string, Payload>> UnitStore::load(std::string_view unit) const {
  const auto found = units_.find(unit);
  require(found != units_.end(), "only stored units are loaded");
  std::vector<std::pair<std::string, Payload>> result;
  for (const auto& [tensor, description] : found->second->metadata().tensors) {
    result.emplace_back(tensor, found->second->payload(tensor));
  }
  return result;
}

}  // namespace laconic
