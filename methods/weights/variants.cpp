#include "methods/weights/variants.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/json.h"
#include "engine/codec/attributes.h"
#include "engine/codec/uniform_payload.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

constexpr const char* key_entry = "laconic_variants_key";
constexpr const char* record_entry = "laconic_variants_unit";
constexpr const char* sum_entry = "laconic_variants_xxh3_128";

std::string frame_name(std::size_t level) { return "level." + std::to_string(level); }

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

std::string sum_of(const std::vector<SafetensorsItem>& items, const std::string& record) {
  StreamingHash128 hash;
  hash.update(record);
  for (const SafetensorsItem& item : items) hash.update(item.view.span());
  return to_hex(hash.digest());
}

std::string record_text(const UnitVariants& unit) {
  Attributes record;
  std::vector<double> losses, errors;
  for (const Variant& level : unit.levels) {
    losses.push_back(level.loss);
    errors.push_back(level.squared_error);
  }
  record.set("unit", unit.name);
  record.set("order", unit.order);
  record.set("reference", unit.reference);
  record.set("squared_norm", unit.squared_norm);
  record.set("losses", losses);
  record.set("squared_errors", errors);
  return record.to_json().dump();
}

}  // namespace

double UnitVariants::relative_loss(std::size_t level) const {
  return reference > 0 ? levels.at(level).loss / reference : 0;
}

VariantDatabase::VariantDatabase(fs::path folder, std::string key, std::vector<std::string> levels)
    : folder_(std::move(folder)), key_(std::move(key) + " " + joined(levels)), levels_(std::move(levels)) {
  require(!levels_.empty(), "a method has at least one level");
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail(ErrorKind::io, "cannot be created: " + error.message(), folder_.string());
  std::vector<fs::path> paths;
  for (const auto& item : fs::directory_iterator(folder_)) paths.push_back(item.path());
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) adopt(path);
}

// What cannot be read whole was never finished: it is removed and made again.
void VariantDatabase::adopt(const fs::path& path) {
  try {
    auto file = std::make_shared<const SafetensorsFile>(path);
    const auto& metadata = file->header().metadata;
    const auto key = metadata.find(key_entry), text = metadata.find(record_entry),
               sum = metadata.find(sum_entry);
    if (key != metadata.end() && text != metadata.end() && sum != metadata.end() && key->second == key_) {
      std::vector<SafetensorsItem> items;
      for (std::size_t level = 0; level < levels_.size(); ++level) {
        items.push_back({frame_name(level), file->tensor(frame_name(level))});
      }
      if (sum_of(items, text->second) == sum->second) {
        const Attributes record =
            Attributes::from_json(parse_json(text->second, path.string()), path.string());
        const std::vector<double> losses = record.numbers("losses"),
                                  errors = record.numbers("squared_errors");
        UnitVariants unit;
        unit.name = record.text("unit");
        unit.order = record.integer("order", 0, std::int64_t{1} << 40);
        unit.reference = record.number("reference");
        unit.squared_norm = record.number("squared_norm");
        require(losses.size() == levels_.size() && errors.size() == levels_.size(), "a record is whole");
        for (std::size_t level = 0; level < levels_.size(); ++level) {
          const ByteSpan frame = items[level].view.span();
          const Payload payload = parse_frame(frame, path.string());
          unit.rows = matrix_rows(payload.shape);
          unit.columns = matrix_columns(payload.shape);
          unit.levels.push_back({described(payload), frame.size(), losses[level], errors[level]});
        }
        file->file().release(0, file->file().bytes().size());
        if (path == path_of(unit.name)) {
          const std::string name = unit.name;
          units_[name] = {std::move(unit), std::move(file)};
          return;
        }
      }
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) throw;
  }
  std::error_code error;
  fs::remove_all(path, error);
  if (error) fail(ErrorKind::io, "cannot be removed: " + error.message(), path.string());
}

fs::path VariantDatabase::path_of(std::string_view unit) const {
  return folder_ / (to_hex(xxh3_128(as_byte_span(unit))) + ".safetensors");
}

std::size_t VariantDatabase::level_named(std::string_view name) const {
  const auto found = std::find(levels_.begin(), levels_.end(), name);
  if (found == levels_.end()) {
    fail(ErrorKind::usage, "there is no level \"" + std::string(name) + "\"", {},
         "the levels are " + joined(levels_));
  }
  return static_cast<std::size_t>(found - levels_.begin());
}

const UnitVariants& VariantDatabase::unit(std::string_view name) const {
  const auto found = units_.find(name);
  require(found != units_.end(), "only units of the database are looked up");
  return found->second.unit;
}

std::vector<std::string> VariantDatabase::units() const {
  std::vector<std::pair<std::int64_t, std::string>> ordered;
  for (const auto& [name, stored] : units_) ordered.emplace_back(stored.unit.order, name);
  std::sort(ordered.begin(), ordered.end());
  std::vector<std::string> names;
  for (auto& [order, name] : ordered) names.push_back(std::move(name));
  return names;
}

void VariantDatabase::put(UnitVariants unit, const std::vector<Payload>& payloads) {
  require(payloads.size() == levels_.size() && unit.levels.size() == levels_.size(),
          "a unit has one payload per level");
  std::vector<Bytes> frames;
  std::vector<SafetensorsItem> items;
  for (const Payload& payload : payloads) frames.push_back(to_frame(payload));
  for (std::size_t level = 0; level < frames.size(); ++level) {
    items.push_back({frame_name(level),
                     {DType::u8, {static_cast<std::int64_t>(frames[level].size())}, frames[level].data()}});
    unit.levels[level].description = described(payloads[level]);
    unit.levels[level].frame_bytes = frames[level].size();
  }
  const fs::path path = path_of(unit.name);
  const std::string record = record_text(unit);
  write_safetensors(path, items,
                    {{key_entry, key_}, {record_entry, record}, {sum_entry, sum_of(items, record)}});
  const std::string name = unit.name;
  units_[name] = {std::move(unit), std::make_shared<const SafetensorsFile>(path)};
}

Payload VariantDatabase::payload(std::string_view unit, std::size_t level) const {
  const auto found = units_.find(unit);
  require(found != units_.end() && level < levels_.size(), "only variants of the database are loaded");
  const SafetensorsFile& file = *found->second.file;
  return parse_frame(file.tensor(frame_name(level)).span(), file.file().path().string());
}

std::uint64_t VariantDatabase::disk_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [name, stored] : units_) sum += stored.file->file().bytes().size();
  return sum;
}

}  // namespace laconic
