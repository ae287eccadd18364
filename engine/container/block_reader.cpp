#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/container/block_file.h"

namespace laconic {
namespace {

[[noreturn]] void fail_damaged(const FrameInfo& info, std::size_t part, std::string_view where) {
  fail(ErrorKind::corrupt, frame_name(info) + " is damaged in part " + std::to_string(part), where,
       "the other blocks can still be read");
}

}  // namespace

BlockFileReader::BlockFileReader(const std::filesystem::path& path, std::string_view magic)
    : mapping_(std::make_unique<MappedFile>(path)), where_(path.string()), file_(mapping_->bytes()) {
  open(magic);
}

BlockFileReader::BlockFileReader(ByteSpan file, std::string_view where, std::string_view magic)
    : where_(where), file_(file) {
  open(magic);
}

BlockFileReader::~BlockFileReader() = default;
BlockFileReader::BlockFileReader(BlockFileReader&&) noexcept = default;
BlockFileReader& BlockFileReader::operator=(BlockFileReader&&) noexcept = default;

void BlockFileReader::open(std::string_view magic) {
  index_ = read_block_index(file_, magic, where_);
  if (!index_.header_found) {
    fail(ErrorKind::corrupt, "the file's header is damaged or cut", where_,
         std::to_string(index_.frames.size()) + " blocks behind it are there");
  }
}

std::uint64_t BlockFileReader::items() const {
  return frames().empty() ? 0 : frames().back().first_item + frames().back().items;
}

std::uint64_t BlockFileReader::lost_frames() const {
  return frames().empty() ? 0 : frames().back().ordinal + 1 - frames().size();
}

ByteSpan BlockFileReader::read_part(std::size_t i, std::size_t part) const {
  require(i < frames().size(), "a block that is in the file");
  const FrameInfo& info = frames()[i];
  if (part >= info.parts.size()) {
    fail(ErrorKind::corrupt, frame_name(info) + " has no part " + std::to_string(part), where_);
  }
  if (!part_is_sound(file_, info.parts[part])) fail_damaged(info, part, where_);
  return file_.subspan(info.parts[part].offset, info.parts[part].size);
}

void BlockFileReader::release(std::size_t i) const {
  require(i < frames().size(), "a block that is in the file");
  if (mapping_) mapping_->release(frames()[i].offset, frames()[i].end - frames()[i].offset);
}

}  // namespace laconic
