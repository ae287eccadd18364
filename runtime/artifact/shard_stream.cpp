#include "runtime/artifact/shard_stream.h"

#include <algorithm>

#include "engine/base/progress.h"
#include "runtime/artifact/layout.h"

namespace laconic {

ShardStream::ShardStream(const std::filesystem::path& path, std::vector<SafetensorsSlot> slots,
                         const std::map<std::string, std::string>& metadata)
    : slots_(std::move(slots)), writer_(path, slots_, metadata) {
  entry_.is_safetensors = true;
  entry_.header = hashed(as_byte_span(writer_.header()));
}

void ShardStream::append(ByteSpan bytes) {
  filled_ += bytes.size();
  hash_.update(bytes);
  writer_.append(bytes);
}

void ShardStream::append(const MappedFile& file, std::uint64_t offset, std::uint64_t bytes) {
  constexpr std::uint64_t piece = std::uint64_t{16} << 20;
  for (std::uint64_t done = 0; done < bytes; done += piece) {
    const std::uint64_t count = std::min(bytes - done, piece);
    append(file.bytes().subspan(offset + done, count));
    file.release(offset + done, count);
    throw_if_interrupted();
  }
}

void ShardStream::end_slot() {
  static constexpr std::byte zeros[field_alignment] = {};
  require(slot_ < slots_.size(), "no more slots than were promised");
  const SafetensorsSlot& slot = slots_[slot_++];
  require(filled_ <= slot.bytes() && slot.bytes() - filled_ < field_alignment, "a slot gets its bytes");
  append(ByteSpan(zeros, slot.bytes() - filled_));
  entry_.tensors[slot.name] = {slot.bytes(), to_hex(hash_.digest())};
  hash_ = StreamingHash128();
  filled_ = 0;
}

ManifestFile ShardStream::commit() {
  require(slot_ == slots_.size(), "every slot was ended");
  entry_.bytes = writer_.commit();
  return std::move(entry_);
}

}  // namespace laconic
