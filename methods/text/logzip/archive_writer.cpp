#include "methods/text/logzip/archive_writer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/container/block_file.h"
#include "engine/container/ordered_pipeline.h"
#include "methods/text/logzip/archive_reader.h"
#include "methods/text/logzip/block_cutter.h"
#include "methods/text/logzip/block_making.h"
#include "methods/text/logzip/format_detection.h"
#include "methods/text/logzip/time_text.h"

namespace laconic::logzip {
namespace {

namespace fs = std::filesystem;

class StopWatch {
 public:
  explicit StopWatch(double& seconds) : seconds_(seconds) {}
  ~StopWatch() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

struct ArchiveWriter::State {
  // A table of templates and how many blocks share it.
  struct Table {
    std::uint64_t section = 0;  // the first that uses it
    std::unique_ptr<GenerationTables> tables;
    std::uint64_t blocks = 0;
  };

  fs::path path;
  ArchiveOptions options;
  std::optional<BlockFileWriter> file;
  std::uint64_t sections = 0;           // that are in the file
  std::optional<SectionEntry> pending;  // an input without blocks yet
  HeaderFormat format;
  Table* table = nullptr;
  std::map<std::string, Table> tables;  // by format
  std::optional<std::int64_t> carried;
  std::optional<LastInput> last_input;
  ArchiveTotals totals;
  // Reading and appending go on at the same time, so each has a sum of its own.
  double reading_seconds = 0, appending_seconds = 0;

  ArchiveHeader header(std::string format_text) const {
    return {options.mode, options.lossy, options.sections, std::move(format_text)};
  }
  BlockOptions block_options() const {
    BlockOptions block = options.block;
    block.mode = options.mode;
    block.lossy = options.lossy;
    return block;
  }
  void create_file(const std::string& format_text) {
    file =
        BlockFileWriter::create(path, archive_magic, write_archive_header(header(format_text)), options.file);
  }
  void use_format(HeaderFormat used) {
    format = std::move(used);
    table = &tables[format.text()];
    if (table->tables == nullptr) {
      table->section = sections;
      table->tables = std::make_unique<GenerationTables>(template_segments(format));
    }
  }
  // Inputs with the same header have the same format, and so the same templates, although what is seen of one
  // may speak for another choice of the fields that go with them.
  HeaderFormat shared_format(HeaderFormat found) const {
    for (const auto& [text, known] : tables) {
      HeaderFormat other(text);
      if (same_header(other, found)) return other;
    }
    return found;
  }
  void write_section() {
    pending->number = sections;
    pending->format = format.text();
    pending->table = table->section;
    const Bytes entry = write_section_entry(*pending);
    file->append({static_cast<std::uint8_t>(FrameKind::section), 0, entry, {}});
    pending.reset();
    ++sections;
    carried.reset();
  }
  // Before the first block of an input.
  void start_input(std::string_view text) {
    require(!options.sections || pending, "an input of an archive of several begins with a section");
    use_format(shared_format(options.format.empty() ? detect_format(text)
                                                    : complete_format(HeaderFormat(options.format), text)));
    if (!options.sections) create_file(format.text());
    if (pending) write_section();
  }
  bool input_started() const { return !pending && file && table != nullptr; }

  // Takes up where the blocks of `archive` end.
  void go_on(const ArchiveReader& archive) {
    for (std::size_t i = 0; i < archive.sections().size(); ++i) restore_table(archive, i);
    const ArchiveSection& last = archive.sections().back();
    sections = last.entry.number + 1;
    const auto table_there = tables.find(last.format.text());
    const bool can_go_on =
        last.known && table_there != tables.end() && table_there->second.section == last.entry.table;
    if (last.blocks > 0) {
      last_input = LastInput{last.entry, can_go_on, last.bytes, archive.blocks()[last.first_block].entry,
                             archive.blocks().back().entry};
    }
    if (!can_go_on) return;  // the next block needs a section of its own
    use_format(last.format);
    if (last.blocks > 0) carried = last_moment_of(archive);
  }
  // As far as it can be known where the last block is damaged.
  static std::optional<std::int64_t> last_moment_of(const ArchiveReader& archive) {
    const BlockEntry& entry = archive.blocks().back().entry;
    try {
      const std::string text = archive.text(archive.blocks().size() - 1);
      const auto moment = last_moment(text, archive.sections().back().format);
      return moment ? moment : entry.carried;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      return entry.times ? std::optional(entry.times->last) : entry.carried;
    }
  }
  // The table of a section whose format is used for the first time, with what its blocks brought. Where that
  // is damaged, the next input of this format begins another table.
  void restore_table(const ArchiveReader& archive, std::size_t section) {
    const ArchiveSection& first = archive.sections()[section];
    if (!first.known || first.entry.table != first.entry.number) return;
    std::map<std::uint64_t, std::size_t> places;  // of blocks of the table, by number
    for (std::size_t i = 0; i < archive.blocks().size(); ++i) {
      const ArchiveSection& of_block = archive.sections()[archive.blocks()[i].section];
      if (of_block.known && of_block.entry.table == first.entry.number)
        places.emplace(archive.blocks()[i].entry.number, i);
    }
    Table restored;
    restored.section = first.entry.number;
    restored.blocks = places.empty() ? 0 : places.rbegin()->first + 1;
    try {
      auto start = std::make_shared<KnownTemplates>(template_segments(first.format));
      start->add(archive.table_at(section, restored.blocks)->templates());
      // The first block of a generation repeats what the generation before added.
      const std::uint64_t one_before = restored.blocks - std::min(restored.blocks, generation_blocks);
      const std::size_t before = archive.table_at(section, one_before)->size();
      std::vector<std::vector<Template>> open(restored.blocks % generation_blocks);
      for (std::size_t i = 0; i < open.size(); ++i) {
        const auto place = places.find(restored.blocks - open.size() + i);
        if (place != places.end()) open[i] = archive.fresh_of(place->second);
      }
      restored.tables = std::make_unique<GenerationTables>(start, before, restored.blocks, std::move(open));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      return;
    }
    tables[first.format.text()] = std::move(restored);
  }

