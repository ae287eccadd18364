#include "engine/container/byte_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "engine/container/stream_decoder.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t source_buffer_bytes = std::size_t{256} << 10;

struct Magic {
  StreamFormat format;
  std::string_view bytes;
};
using namespace std::string_view_literals;
constexpr std::array<Magic, 3> magics{{{StreamFormat::gzip, "\x1f\x8b\x08"sv},
                                       {StreamFormat::zstd, "\x28\xb5\x2f\xfd"sv},
                                       {StreamFormat::xz, "\xfd\x37zXZ\0"sv}}};
// A frame of zstd that carries no data; pzstd starts with one. The low half of its first byte is free.
constexpr std::string_view skippable = "\x50\x2a\x4d\x18"sv;

// unknown: so few bytes that they could become several formats.
StreamFormat format_of(std::string_view bytes) {
  std::string first(bytes.substr(0, skippable.size()));
  if (!first.empty()) first[0] = static_cast<char>(first[0] & 0xF0);
  bool open = skippable.starts_with(first);
  if (open && first.size() == skippable.size()) return StreamFormat::zstd;
  for (const Magic& magic : magics) {
    if (bytes.starts_with(magic.bytes)) return magic.format;
    open = open || magic.bytes.starts_with(bytes);
  }
  return open ? StreamFormat::unknown : StreamFormat::plain;
}

std::string_view name_of(StreamFormat format) {
  switch (format) {
    case StreamFormat::gzip:
      return "gzip";
    case StreamFormat::zstd:
      return "zstd";
    case StreamFormat::xz:
      return "xz";
    default:
      return "plain";
  }
}

std::string system_reason() { return std::strerror(errno); }

}  // namespace

struct ByteSource::State {
  int descriptor = -1;
  fs::path path;  // empty for a descriptor that came open
  std::string where;
  ByteSourceOptions options;
  bool regular = false;
  bool input_ended = false, ended = false;
  StreamFormat format = StreamFormat::unknown;
  std::unique_ptr<StreamDecoder> decoder;
  Bytes buffer;                    // of the input
  std::size_t begin = 0, end = 0;  // what of it is not used yet
  std::uint64_t used = 0, given = 0;

  ~State() {
    if (descriptor >= 0) ::close(descriptor);
  }

  ByteSpan waiting() const { return ByteSpan(buffer).subspan(begin, end - begin); }
  void use(std::size_t count) {
    begin += count;
    used += count;
  }

  // False: nothing came in time, or the user wants to stop and the source follows.
  bool wait_for_input() const {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + options.patience;
    for (;;) {
      if (interrupt_requested() && options.follow) return false;
      throw_if_interrupted();
      pollfd entry{descriptor, POLLIN, 0};
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      const int slice = options.follow ? static_cast<int>(std::clamp<std::int64_t>(left, 0, 100)) : 100;
      if (::poll(&entry, 1, slice) > 0) return true;
      if (options.follow && left <= 0) return false;
    }
  }

  // As many bytes as there are now; 0: none, and then input_ended says whether any will come.
  std::size_t read_input(std::span<std::byte> out) {
    while (!input_ended) {
      if (!regular && !wait_for_input()) return 0;
      const ssize_t got = ::read(descriptor, out.data(), out.size());
      if (got > 0) return static_cast<std::size_t>(got);
      if (got == 0) {
        input_ended = !(options.follow && regular);
        return 0;
      }
      if (errno != EINTR && errno != EAGAIN) {
        fail(ErrorKind::input,
             "cannot be read after byte " + std::to_string(used + end - begin) + ": " + system_reason(),
             where);
      }
    }
    return 0;
  }

