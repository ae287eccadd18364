#include "methods/gradients/training/resumable_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/saved_state.h"

namespace laconic {
namespace {

constexpr std::size_t longest_magic = 64;
constexpr std::size_t longest_settings = 1 << 24;
constexpr std::uint64_t most_counted = std::uint64_t{1} << 62;

// The first line in which two texts differ, of each.
std::pair<std::string, std::string> first_difference(std::string_view a, std::string_view b) {
  while (!a.empty() || !b.empty()) {
    const auto line = [](std::string_view& text) {
      const auto end = std::min(text.find('\n'), text.size());
      const std::string_view first = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      return first;
    };
    const std::string_view one = line(a), other = line(b);
    if (one != other) return {std::string(one), std::string(other)};
  }
  return {};
}

void require_same_settings(std::string_view stored, std::string_view own, const std::string& where) {
  if (stored == own) return;
  const auto [theirs, ours] = first_difference(stored, own);
  fail(ErrorKind::usage,
       fmt::format("is a checkpoint of another run: \"{}\" there, \"{}\" here", theirs, ours), where,
       "resume with the settings that wrote it, or start anew in another directory");
}

}  // namespace

ByteWriter begin_checkpoint(const CheckpointKind& kind, const std::string& settings) {
  ByteWriter writer;
  writer.text(kind.magic);
  writer.text(settings);
  return writer;
}

ByteReader open_checkpoint(const CheckpointKind& kind, ByteSpan bytes, const std::string& settings,
                           const std::string& where) {
  ByteReader reader(unsealed(bytes, where), where);
  if (reader.text(longest_magic) != kind.magic) reader.corrupt(fmt::format("not {}", kind.name));
  require_same_settings(reader.text(longest_settings), settings, where);
  return reader;
}

void write_part(ByteWriter& writer, ByteSpan part) {
  writer.varint(part.size());
  writer.append(part);
}

Bytes read_part(ByteReader& reader) {
  const ByteSpan part = reader.take(reader.length(reader.remaining()));
  return Bytes(part.begin(), part.end());
}

std::int64_t read_count(ByteReader& reader) { return static_cast<std::int64_t>(reader.length(most_counted)); }

double read_run_seconds(ByteReader& reader) {
  const double seconds = reader.f64();
  if (!std::isfinite(seconds) || seconds < 0) reader.corrupt("a time that no run takes");
  return seconds;
}

void fail_without_checkpoint(const std::filesystem::path& directory) {
  fail(ErrorKind::usage, "holds no checkpoint to resume from", directory.string(), "start without --resume");
}

void fail_stopped(const std::string& after, const std::filesystem::path& checkpoint) {
  fail(ErrorKind::interrupted, "stopped after " + after, {},
       checkpoint.empty() ? "" : "the same command with --resume goes on from here");
}

}  // namespace laconic
