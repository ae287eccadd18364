#include "runtime/calibration/calibration_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/tensor/safetensors.h"
#include "runtime/fingerprint.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

constexpr std::array<std::pair<LinearSlot, std::string_view>, 4> slot_names = {
    {{LinearSlot::q, "q"}, {LinearSlot::o, "o"}, {LinearSlot::gate, "gate"}, {LinearSlot::down, "down"}}};

std::string_view name_of_slot(LinearSlot slot) {
  for (const auto& [known, name] : slot_names) {
    if (known == slot) return name;
  }
  fail(ErrorKind::internal, "statistics belong to q, o, gate or down");
}

std::int64_t triangle(std::int64_t size) { return size * (size + 1) / 2; }

std::string sum_of(const std::vector<SafetensorsItem>& items) {
  StreamingHash128 hash;
  for (const SafetensorsItem& item : items) hash.update(item.view.span());
  return to_hex(hash.digest());
}

void store_items(const fs::path& path, const std::vector<SafetensorsItem>& items) {
  write_safetensors(path, items, {{"checksum", sum_of(items)}});
}

// Opens a stored file, its bytes checked against its checksum.
SafetensorsFile open_checked(const fs::path& path) {
  SafetensorsFile file(path);
  std::vector<SafetensorsItem> items;
  for (const SafetensorsEntry& entry : file.header().entries) items.push_back({entry.name, file.view(entry)});
  const auto stored = file.header().metadata.find("checksum");
  if (stored == file.header().metadata.end() || stored->second != sum_of(items)) {
    fail(ErrorKind::corrupt, "stored calibration is damaged", path.string(),
         "remove the file; it is measured again");
  }
  return file;
}

const TensorView checked(const SafetensorsFile& file, const std::string& name, DType dtype,
                         const Shape& shape) {
  const SafetensorsEntry* entry = file.find(name);
  if (entry == nullptr || entry->dtype != dtype || entry->shape != shape) {
    fail(ErrorKind::corrupt, fmt::format("stored calibration lacks \"{}\"", name),
         file.file().path().string(), "remove the file; it is measured again");
  }
  return file.view(*entry);
}

// Shapes of one block's items in the order they are written; counts first, so that f32 stays aligned.
std::vector<std::pair<std::string, std::pair<DType, Shape>>> statistics_layout(const ModelConfig& config) {
  std::vector<std::pair<std::string, std::pair<DType, Shape>>> layout;
  layout.push_back({"counts", {DType::i64, {static_cast<std::int64_t>(slot_names.size())}}});
  for (const auto& [slot, name] : slot_names) {
    const std::int64_t size = linear_shape(config, slot).in;
    layout.push_back({std::string(name) + ".moment", {DType::f32, {triangle(size)}}});
    layout.push_back({std::string(name) + ".channel_norm", {DType::f32, {size}}});
  }
  return layout;
}

// Only sizes count here: the views look at nothing.
std::uint64_t size_of_items(const std::vector<std::pair<std::string, std::pair<DType, Shape>>>& layout) {
  std::vector<SafetensorsItem> items;
  for (const auto& [name, kind] : layout)
    items.push_back({name, TensorView{kind.first, kind.second, nullptr}});
  return safetensors_size(items, {{"checksum", std::string(32, '0')}});
}

std::uint64_t hidden_file_size(std::int64_t floats) {
  return size_of_items({{"hidden", {DType::f32, {floats}}}});
}

std::int64_t floats_of(const ModelConfig& config, const std::vector<std::vector<std::int32_t>>& windows) {
  std::int64_t tokens = 0;
  for (const auto& window : windows) tokens += static_cast<std::int64_t>(window.size());
  return tokens * config.hidden;
}

}  // namespace

std::string calibration_key(const fs::path& model_directory,
                            const std::vector<std::vector<std::int32_t>>& windows) {
  StreamingHash128 hash;
  hash.update(to_hex(fingerprint(model_directory)));
  hash.update(read_text_file(model_directory / "config.json", std::size_t{16} << 20));
  for (const auto& window : windows) {
    ByteWriter length;
    length.u64(window.size());
    hash.update(length.span());
    hash.update(std::as_bytes(std::span(window)));
  }
  return to_hex(hash.digest());
}

