#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
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

// A new name in a folder is on the disk when the folder is. Some file systems refuse; there it is their
// affair.
void flush_folder_of(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
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
  fs::path path, temporary;
  int descriptor = -1;
  std::string magic;
  BlockIndex index;
  // What lies behind index.end is cut off before the next block, unless it is a footer: that is overwritten,
  // so that its room on the disk stays ours for another one should the block not fit.
  bool cut_tail = false;
  std::uint64_t footer_bytes = 0;
  bool finished = false;

  ~State() {
    if (descriptor >= 0) ::close(descriptor);
    if (!temporary.empty()) ::unlink(temporary.c_str());
  }

  const fs::path& name_now() const { return temporary.empty() ? path : temporary; }
  std::uint64_t items() const {
    return index.frames.empty() ? 0 : index.frames.back().first_item + index.frames.back().items;
  }

  void open_descriptor(int flags) {
    descriptor = ::open(name_now().c_str(), O_RDWR | O_CLOEXEC | flags, 0644);
    if (descriptor < 0 && errno == EEXIST) {
      fail(ErrorKind::usage, "already exists", path.string(), "choose another name, or append to it");
    }
    if (descriptor < 0) fail_to_write("cannot be opened for writing", path, errno);
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      temporary.clear();  // it is the other's
      fail(ErrorKind::io, "is being written by another program", path.string(), "wait until that one ends");
    }
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

  void restore_footer() noexcept {
    cut_tail = true;
    try {
      const Bytes footer = encode_block_footer(magic, index.header, index.frames, index.end);
      const bool written = write_all(descriptor, footer, index.end) == 0;
      const std::uint64_t size = index.end + (written ? footer.size() : 0);
      if (::ftruncate(descriptor, static_cast<off_t>(size)) == 0) cut_tail = false;
    } catch (...) {
    }
  }
};

BlockFileWriter::BlockFileWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
BlockFileWriter::~BlockFileWriter() = default;
BlockFileWriter::BlockFileWriter(BlockFileWriter&&) noexcept = default;
BlockFileWriter& BlockFileWriter::operator=(BlockFileWriter&&) noexcept = default;

BlockFileWriter BlockFileWriter::create(const fs::path& path, std::string_view magic, ByteSpan header,
                                        Appears appears) {
  require(magic.size() == 4 && header.size() <= most_block_header_bytes, "a magic and header that fit");
  auto state = std::make_unique<State>();
  state->path = path;
  state->magic = magic;
  if (appears == Appears::finished) {
    fs::path temporary = path;
    temporary += ".tmp." + std::to_string(::getpid());
    state->temporary = temporary;
    state->open_descriptor(O_CREAT);
  } else {
    state->open_descriptor(O_CREAT | O_EXCL);
  }
  state->start(header);
  if (appears == Appears::at_once) flush_folder_of(path);
  return BlockFileWriter(std::move(state));
}

BlockFileWriter BlockFileWriter::open(const fs::path& path, std::string_view magic, ByteSpan header) {
  require(magic.size() == 4 && header.size() <= most_block_header_bytes, "a magic and header that fit");
  auto state = std::make_unique<State>();
  state->path = path;
  state->magic = magic;
  state->open_descriptor(O_CREAT);
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
bool BlockFileWriter::recovered() const { return !state_->index.by_footer || state_->index.header_repaired; }
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
  flush();
  if (!state.temporary.empty()) {
    if (::rename(state.temporary.c_str(), state.path.c_str()) != 0) {
      fail_to_write("cannot be completed", state.path, errno);
    }
    state.temporary.clear();
    flush_folder_of(state.path);
  }
  state.footer_bytes = footer.size();
  state.finished = true;
}

}  // namespace laconic
