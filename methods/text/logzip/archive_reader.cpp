#include "methods/text/logzip/archive_reader.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/progress.h"
#include "engine/container/block_file.h"
#include "engine/container/ordered_pipeline.h"
#include "methods/text/logzip/letter_filter.h"
#include "methods/text/logzip/template_history.h"

namespace laconic::logzip {

struct ArchiveReader::State {
  State(BlockFileReader opened, std::string_view name) : file(std::move(opened)), where(name) { index(); }

  BlockFileReader file;
  std::string where;
  ArchiveHeader header;
  std::vector<ArchiveSection> sections;
  std::vector<ArchiveBlock> blocks;
  std::uint64_t bytes = 0, lines = 0, unreadable = 0;
  std::map<std::uint64_t, std::unique_ptr<TemplateHistory>> histories;       // by table
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> by_number;  // block of (table, number)

  void index();
  HeaderFormat format_of(const std::string& text) const;
  std::size_t section_numbered(std::uint64_t number);
  void add_section(const FrameInfo& frame);
  void add_block(std::size_t frame);
  void count_lines();
  void make_histories();
  std::optional<std::vector<Template>> templates_of(std::uint64_t table, std::uint64_t number,
                                                    BlockPart part) const;
  ByteSpan part(std::size_t block, BlockPart which) const {
    const std::size_t frame = blocks[block].frame, place = static_cast<std::size_t>(which);
    return place < file.frames()[frame].parts.size() ? file.read_part(frame, place) : ByteSpan();
  }
  std::string name_of(std::size_t block) const {
    const ArchiveBlock& one = blocks[block];
    return "block " + std::to_string(file.frames()[one.frame].ordinal) + " (lines " +
           std::to_string(one.first_line + 1) + " to " + std::to_string(one.first_line + one.newlines) + ")";
  }
  [[noreturn]] void unreadable_section(std::size_t block) const {
    fail(ErrorKind::corrupt, name_of(block) + " belongs to an input whose description is lost", where);
  }
};

HeaderFormat ArchiveReader::State::format_of(const std::string& text) const {
  try {
    return HeaderFormat(text);
  } catch (const Error& error) {
    // For its own callers it is a wish that cannot be granted.
    if (error.kind() != ErrorKind::usage) throw;
    fail(ErrorKind::corrupt, std::string("a format that is none: ") + error.what(), where);
  }
}

void ArchiveReader::State::index() {
  header = read_archive_header(file.header(), where);
  if (!header.sections) {
    ArchiveSection only;
    only.entry.format = header.format;
    only.format = format_of(header.format);
    sections.push_back(std::move(only));
  }
  for (std::size_t i = 0; i < file.frames().size(); ++i) {
    const FrameInfo& frame = file.frames()[i];
    try {
      if (frame.kind == static_cast<std::uint8_t>(FrameKind::section) && header.sections) {
        add_section(frame);
      } else if (frame.kind == static_cast<std::uint8_t>(FrameKind::block)) {
        add_block(i);
      }
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::internal) throw;
      ++unreadable;
    }
  }
  count_lines();
  make_histories();
}

// Sections ascend, and their blocks with them; one that blocks name and that is not there takes a place that
// says so.
std::size_t ArchiveReader::State::section_numbered(std::uint64_t number) {
  if (!sections.empty() && sections.back().entry.number == number) return sections.size() - 1;
  if (!sections.empty() && sections.back().entry.number > number)
    fail(ErrorKind::corrupt, "a block of an earlier input", where);
  ArchiveSection missing;
  missing.entry.number = number;
  missing.entry.table = number;
  missing.known = false;
  missing.first_block = blocks.size();
  sections.push_back(std::move(missing));
  return sections.size() - 1;
}

void ArchiveReader::State::add_section(const FrameInfo& frame) {
  ArchiveSection section;
  section.entry = read_section_entry(frame.entry, where);
  if (!sections.empty() && section.entry.number <= sections.back().entry.number)
    fail(ErrorKind::corrupt, "inputs out of order", where);
  section.format = format_of(section.entry.format);
  section.first_block = blocks.size();
  section.first_line = frame.first_item;
  sections.push_back(std::move(section));
}