std::uint64_t CalibrationStore::disk_need(const ModelConfig& config,
                                          const std::vector<std::vector<std::int32_t>>& windows,
                                          CalibrationKeep keep) {
  if (keep == CalibrationKeep::none) return 0;
  const auto layers = static_cast<std::uint64_t>(config.layers);
  std::uint64_t need = layers * size_of_items(statistics_layout(config));
  if (keep == CalibrationKeep::hidden) need += layers * hidden_file_size(floats_of(config, windows));
  return need;
}

CalibrationStore::CalibrationStore(const fs::path& root, const std::string& key, CalibrationKeep keep,
                                   const ModelConfig& config,
                                   const std::vector<std::vector<std::int32_t>>& windows)
    : directory_(root / key), keep_(keep), config_(config) {
  for (const auto& window : windows) {
    window_sizes_.push_back(window.size() * static_cast<std::size_t>(config.hidden));
  }
  if (keep == CalibrationKeep::none) return;
  std::error_code error;
  fs::create_directories(directory_, error);
  if (error) {
    fail(ErrorKind::io, "cannot make the folder for calibration: " + error.message(), directory_.string(),
         "name another folder, or keep no calibration");
  }
  const std::uint64_t need = disk_need(config, windows, keep), stored = bytes_stored();
  const fs::space_info space = fs::space(directory_, error);
  if (!error && need > stored && space.available < need - stored) {
    fail(ErrorKind::io,
         fmt::format("calibration needs {} bytes, the disk has {} left", need - stored, space.available),
         directory_.string(), "free some space, name another folder, or keep no calibration");
  }
}

fs::path CalibrationStore::statistics_path(std::int64_t layer) const {
  return directory_ / fmt::format("block-{:04}.safetensors", layer);
}
fs::path CalibrationStore::hidden_path(std::int64_t layer) const {
  return directory_ / fmt::format("hidden-{:04}.safetensors", layer);
}

std::uint64_t CalibrationStore::bytes_stored() const {
  std::uint64_t sum = 0;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(directory_, error)) {
    if (item.path().extension() == ".safetensors") sum += fs::file_size(item.path(), error);
  }
  return sum;
}

bool CalibrationStore::has_statistics(std::int64_t layer) const {
  return keep_ != CalibrationKeep::none && fs::exists(statistics_path(layer));
}

void CalibrationStore::put_statistics(std::int64_t layer, const BlockStatistics& statistics) {
  if (keep_ == CalibrationKeep::none) return;
  require(statistics.size() == slot_names.size(), "all inputs of a block are stored together");
  std::vector<std::int64_t> counts;
  std::vector<std::vector<float>> triangles;
  for (const auto& [slot, linear] : statistics) {
    counts.push_back(linear.moment.count());
    std::vector<float>& upper = triangles.emplace_back();
    const std::int64_t size = linear.moment.size();
    upper.reserve(static_cast<std::size_t>(triangle(size)));
    for (std::int64_t i = 0; i < size; ++i) {
      for (std::int64_t j = i; j < size; ++j)
        upper.push_back(static_cast<float>(linear.moment.mean()[i * size + j]));
    }
  }
  const auto view = [](DType dtype, std::size_t size, const void* data) {
    return TensorView{dtype, {static_cast<std::int64_t>(size)}, static_cast<const std::byte*>(data)};
  };
  std::vector<SafetensorsItem> items = {{"counts", view(DType::i64, counts.size(), counts.data())}};
  for (std::size_t i = 0; i < statistics.size(); ++i) {
    const std::string name(name_of_slot(statistics[i].first));
    const std::vector<float>& norms = statistics[i].second.channel_norm;
    items.push_back({name + ".moment", view(DType::f32, triangles[i].size(), triangles[i].data())});
    items.push_back({name + ".channel_norm", view(DType::f32, norms.size(), norms.data())});
  }
  store_items(statistics_path(layer), items);
}