  bool refill() {
    if (begin > 0)
      std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(begin),
                buffer.begin() + static_cast<std::ptrdiff_t>(end), buffer.begin());
    end -= std::exchange(begin, 0);
    const std::size_t got = read_input(std::span(buffer).subspan(end));
    end += got;
    return got > 0;
  }

  // False while too little is there to tell.
  bool recognise() {
    buffer.resize(source_buffer_bytes);
    while ((format = format_of(as_text(waiting()))) == StreamFormat::unknown) {
      if (refill()) continue;
      if (!input_ended) return false;
      format = StreamFormat::plain;
      break;
    }
    if (format == StreamFormat::gzip) decoder = make_gzip_decoder();
    if (format == StreamFormat::zstd) decoder = make_zstd_decoder(options.decoder_memory);
    if (format == StreamFormat::xz) decoder = make_xz_decoder(options.decoder_memory);
    return true;
  }

  std::size_t read_plain(std::span<std::byte> out) {
    if (begin < end) {
      const std::size_t count = std::min(out.size(), end - begin);
      std::memcpy(out.data(), buffer.data() + begin, count);
      use(count);
      return count;
    }
    const std::size_t count = read_input(out);
    used += count;
    ended = input_ended;
    return count;
  }

  std::size_t read_decoded(std::span<std::byte> out) {
    for (;;) {
      const StreamDecoder::Step step = decoder->decode(waiting(), out);
      use(step.consumed);
      if (!step.fault.empty()) fail_decoding(step);
      if (step.produced > 0) return step.produced;
      if (step.consumed > 0) continue;
      if (begin < end && end - begin == buffer.size())
        fail_decoding({0, 0, "data without an end", ErrorKind::corrupt});
      if (refill()) continue;
      if (!input_ended) return 0;
      if (!decoder->complete()) {
        fail(ErrorKind::corrupt,
             "ends inside " + std::string(name_of(format)) + " data, after byte " +
                 std::to_string(used + end - begin),
             where, "copy the file again");
      }
      ended = true;
      return 0;
    }
  }

  [[noreturn]] void fail_decoding(const StreamDecoder::Step& step) const {
    fail(step.kind, step.fault + ", at byte " + std::to_string(used), where,
         step.kind == ErrorKind::unsupported ? "decompress the file with its own tool first"
                                             : "copy the file again");
  }
};

ByteSource::ByteSource(std::unique_ptr<State> state) : state_(std::move(state)) {}
ByteSource::~ByteSource() = default;
ByteSource::ByteSource(ByteSource&&) noexcept = default;
ByteSource& ByteSource::operator=(ByteSource&&) noexcept = default;

ByteSource ByteSource::open(const fs::path& path, const ByteSourceOptions& options) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(ErrorKind::input, "cannot be opened: " + system_reason(), path.string());
  ByteSource source = from_descriptor(descriptor, path.string(), options);
  source.state_->path = path;
  return source;
}

ByteSource ByteSource::standard_input(const ByteSourceOptions& options) {
  const int descriptor = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) fail(ErrorKind::input, "cannot be read: " + system_reason(), "standard input");
  return from_descriptor(descriptor, "standard input", options);
}

ByteSource ByteSource::from_descriptor(int descriptor, std::string where, const ByteSourceOptions& options) {
  auto state = std::make_unique<State>();
  state->descriptor = descriptor;
  state->where = std::move(where);
  state->options = options;
  struct stat status {};
  if (::fstat(descriptor, &status) != 0)
    fail(ErrorKind::input, "cannot be read: " + system_reason(), state->where);
  if (S_ISDIR(status.st_mode)) fail(ErrorKind::input, "is a folder", state->where, "name the files in it");
  state->regular = S_ISREG(status.st_mode);
  return ByteSource(std::move(state));
}

std::size_t ByteSource::read(std::span<std::byte> out) {
  State& state = *state_;
  if (out.empty() || state.ended) return 0;
  if (state.format == StreamFormat::unknown && !state.recognise()) return 0;
  const std::size_t count = state.decoder ? state.read_decoded(out) : state.read_plain(out);
  state.given += count;
  return count;
}

std::size_t ByteSource::fill(std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::size_t got = read(out.subspan(done));
    if (got == 0) break;
    done += got;
  }
  return done;
}

bool ByteSource::ended() const { return state_->ended; }
StreamFormat ByteSource::format() const { return state_->format; }
std::uint64_t ByteSource::input_bytes() const { return state_->used; }
std::uint64_t ByteSource::output_bytes() const { return state_->given; }
const std::string& ByteSource::where() const { return state_->where; }

ByteSource::Followed ByteSource::followed() const {
  struct stat open_file {
  }, named{};
  if (::fstat(state_->descriptor, &open_file) != 0 || !state_->regular) return Followed::same;
  if (static_cast<std::uint64_t>(open_file.st_size) < state_->used + state_->end - state_->begin)
    return Followed::shortened;
  if (state_->path.empty()) return Followed::same;
  if (::stat(state_->path.c_str(), &named) != 0) return Followed::replaced;
  const bool same = named.st_dev == open_file.st_dev && named.st_ino == open_file.st_ino;
  return same ? Followed::same : Followed::replaced;
}

}  // namespace laconic
