#include <nlohmann/json.hpp>

#include "engine/tensor/safetensors.h"

namespace laconic {
namespace {

std::vector<SafetensorsSlot> slots_of(const std::vector<SafetensorsItem>& items) {
  std::vector<SafetensorsSlot> slots;
  slots.reserve(items.size());
  for (const SafetensorsItem& item : items) slots.push_back({item.name, item.view.dtype, item.view.shape});
  return slots;
}

std::uint64_t data_bytes(const std::vector<SafetensorsSlot>& slots) {
  std::uint64_t sum = 0;
  for (const SafetensorsSlot& slot : slots) sum += slot.bytes();
  return sum;
}

}  // namespace

std::uint64_t SafetensorsSlot::bytes() const {
  return static_cast<std::uint64_t>(element_count(shape)) * size_of(dtype);
}

std::string safetensors_header(const std::vector<SafetensorsSlot>& slots,
                               const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const SafetensorsSlot& slot : slots) {
    require(slot.name != "__metadata__" && !header.contains(slot.name), "tensor names are unique");
    const std::uint64_t end = offset + slot.bytes();
    header[slot.name] = {
        {"dtype", std::string(name_of(slot.dtype))}, {"shape", slot.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  const std::string json = header.dump();
  const std::uint64_t length = (json.size() + 8 + 63) / 64 * 64 - 8;
  ByteWriter word;
  word.u64(length);
  std::string text(as_text(word.span()));
  text += json;
  text.resize(8 + length, ' ');
  return text;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::vector<SafetensorsSlot>& slots,
                                     const std::map<std::string, std::string>& metadata)
    : header_(safetensors_header(slots, metadata)), file_(path) {
  promised_ = header_.size() + data_bytes(slots);
  file_.write(header_);
}

void SafetensorsWriter::append(ByteSpan bytes) {
  require(bytes.size() <= promised_ - file_.written(), "no more bytes than the slots have");
  file_.write(bytes);
}

std::uint64_t SafetensorsWriter::commit() {
  require(file_.written() == promised_, "every slot of a safetensors file has its bytes");
  file_.commit();
  return promised_;
}

std::uint64_t safetensors_size(const std::vector<SafetensorsItem>& items,
                               const std::map<std::string, std::string>& metadata) {
  const std::vector<SafetensorsSlot> slots = slots_of(items);
  return safetensors_header(slots, metadata).size() + data_bytes(slots);
}

std::uint64_t write_safetensors(const std::filesystem::path& path, const std::vector<SafetensorsItem>& items,
                                const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer(path, slots_of(items), metadata);
  for (const SafetensorsItem& item : items) writer.append(item.view.span());
  return writer.commit();
}

}  // namespace laconic