BlockStatistics CalibrationStore::statistics(std::int64_t layer) const {
  const SafetensorsFile file = open_checked(statistics_path(layer));
  const TensorView counts =
      checked(file, "counts", DType::i64, {static_cast<std::int64_t>(slot_names.size())});
  BlockStatistics result;
  for (std::size_t k = 0; k < slot_names.size(); ++k) {
    const auto& [slot, name] = slot_names[k];
    const std::int64_t size = linear_shape(config_, slot).in;
    const auto upper = checked(file, std::string(name) + ".moment", DType::f32, {triangle(size)}).to_f32();
    std::vector<double> mean(static_cast<std::size_t>(size * size));
    std::size_t next = 0;
    for (std::int64_t i = 0; i < size; ++i) {
      for (std::int64_t j = i; j < size; ++j) {
        mean[static_cast<std::size_t>(i * size + j)] = mean[static_cast<std::size_t>(j * size + i)] =
            upper[next++];
      }
    }
    std::int64_t count = 0;
    std::memcpy(&count, counts.data + k * sizeof(count), sizeof(count));
    result.emplace_back(
        slot,
        LinearStatistics{SecondMoment(size, std::max<std::int64_t>(0, count), std::move(mean)),
                         checked(file, std::string(name) + ".channel_norm", DType::f32, {size}).to_f32()});
  }
  return result;
}

bool CalibrationStore::has_hidden(std::int64_t layer) const {
  return keep_ == CalibrationKeep::hidden && fs::exists(hidden_path(layer));
}

void CalibrationStore::put_hidden(std::int64_t layer, const HiddenStates& hidden) {
  if (keep_ != CalibrationKeep::hidden) return;
  const std::span<const float> first = hidden[0];
  std::int64_t floats = 0;
  for (std::size_t i = 0; i < hidden.size(); ++i) floats += static_cast<std::int64_t>(hidden[i].size());
  store_items(
      hidden_path(layer),
      {{"hidden", TensorView{DType::f32, {floats}, reinterpret_cast<const std::byte*>(first.data())}}});
}

void CalibrationStore::load_hidden(std::int64_t layer, HiddenStates& hidden) const {
  std::size_t floats = 0;
  for (const std::size_t size : window_sizes_) floats += size;
  require(hidden.size() == window_sizes_.size(), "hidden states belong to the windows of the store");
  const SafetensorsFile file = open_checked(hidden_path(layer));
  const TensorView view = checked(file, "hidden", DType::f32, {static_cast<std::int64_t>(floats)});
  std::memcpy(hidden[0].data(), view.data, floats * sizeof(float));
}

void for_each_dense_block(const Transformer& dense, const std::vector<std::vector<std::int32_t>>& windows,
                          CalibrationStore* store,
                          const std::function<void(std::int64_t, BlockStatistics&)>& visit,
                          const ProgressListener& listener, std::int64_t first_needed) {
  const std::int64_t layers = dense.config().layers;
  if (windows.empty()) fail(ErrorKind::usage, "calibration needs at least one window");
  Progress progress(listener, "calibrating", layers - first_needed);
  std::optional<CalibrationWalk> walk;
  std::int64_t at = 0;  // the block that the walk's hidden states stand before
  for (std::int64_t layer = first_needed; layer < layers; ++layer) {
    if (store != nullptr && store->has_statistics(layer)) {
      BlockStatistics stored = store->statistics(layer);
      visit(layer, stored);
      progress.advance();
      continue;
    }
    if (!walk) walk.emplace(dense, windows);
    // From the nearest stored hidden states, else from where the walk stands.
    for (std::int64_t from = layer; store != nullptr && from > at; --from) {
      if (!store->has_hidden(from)) continue;
      store->load_hidden(from, walk->hidden());
      at = from;
    }
    for (; at < layer; ++at) walk->advance(dense, at);
    if (store != nullptr && !store->has_hidden(layer)) store->put_hidden(layer, walk->hidden());
    BlockStatistics statistics = walk->observe_and_advance(dense, layer);
    at = layer + 1;
    for (auto& [slot, linear] : statistics) linear.moment.round_to_stored();
    if (store != nullptr) store->put_statistics(layer, statistics);
    visit(layer, statistics);
    progress.advance();
  }
}

}  // namespace laconic