void ArchiveReader::State::add_block(std::size_t frame) {
  const FrameInfo& info = file.frames()[frame];
  ArchiveBlock block;
  block.frame = frame;
  block.entry = read_block_entry(info.entry, info.ordinal, where);
  block.section = section_numbered(header.sections ? block.entry.section : 0);
  block.newlines = info.items;
  block.first_line = info.first_item;
  block.stored = info.end - info.offset;
  if (block.newlines > block.entry.bytes)
    fail(ErrorKind::corrupt, "a block with more lines than bytes", where);
  if (!blocks.empty() && blocks.back().section == block.section) {
    const std::uint64_t before = file.frames()[blocks.back().frame].ordinal;
    block.goes_on = blocks.back().entry.open_end && before + 1 == info.ordinal;
  }
  ArchiveSection& section = sections[block.section];
  ++section.blocks;
  section.bytes += block.entry.bytes;
  bytes += block.entry.bytes;
  by_number.try_emplace({section.entry.table, block.entry.number}, blocks.size());
  blocks.push_back(block);
}

// Newlines are counted by the file of blocks; an input that does not end in one has a line more. A section
// begins where its own frame says, also where its first blocks are lost.
void ArchiveReader::State::count_lines() {
  std::uint64_t more = 0, newlines = 0;
  for (ArchiveSection& section : sections) {
    if (!section.known)
      section.first_line = section.blocks > 0 ? blocks[section.first_block].first_line : newlines;
    newlines = std::max(newlines, section.first_line);
    section.first_line += more;
    for (std::size_t i = section.first_block; i < section.first_block + section.blocks; ++i) {
      newlines = blocks[i].first_line + blocks[i].newlines;
      blocks[i].first_line += more;
    }
    const bool open = section.blocks > 0 && blocks[section.first_block + section.blocks - 1].entry.open_end;
    if (open) ++more;
    section.lines = newlines + more - section.first_line;
  }
  lines = newlines + more;
}

void ArchiveReader::State::make_histories() {
  for (const ArchiveSection& section : sections) {
    if (!section.known || histories.contains(section.entry.table)) continue;
    const std::uint64_t table = section.entry.table;
    histories[table] = std::make_unique<TemplateHistory>(
        template_segments(section.format),
        [this, table](std::uint64_t number, BlockPart part) { return templates_of(table, number, part); });
  }
}

std::optional<std::vector<Template>> ArchiveReader::State::templates_of(std::uint64_t table,
                                                                        std::uint64_t number,
                                                                        BlockPart which) const {
  const auto found = by_number.find({table, number});
  if (found == by_number.end()) return std::nullopt;
  const ArchiveBlock& block = blocks[found->second];
  const ByteSpan told = part(found->second, which);
  const ArchiveSection& section = sections[block.section];
  return decode_templates(told, template_segments(section.format), where);
}

ArchiveReader::ArchiveReader(const std::filesystem::path& path)
    : state_(std::make_unique<State>(BlockFileReader(path, archive_magic), path.string())) {}
ArchiveReader::ArchiveReader(ByteSpan bytes, std::string_view where)
    : state_(std::make_unique<State>(BlockFileReader(bytes, where, archive_magic), where)) {}
ArchiveReader::~ArchiveReader() = default;
ArchiveReader::ArchiveReader(ArchiveReader&&) noexcept = default;
ArchiveReader& ArchiveReader::operator=(ArchiveReader&&) noexcept = default;

const std::string& ArchiveReader::where() const { return state_->where; }
const ArchiveHeader& ArchiveReader::header() const { return state_->header; }
const std::vector<ArchiveSection>& ArchiveReader::sections() const { return state_->sections; }
const std::vector<ArchiveBlock>& ArchiveReader::blocks() const { return state_->blocks; }
std::uint64_t ArchiveReader::bytes() const { return state_->bytes; }
std::uint64_t ArchiveReader::lines() const { return state_->lines; }
std::uint64_t ArchiveReader::stored() const { return state_->file.size(); }
std::uint64_t ArchiveReader::framing_bytes() const {
  std::uint64_t framing = stored();
  for (const ArchiveBlock& block : blocks())
    for (const FramePart& part : state_->file.frames()[block.frame].parts) framing -= part.size;
  return framing;
}

std::uint64_t ArchiveReader::first_block_offset() const {
  return blocks().empty() ? stored() : state_->file.frames()[blocks().front().frame].offset;
}

