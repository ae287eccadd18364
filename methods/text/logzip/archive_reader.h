// Reads log archives: whole, by blocks, by lines. Safe to use from many threads. What is damaged or lost is
// named, and everything else stays readable.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "methods/text/logzip/archive_format.h"
#include "methods/text/logzip/header_format.h"
#include "methods/text/logzip/parsed_block.h"

namespace laconic::logzip {

struct ArchiveSection {
  SectionEntry entry;
  HeaderFormat format;
  bool known = true;            // false: its description is lost, and its blocks cannot be read
  std::size_t first_block = 0;  // in blocks()
  std::size_t blocks = 0;
  std::uint64_t bytes = 0;
  std::uint64_t first_line = 0;  // of the archive, from 0
  std::uint64_t lines = 0;       // one without a newline at the end of the input counts
};

struct ArchiveBlock {
  std::size_t frame = 0;  // in the file of blocks
  std::size_t section = 0;
  BlockEntry entry;
  std::uint64_t first_line = 0;  // of the archive, from 0: the line that its first byte belongs to
  std::uint64_t newlines = 0;
  bool goes_on = false;      // its first byte belongs to a line that the block before it began
  std::uint64_t stored = 0;  // bytes of the archive that it takes
};

// What a reader hears about: text that follows on the text before, and damage that was skipped.
using TextSink = std::function<void(std::string_view)>;
using DamageListener = std::function<void(std::string_view message)>;

struct VerifyResult {
  std::uint64_t sound_blocks = 0, damaged_blocks = 0, lost_blocks = 0;
  std::uint64_t damaged_aids = 0;  // parts that only help: reading does without them
  std::uint64_t sound_bytes = 0;   // of log
};

class ArchiveReader {
 public:
  // Error(input) where the file is no log archive, Error(corrupt) where nothing of it can be read.
  explicit ArchiveReader(const std::filesystem::path& path);
  ArchiveReader(ByteSpan bytes, std::string_view where);
  ~ArchiveReader();
  ArchiveReader(ArchiveReader&& other) noexcept;
  ArchiveReader& operator=(ArchiveReader&& other) noexcept;

  const std::string& where() const;
  const ArchiveHeader& header() const;
  const std::vector<ArchiveSection>& sections() const;
  const std::vector<ArchiveBlock>& blocks() const;
  std::uint64_t bytes() const;   // of log
  std::uint64_t lines() const;   // of all sections
  std::uint64_t stored() const;  // bytes of the archive
  // Bytes of the archive that are neither templates nor streams: header, heads and checks, index.
  std::uint64_t framing_bytes() const;
  std::uint64_t first_block_offset() const;  // in the file; its size where there is no block
  // Blocks that are missing, and whether the index had to be made anew from the blocks.
  std::uint64_t lost_blocks() const;
  bool recovered() const;
  std::uint64_t stray_bytes() const;  // that belong to no whole block: of one that was cut, or a broken index
  std::string block_name(std::size_t block) const;  // "block 3 of app.log.lzl (lines 1 to 65536)"

  // A block whose streams are open, for those who need only some of its columns.
  class OpenBlock {
   public:
    ~OpenBlock();
    OpenBlock(OpenBlock&& other) noexcept;
    OpenBlock& operator=(OpenBlock&& other) noexcept;
    BlockReader& reader();

   private:
    friend class ArchiveReader;
    struct State;
    explicit OpenBlock(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
  };
  // Error(corrupt) naming the block.
  OpenBlock open(std::size_t block) const;
  // The text of a block, checked. Error(corrupt) naming the block.
  std::string text(std::size_t block) const;
  // False where the block is known not to hold a text.
  bool may_hold(std::size_t block, std::string_view literal) const;
  // The table that a block starts from, and what it adds.
  std::shared_ptr<const TemplateTable> table_of(std::size_t block) const;
  std::vector<Template> fresh_of(std::size_t block) const;
  // The table that block `number` of a section's table starts from, whether the block is there or not.
  std::shared_ptr<const TemplateTable> table_at(std::size_t section, std::uint64_t number) const;

  // Text of blocks [begin, end), in order, by many threads. Damaged blocks are told to `damage` and left out;
  // without one the first ends the call with Error(corrupt). Returns how many were damaged.
  std::uint64_t read_blocks(std::size_t begin, std::size_t end, const TextSink& sink,
                            const DamageListener& damage = {}) const;
  // Lines [begin, end) of the archive, from 0. Only the blocks that hold them are decoded.
  std::uint64_t read_lines(std::uint64_t begin, std::uint64_t end, const TextSink& sink,
                           const DamageListener& damage = {}) const;
  // `progress` hears how many bytes of log were sound so far.
  VerifyResult verify(const DamageListener& damage,
                      const std::function<void(std::uint64_t)>& progress = {}) const;

  // Blocks that hold a byte of lines [begin, end): a range of places.
  std::pair<std::size_t, std::size_t> blocks_of_lines(std::uint64_t begin, std::uint64_t end) const;

 private:
  std::string lines_within(std::size_t block, std::uint64_t begin, std::uint64_t end) const;

  struct State;
  std::unique_ptr<State> state_;
};

// The part of a block's text that belongs to lines [begin, end) of the archive.
std::string_view lines_of_block(std::string_view text, const ArchiveBlock& block, std::uint64_t begin,
                                std::uint64_t end);

}  // namespace laconic::logzip
