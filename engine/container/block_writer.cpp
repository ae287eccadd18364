#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/container/block_file.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail_to_write(std::string_view what, const fs::path& path, int reason) {
  const bool full = reason == ENOSPC || reason == EDQUOT || reason == EFBIG;
  fail(ErrorKind::io, std::string(what) + ": " + std::strerror(reason), path.string(),
       full ? "free some disk space and run again" : "");
}

// 0, or the system's reason.
int write_all(int descriptor, ByteSpan bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno;
    offset += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return 0;
}

// What of a file that was not finished the writer keeps: a block at the end that is not whole was being
// written.
void drop_torn_tail(ByteSpan file, BlockIndex& index) {
  while (!index.frames.empty() && !frame_is_sound(file, index.frames.back())) {
    index.end = index.frames.back().offset;
    index.frames.pop_back();
  }
}

}  // namespace

struct BlockFileWriter::State {
  fs::path path;
  std::optional<TemporaryFile> temporary;  // where the file is to appear when it is whole
  int descriptor = -1;
  std::string magic;
  BlockIndex index;
  // What lies behind index.end is cut off before the next block, unless it is a footer: that is overwritten,
  // so that its room on the disk stays ours for another one should the block not fit.
  bool cut_tail = false;
  bool footer_there = false;
  std::uint64_t footer_bytes = 0;
  bool finished = false;

  ~State() {
    if (descriptor >= 0 && !temporary) ::close(descriptor);
  }

  std::uint64_t items() const {
    return index.frames.empty() ? 0 : index.frames.back().first_item + index.frames.back().items;
  }

  // The file under its name, made where there is none.
  void open_descriptor(const std::optional<FileAccess>& access) {
    descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0 && errno == ENOENT) {
      descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_CREAT, access ? 0600 : 0644);
      // Its writer must be able to open it again.
      if (descriptor >= 0 && access) give_access(descriptor, {access->mode | 0600, access->group});
    }
    if (descriptor < 0) fail_to_write("cannot be opened for writing", path, errno);
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
      fail(ErrorKind::io, "is being written by another program", path.string(), "wait until that one ends");
  }

  void cut_to(std::uint64_t size) {
    if (::ftruncate(descriptor, static_cast<off_t>(size)) != 0) fail_to_write("cannot be cut", path, errno);
  }

  void start(ByteSpan header) {
    const Bytes bytes = encode_block_header(magic, header);
    cut_to(0);
    const int reason = write_all(descriptor, bytes, 0);
    if (reason != 0) {
      if (::ftruncate(descriptor, 0) != 0) errno = 0;  // a later open() starts anew either way
      fail_to_write("cannot be written", path, reason);
    }
    index.header.assign(header.begin(), header.end());
    index.end = bytes.size();
  }

  void continue_file(ByteSpan file) {
    index = read_block_index(file, magic, path.string());
    if (!index.header_found) {
      fail(ErrorKind::corrupt, "the file's header is damaged", path.string(), "nothing was changed");
    }
    if (index.header_repaired) {
      const int reason = write_all(descriptor, encode_block_header(magic, index.header), 0);
      if (reason != 0) fail_to_write("the damaged header cannot be repaired", path, reason);
    }
    if (!index.by_footer) drop_torn_tail(file, index);
    cut_tail = !index.by_footer;
    footer_there = index.by_footer && file.size() > index.end;
  }

  FrameInfo describe(const NewFrame& frame) const {
    require(frame.entry.size() <= most_entry_bytes && frame.parts.size() <= most_frame_parts,
            "an index entry and parts within their bounds");
    require(frame.items <= most_frame_items - items(), "items that can be counted");
    FrameInfo info;
    info.kind = frame.kind;
    info.ordinal = index.frames.empty() ? 0 : index.frames.back().ordinal + 1;
    info.first_item = items();
    info.items = frame.items;
    info.entry.assign(frame.entry.begin(), frame.entry.end());
    for (const ByteSpan part : frame.parts) {
      require(part.size() <= most_part_bytes, "a part within its bound");
      info.parts.push_back({0, part.size(), part_check(part)});
    }
    return parse_frame_body(encode_frame_body(info), index.end, path.string());  // with its offsets
  }

  // 0, or the system's reason.
  int write_frame(const FrameInfo& info, std::span<const ByteSpan> parts) {
    if (cut_tail && ::ftruncate(descriptor, static_cast<off_t>(index.end)) != 0) return errno;
    cut_tail = false;
    int reason = write_all(descriptor, encode_frame_head(encode_frame_body(info), index.end), index.end);
    for (std::size_t part = 0; part < parts.size() && reason == 0; ++part) {
      reason = write_all(descriptor, parts[part], info.parts[part].offset);
    }
    return reason;
  }

  // The block stands; what is left of a footer behind it would look like the rest of one that is lost.
  void drop_footer() {
    if (std::exchange(footer_there, false))
      cut_tail = ::ftruncate(descriptor, static_cast<off_t>(index.end)) != 0;
  }

  void restore_footer() noexcept {
    cut_tail = true;
    footer_there = false;
    try {
      const Bytes footer = encode_block_footer(magic, index.header, index.frames, index.end);
      const bool written = write_all(descriptor, footer, index.end) == 0;
      const std::uint64_t size = index.end + (written ? footer.size() : 0);
      if (::ftruncate(descriptor, static_cast<off_t>(size)) != 0) return;
      cut_tail = false;
      footer_there = written;
    } catch (...) {
    }
  }
};