std::uint64_t ArchiveReader::lost_blocks() const { return state_->file.lost_frames() + state_->unreadable; }
std::uint64_t ArchiveReader::stray_bytes() const { return state_->file.stray_bytes(); }
bool ArchiveReader::recovered() const { return state_->file.recovered(); }
std::string ArchiveReader::block_name(std::size_t block) const { return state_->name_of(block); }

bool ArchiveReader::may_hold(std::size_t block, std::string_view literal) const {
  try {
    const ByteSpan letters = state_->part(block, BlockPart::letters);
    return letters.empty() || LetterFilter::read(letters, state_->where).may_hold(literal);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
    return true;  // the block itself may be sound
  }
}

std::shared_ptr<const TemplateTable> ArchiveReader::table_of(std::size_t block) const {
  const ArchiveSection& section = state_->sections[state_->blocks[block].section];
  if (!section.known) state_->unreadable_section(block);
  try {
    return state_->histories.at(section.entry.table)->start_of(state_->blocks[block].entry.number);
  } catch (const Error& error) {
    // It says what is wrong with other blocks.
    if (error.kind() != ErrorKind::corrupt) throw;
    fail(ErrorKind::corrupt, error.what(), state_->name_of(block) + " of " + where());
  }
}

std::shared_ptr<const TemplateTable> ArchiveReader::table_at(std::size_t section,
                                                             std::uint64_t number) const {
  return state_->histories.at(state_->sections[section].entry.table)->start_of(number);
}

std::vector<Template> ArchiveReader::fresh_of(std::size_t block) const {
  const ArchiveSection& section = state_->sections[state_->blocks[block].section];
  if (!section.known) state_->unreadable_section(block);
  return decode_templates(state_->part(block, BlockPart::templates), template_segments(section.format),
                          state_->where);
}

struct ArchiveReader::OpenBlock::State {
  std::string name;
  std::shared_ptr<const TemplateTable> table;
  std::vector<Template> fresh;
  std::optional<BlockReader> reader;
};

ArchiveReader::OpenBlock::OpenBlock(std::unique_ptr<State> state) : state_(std::move(state)) {}
ArchiveReader::OpenBlock::~OpenBlock() = default;
ArchiveReader::OpenBlock::OpenBlock(OpenBlock&&) noexcept = default;
ArchiveReader::OpenBlock& ArchiveReader::OpenBlock::operator=(OpenBlock&&) noexcept = default;
BlockReader& ArchiveReader::OpenBlock::reader() { return *state_->reader; }

ArchiveReader::OpenBlock ArchiveReader::open(std::size_t block) const {
  auto opened = std::make_unique<OpenBlock::State>();
  const ArchiveBlock& one = state_->blocks[block];
  opened->name = state_->name_of(block) + " of " + state_->where;
  opened->table = table_of(block);
  opened->fresh = fresh_of(block);
  if (opened->table->segments() != template_segments(state_->sections[one.section].format))
    fail(ErrorKind::corrupt, "starts from a table of templates of another format", opened->name);
  opened->reader.emplace(state_->part(block, BlockPart::templates), state_->part(block, BlockPart::streams),
                         state_->sections[one.section].format, opened->table->templates(), opened->fresh,
                         opened->name);
  if (opened->reader->size() != one.entry.bytes)
    fail(ErrorKind::corrupt, "is not as long as the index says", opened->name);
  return OpenBlock(std::move(opened));
}

std::string ArchiveReader::text(std::size_t block) const {
  const ArchiveBlock& one = state_->blocks[block];
  OpenBlock opened = open(block);
  std::string text = opened.reader().text();
  state_->file.release(one.frame);
  if (!opened.reader().lossy() && (text.size() != one.entry.bytes || xxh3_64(text) != one.entry.check)) {
    fail(ErrorKind::corrupt, "does not decode to the log it was made from",
         state_->name_of(block) + " of " + state_->where);
  }
  return text;
}

