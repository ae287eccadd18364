// Logs and archives of them for tests.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/files.h"
#include "engine/base/scratch_folder.h"
#include "methods/text/logzip/archive_reader.h"
#include "methods/text/logzip/archive_writer.h"
#include "methods/text/logzip/log_generator.h"

namespace laconic::logzip {

// Hands out a text in blocks of `lines` lines: small blocks make many of them cheap.
class SmallBlocks {
 public:
  SmallBlocks(std::string_view text, std::size_t lines) : text_(text), lines_(lines) {}
  std::optional<std::string> operator()() {
    if (text_.empty()) return std::nullopt;
    std::size_t end = 0;
    for (std::size_t i = 0; i < lines_; ++i) {
      const std::size_t newline = text_.find('\n', end);
      end = newline == std::string_view::npos ? text_.size() : newline + 1;
    }
    const std::string block(text_.substr(0, end));
    text_.remove_prefix(end);
    return block;
  }

 private:
  std::string_view text_;
  std::size_t lines_;
};

inline std::string generated_log(std::size_t bytes, std::uint64_t seed = 1) {
  return LogGenerator(seed).make(bytes);
}

inline ArchiveOptions fast_options(int threads = 1) {
  ArchiveOptions options;
  options.mode = LogMode::fast;
  options.threads = threads;
  return options;
}

// An archive in memory, and how many blocks each `lines` lines make.
inline Bytes archive_of(std::string_view text, std::size_t lines = 300,
                        const ArchiveOptions& options = fast_options()) {
  const ScratchFolder folder("archive-test");
  auto writer = ArchiveWriter::create(folder.path() / "a.lzl", options);
  writer.add(SmallBlocks(text, lines));
  writer.finish();
  return read_file(folder.path() / "a.lzl");
}

// An archive whose blocks are these pieces, as a cutter makes them of lines longer than a block.
inline Bytes archive_of_pieces(const std::vector<std::string>& pieces) {
  const ScratchFolder folder("archive-test");
  auto writer = ArchiveWriter::create(folder.path() / "a.lzl", fast_options());
  std::size_t next = 0;
  writer.add([&]() -> std::optional<std::string> {
    if (next == pieces.size()) return std::nullopt;
    return pieces[next++];
  });
  writer.finish();
  return read_file(folder.path() / "a.lzl");
}

inline std::string whole_text(const ArchiveReader& archive) {
  std::string text;
  archive.read_blocks(0, archive.blocks().size(), [&](std::string_view piece) { text += piece; });
  return text;
}

// Lines [begin, end) of a text, with their ends.
inline std::string slice_of_lines(std::string_view text, std::uint64_t begin, std::uint64_t end) {
  std::string slice;
  for (std::uint64_t line = 0; !text.empty(); ++line) {
    const std::size_t newline = text.find('\n');
    const std::size_t size = newline == std::string_view::npos ? text.size() : newline + 1;
    if (line >= begin && line < end) slice += text.substr(0, size);
    text.remove_prefix(size);
  }
  return slice;
}

}  // namespace laconic::logzip