BlockFileWriter::BlockFileWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
BlockFileWriter::~BlockFileWriter() = default;
BlockFileWriter::BlockFileWriter(BlockFileWriter&&) noexcept = default;
BlockFileWriter& BlockFileWriter::operator=(BlockFileWriter&&) noexcept = default;

BlockFileWriter BlockFileWriter::create(const fs::path& path, std::string_view magic, ByteSpan header,
                                        const TemporaryFileOptions& options) {
  require(magic.size() == 4 && header.size() <= most_block_header_bytes, "a magic and header that fit");
  auto state = std::make_unique<State>();
  state->path = path;
  state->magic = magic;
  state->temporary.emplace(path, options);
  state->descriptor = state->temporary->descriptor();
  state->start(header);
  return BlockFileWriter(std::move(state));
}

BlockFileWriter BlockFileWriter::open(const fs::path& path, std::string_view magic, ByteSpan header,
                                      const std::optional<FileAccess>& access) {
  require(magic.size() == 4 && header.size() <= most_block_header_bytes, "a magic and header that fit");
  auto state = std::make_unique<State>();
  state->path = path;
  state->magic = magic;
  state->open_descriptor(access);
  const MappedFile file(path);
  const ByteSpan bytes = file.bytes();
  const Bytes start = encode_block_header(magic, header);
  if (bytes.size() < start.size() && std::equal(bytes.begin(), bytes.end(), start.begin())) {
    state->start(header);
    flush_folder_of(path);
  } else {
    state->continue_file(bytes);
  }
  return BlockFileWriter(std::move(state));
}

const Bytes& BlockFileWriter::header() const { return state_->index.header; }
const std::vector<FrameInfo>& BlockFileWriter::frames() const { return state_->index.frames; }
std::uint64_t BlockFileWriter::items() const { return state_->items(); }
std::uint64_t BlockFileWriter::size() const { return state_->index.end + state_->footer_bytes; }

std::size_t BlockFileWriter::append(const NewFrame& frame) {
  State& state = *state_;
  require(!state.finished, "nothing is appended to a finished file");
  const FrameInfo& info = state.index.frames.emplace_back(state.describe(frame));
  const int reason = state.write_frame(info, frame.parts);
  if (reason != 0) {
    const std::uint64_t ordinal = info.ordinal;
    state.index.frames.pop_back();
    state.restore_footer();
    fail_to_write("block " + std::to_string(ordinal) + " cannot be written", state.path, reason);
  }
  state.index.end = info.end;
  state.drop_footer();
  return state.index.frames.size() - 1;
}

void BlockFileWriter::flush() {
  if (::fsync(state_->descriptor) != 0) fail_to_write("cannot be flushed", state_->path, errno);
}

void BlockFileWriter::finish() {
  State& state = *state_;
  require(!state.finished, "a file is finished once");
  const Bytes footer =
      encode_block_footer(state.magic, state.index.header, state.index.frames, state.index.end);
  const int reason = write_all(state.descriptor, footer, state.index.end);
  if (reason != 0) {
    state.cut_to(state.index.end);
    fail_to_write("the index cannot be written", state.path, reason);
  }
  state.cut_to(state.index.end + footer.size());
  state.footer_there = true;
  if (state.temporary) {
    state.temporary->put_in_place();
  } else {
    flush();
  }
  state.footer_bytes = footer.size();
  state.finished = true;
}

}  // namespace laconic