std::uint64_t ArchiveReader::read_blocks(std::size_t begin, std::size_t end, const TextSink& sink,
                                         const DamageListener& damage) const {
  struct Outcome {
    std::string text, message;
    bool damaged = false;
  };
  std::uint64_t damaged = 0;
  std::size_t next = begin;
  ordered_pipeline(
      [&]() -> std::optional<std::size_t> {
        if (next == end) return std::nullopt;
        return next++;
      },
      [&](std::size_t&& block) -> Outcome {
        try {
          return {text(block), {}, false};
        } catch (const Error& error) {
          if (!damage || error.kind() != ErrorKind::corrupt) throw;
          return {{}, error.what(), true};
        }
      },
      [&](Outcome&& outcome) {
        if (outcome.damaged) {
          ++damaged;
          damage(outcome.message);
        } else {
          sink(outcome.text);
        }
      });
  return damaged;
}

std::pair<std::size_t, std::size_t> ArchiveReader::blocks_of_lines(std::uint64_t begin,
                                                                   std::uint64_t end) const {
  const auto& blocks = state_->blocks;
  const auto holds = [&](const ArchiveBlock& block) {
    return block.first_line < end &&
           block.first_line + block.newlines + (block.entry.open_end ? 1 : 0) > begin;
  };
  const auto first = std::ranges::find_if(blocks, holds);
  const auto last = std::find_if_not(first, blocks.end(), holds);
  return {first - blocks.begin(), last - blocks.begin()};
}

std::uint64_t ArchiveReader::read_lines(std::uint64_t begin, std::uint64_t end, const TextSink& sink,
                                        const DamageListener& damage) const {
  const auto [first, last] = blocks_of_lines(begin, end);
  std::uint64_t damaged = 0;
  for (std::size_t i = first; i < last; ++i) {
    throw_if_interrupted();
    try {
      sink(lines_within(i, begin, end));
    } catch (const Error& error) {
      if (!damage || error.kind() != ErrorKind::corrupt) throw;
      ++damaged;
      damage(error.what());
    }
  }
  return damaged;
}

// Without decoding more than their columns, where the block counts lines as the archive does.
std::string ArchiveReader::lines_within(std::size_t block, std::uint64_t begin, std::uint64_t end) const {
  const ArchiveBlock& one = state_->blocks[block];
  const bool all = begin <= one.first_line && end > one.first_line + one.newlines;
  if (!all) {
    OpenBlock opened = open(block);
    const std::uint64_t lines = opened.reader().line_count();
    if (lines == one.newlines + (one.entry.open_end ? 1 : 0)) {
      const auto place = [&](std::uint64_t line) {
        return static_cast<std::size_t>(line < one.first_line ? 0 : std::min(line - one.first_line, lines));
      };
      return opened.reader().lines(place(begin), place(end));
    }
  }
  const std::string whole = text(block);
  return std::string(lines_of_block(whole, one, begin, end));
}

// Parts that decoding does not need are checked too.
VerifyResult ArchiveReader::verify(const DamageListener& damage,
                                   const std::function<void(std::uint64_t)>& progress) const {
  VerifyResult result;
  result.lost_blocks = lost_blocks();
  result.damaged_blocks = read_blocks(
      0, blocks().size(),
      [&](std::string_view text) {
        ++result.sound_blocks;
        result.sound_bytes += text.size();
        if (progress) progress(result.sound_bytes);
      },
      damage);
  for (const ArchiveBlock& block : blocks()) {
    const std::size_t parts = state_->file.frames()[block.frame].parts.size();
    for (std::size_t part = static_cast<std::size_t>(BlockPart::generation); part < parts; ++part) {
      try {
        state_->file.read_part(block.frame, part);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) throw;
        ++result.damaged_aids;
        damage(error.what());
      }
    }
  }
  return result;
}

std::string_view lines_of_block(std::string_view text, const ArchiveBlock& block, std::uint64_t begin,
                                std::uint64_t end) {
  const auto behind_newline = [&](std::uint64_t count) {
    std::size_t at = 0;
    for (; count > 0; --count) {
      const std::size_t newline = text.find('\n', at);
      if (newline == std::string_view::npos) return text.size();
      at = newline + 1;
    }
    return at;
  };
  const std::size_t from = begin > block.first_line ? behind_newline(begin - block.first_line) : 0;
  const std::size_t to = end > block.first_line ? behind_newline(end - block.first_line) : 0;
  return text.substr(from, to > from ? to - from : 0);
}

}  // namespace laconic::logzip