  void append(MadeBlock& made) {
    if (!made.first_line_tells_time) made.entry.carried = carried;
    if (made.last_moment) carried = made.last_moment;
    const std::uint64_t ordinal = file->frames().empty() ? 0 : file->frames().back().ordinal + 1;
    const Bytes entry = write_block_entry(made.entry, ordinal);
    const std::array<ByteSpan, 4> parts = {made.templates, made.streams, made.generation, made.letters};
    std::size_t count = parts.size();
    while (count > 1 && parts[count - 1].empty()) --count;
    file->append(
        {static_cast<std::uint8_t>(FrameKind::block), made.newlines, entry, std::span(parts).first(count)});
    totals.bytes += made.entry.bytes;
    totals.lines += made.newlines;
    ++totals.blocks;
    totals.stored = file->size();
    if (options.progress) options.progress(totals);
  }
};

ArchiveWriter::ArchiveWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
ArchiveWriter::~ArchiveWriter() = default;
ArchiveWriter::ArchiveWriter(ArchiveWriter&&) noexcept = default;
ArchiveWriter& ArchiveWriter::operator=(ArchiveWriter&&) noexcept = default;

ArchiveWriter ArchiveWriter::create(const fs::path& path, const ArchiveOptions& options) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->options = options;
  if (!options.format.empty()) HeaderFormat{options.format};  // says what is wrong before anything is read
  if (options.sections) state->create_file({});
  return ArchiveWriter(std::move(state));
}

ArchiveWriter ArchiveWriter::open(const fs::path& path, const ArchiveOptions& options) {
  auto state = std::make_unique<State>();
  state->path = path;
  state->options = options;
  state->options.sections = true;
  if (!options.format.empty()) HeaderFormat{options.format};
  state->file = BlockFileWriter::open(path, archive_magic, write_archive_header(state->header({})),
                                      options.file.access);
  const ArchiveHeader header = read_archive_header(state->file->header(), path.string());
  if (!header.sections) {
    fail(ErrorKind::input, "is the archive of one log that ended", path.string(),
         "choose another name: only archives that --follow made, or of several logs, can be gone on with");
  }
  if (header.lossy != options.lossy)
    fail(ErrorKind::input, header.lossy ? "is a lossy archive" : "is no lossy archive", path.string());
  // As far as the writer goes on from: a torn block behind that is none.
  const MappedFile mapped(path);
  const std::size_t kept = std::min<std::size_t>(mapped.bytes().size(), state->file->size());
  const ArchiveReader archive(mapped.bytes().first(kept), path.string());
  if (!archive.sections().empty()) state->go_on(archive);
  return ArchiveWriter(std::move(state));
}

const std::optional<ArchiveWriter::LastInput>& ArchiveWriter::last_input() const {
  return state_->last_input;
}

void ArchiveWriter::begin_section(const SectionEntry& section) {
  require(state_->options.sections, "an archive of sections");
  // An input without a byte is still one.
  if (state_->pending) {
    state_->use_format(HeaderFormat());
    state_->write_section();
  }
  state_->pending = section;
}

void ArchiveWriter::add(const NextBlock& next) {
  State& state = *state_;
  std::optional<std::string> first;
  {
    const StopWatch watch(state.reading_seconds);
    first = next();
  }
  if (!first) return;
  if (!state.input_started()) state.start_input(*first);
  const auto produce = [&]() -> std::optional<BlockTask> {
    const StopWatch watch(state.reading_seconds);
    std::optional<std::string> text = first ? std::exchange(first, std::nullopt) : next();
    if (!text) return std::nullopt;
    const std::uint64_t section = state.options.sections ? state.sections - 1 : 0;
    return BlockTask{std::move(*text), section, state.table->blocks++};
  };
  const auto work = [&](BlockTask&& task) {
    return make_block(task, state.format, *state.table->tables, state.block_options());
  };
  const auto consume = [&](MadeBlock&& made) {
    const StopWatch watch(state.appending_seconds);
    state.append(made);
  };
  ordered_pipeline(produce, work, consume, {state.options.threads, 0, state.options.ends_on_interrupt});
  state.totals.serial_seconds = state.reading_seconds + state.appending_seconds;
}

void ArchiveWriter::add(ByteSource& source) {
  BlockCutter cutter(source);
  add([&] { return cutter.next(); });
}

void ArchiveWriter::flush() {
  if (state_->file) state_->file->flush();
}

void ArchiveWriter::finish() {
  State& state = *state_;
  if (state.pending) {
    state.use_format(HeaderFormat());
    state.write_section();
  }
  if (!state.file) state.create_file(HeaderFormat().text());
  state.file->finish();
  state.totals.stored = state.file->size();
}

const ArchiveTotals& ArchiveWriter::totals() const { return state_->totals; }

}  // namespace laconic::logzip
