#include <algorithm>
#include <map>
#include <set>

#include "engine/base/error.h"
#include "engine/column/column_codes.h"
#include "engine/column/column_decoder.h"
#include "engine/column/column_set.h"
#include "engine/column/joined_numbers.h"

namespace laconic {
namespace {

using Kind = ColumnStreamKind;

std::array<StreamCursor, column_stream_kinds> cursors_over(std::span<const ColumnStreamView> streams,
                                                           std::uint32_t owner) {
  std::array<StreamCursor, column_stream_kinds> cursors;
  for (std::size_t kind = 0; kind < column_stream_kinds; ++kind)
    cursors[kind] = {{}, static_cast<Kind>(kind)};
  std::set<Kind> seen;
  for (const ColumnStreamView& stream : streams) {
    if (stream.owner != owner) continue;
    if (static_cast<std::size_t>(stream.kind) >= column_stream_kinds || !seen.insert(stream.kind).second) {
      fail(ErrorKind::corrupt, "a column stream of an unknown kind, or twice", "column streams");
    }
    cursors[static_cast<std::size_t>(stream.kind)] = {stream.bytes, stream.kind};
  }
  return cursors;
}

void expect_all_read(const std::array<StreamCursor, column_stream_kinds>& cursors) {
  for (const StreamCursor& cursor : cursors) {
    if (cursor.remaining() > 0) cursor.corrupt("bytes are left over");
  }
}

}  // namespace

// Units are read past in order; where each begins is kept, and they are decoded when asked for.
struct ColumnSetReader::State {
  using GroupKey = std::pair<std::uint32_t, std::uint32_t>;  // group, rows
  struct Unit {
    std::array<StreamCursor, column_stream_kinds> begin;  // in the streams that hold it
    std::uint32_t first = 0;
    std::uint32_t columns = 1;
    std::size_t group_size = 0;  // of its group before it
    std::size_t entries = 0;     // that it adds to its group
    bool own = false;
    bool decoded = false;
    bool scanned = false;                   // whether its references are known
    std::vector<std::uint32_t> references;  // columns
  };

  State(std::span<const ColumnShape> given, std::uint64_t value_bytes, Loader load)
      : shapes(given.begin(), given.end()),
        loader(std::move(load)),
        unit_of(shapes.size()),
        values(shapes.size()),
        scanner(decoding_budget(shapes.size(), value_bytes)),
        decoder(decoding_budget(shapes.size(), value_bytes)) {
    scanner.cursors().cursors = cursors_over(loader(0), 0);
  }

  DecodedGroup& group_of(std::uint32_t column) { return groups[{shapes[column].group, shapes[column].rows}]; }
  std::vector<ColumnDecoder::Sibling> siblings_from(std::uint32_t first, DecodedGroup* group,
                                                    bool wanted) const;
  std::size_t run(ColumnDecoder& runner, std::uint32_t first, bool wanted);
  void replay(ColumnDecoder& runner, const Unit& unit, bool wanted);
  void read_past_next();
  void read_past_own(Unit& unit);
  void scan(Unit& unit);
  void decode(Unit& unit);
  void decode_with_references(std::size_t index);

  std::vector<ColumnShape> shapes;
  Loader loader;
  std::map<GroupKey, DecodedGroup> groups;
  std::vector<Unit> units;  // those read past so far
  std::vector<std::size_t> unit_of;
  std::vector<std::shared_ptr<const ColumnText>> values;
  std::uint32_t columns_read = 0;
  std::uint64_t own_entries = 0;
  ColumnDecoder scanner;
  ColumnDecoder decoder;
  std::vector<std::shared_ptr<const ColumnText>> taken;  // by the last run
};

std::vector<ColumnDecoder::Sibling> ColumnSetReader::State::siblings_from(std::uint32_t first,
                                                                          DecodedGroup* group,
                                                                          bool wanted) const {
  std::vector<ColumnDecoder::Sibling> siblings;
  const std::size_t end = std::min<std::size_t>(first + most_joined_columns, shapes.size());
  for (std::uint32_t j = first; j < end; ++j) {
    const bool common = shapes[j].group == shapes[first].group && shapes[j].rows == shapes[first].rows;
    siblings.push_back({shapes[j].rows, common ? group : nullptr, wanted, j});
  }
  return siblings;
}

std::size_t ColumnSetReader::State::run(ColumnDecoder& runner, std::uint32_t first, bool wanted) {
  taken.clear();
  return runner.take(siblings_from(first, &group_of(first), wanted), taken);
}

// A unit that was read past, or whose place in its group was kept, once more.
void ColumnSetReader::State::replay(ColumnDecoder& runner, const Unit& unit, bool wanted) {
  const DecodedGroup::Replay again(group_of(unit.first), unit.group_size, unit.entries);
  runner.cursors().cursors = unit.begin;
  if (run(runner, unit.first, wanted) != unit.columns || !again.complete())
    runner.cursors()[Kind::descriptor].corrupt("columns in streams of their own are others than was said");
  if (unit.own) expect_all_read(runner.cursors().cursors);
}

void ColumnSetReader::State::read_past_own(Unit& unit) {
  StreamCursor& descriptor = scanner.cursors()[Kind::descriptor];
  descriptor.byte();
  unit.own = true;
  unit.columns = static_cast<std::uint32_t>(descriptor.number(shapes.size() - unit.first));
  if (unit.columns == 0) descriptor.corrupt("a descriptor of no column");
  const std::uint64_t entries = descriptor.number(most_own_entries - own_entries);
  own_entries += entries;
  unit.entries = static_cast<std::size_t>(entries);
  group_of(unit.first).reserve_places(unit.entries, unit.first);
}

void ColumnSetReader::State::read_past_next() {
  Unit unit;
  unit.first = columns_read;
  unit.group_size = group_of(columns_read).size();
  StreamCursor& descriptor = scanner.cursors()[Kind::descriptor];
  if (shapes[columns_read].rows > 0 && descriptor.remaining() > 0 &&
      descriptor.peek() == column_code::own_streams) {
    read_past_own(unit);
  } else {
    unit.begin = scanner.cursors().cursors;
    unit.columns = static_cast<std::uint32_t>(run(scanner, columns_read, false));
    unit.entries = group_of(columns_read).size() - unit.group_size;
    unit.references = scanner.take_references();
    unit.scanned = true;
  }
  for (std::uint32_t j = 0; j < unit.columns; ++j) unit_of[columns_read + j] = units.size();
  columns_read += unit.columns;
  units.push_back(std::move(unit));
  if (columns_read == shapes.size()) expect_all_read(scanner.cursors().cursors);
}

// Finds what a unit in streams of its own refers to.
void ColumnSetReader::State::scan(Unit& unit) {
  if (unit.scanned) return;
  unit.begin = cursors_over(loader(unit.first + 1), unit.first + 1);
  // All that is read past has one budget.
  ColumnDecoder own(scanner.cursors().budget);
  replay(own, unit, false);
  scanner.cursors().budget = own.cursors().budget;
  unit.references = own.take_references();
  unit.scanned = true;
}

void ColumnSetReader::State::decode(Unit& unit) {
  replay(decoder, unit, true);
  decoder.take_references();
  for (std::uint32_t j = 0; j < unit.columns; ++j) values[unit.first + j] = taken[j];
  unit.decoded = true;
}

// References point backwards, so the units needed are decoded in their order.
void ColumnSetReader::State::decode_with_references(std::size_t index) {
  std::set<std::size_t> needed = {index};
  std::vector<std::size_t> open = {index};
  while (!open.empty()) {
    Unit& unit = units[open.back()];
    open.pop_back();
    if (unit.decoded) continue;
    scan(unit);
    for (const std::uint32_t column : unit.references) {
      if (needed.insert(unit_of[column]).second) open.push_back(unit_of[column]);
    }
  }
  for (const std::size_t one : needed) {
    if (!units[one].decoded) decode(units[one]);
  }
}

ColumnSetReader::ColumnSetReader(std::span<const ColumnShape> shapes, std::uint64_t value_bytes,
                                 Loader loader)
    : state_(std::make_unique<State>(shapes, value_bytes, std::move(loader))) {}
ColumnSetReader::~ColumnSetReader() = default;
ColumnSetReader::ColumnSetReader(ColumnSetReader&&) noexcept = default;
ColumnSetReader& ColumnSetReader::operator=(ColumnSetReader&&) noexcept = default;

const ColumnText& ColumnSetReader::column(std::uint32_t index) {
  require(index < state_->shapes.size(), "a column of the set");
  while (state_->columns_read <= index) state_->read_past_next();
  state_->decode_with_references(state_->unit_of[index]);
  return *state_->values[index];
}

namespace {

// One pass over everything: how the format reads without places kept and units read twice. What
// ColumnSetReader gives is tested and fuzzed against it.
class WholeSet {
 public:
  WholeSet(std::span<const ColumnStreamView> streams, std::span<const ColumnShape> shapes,
           std::uint64_t value_bytes)
      : streams_(streams), shapes_(shapes), decoder_(decoding_budget(shapes.size(), value_bytes)) {
    decoder_.cursors().cursors = cursors_over(streams, 0);
  }

  std::vector<std::shared_ptr<const ColumnText>> decode() {
    while (values_.size() < shapes_.size()) take_next();
    expect_all_read(decoder_.cursors().cursors);
    return std::move(values_);
  }

 private:
  void take_next() {
    const auto first = static_cast<std::uint32_t>(values_.size());
    std::vector<ColumnDecoder::Sibling> siblings;
    for (std::uint32_t j = first; j < shapes_.size() && j < first + most_joined_columns; ++j) {
      siblings.push_back({shapes_[j].rows, &groups_[{shapes_[j].group, shapes_[j].rows}], true, j});
    }
    StreamCursor& descriptor = decoder_.cursors()[Kind::descriptor];
    if (shapes_[first].rows == 0 || descriptor.remaining() == 0 ||
        descriptor.peek() != column_code::own_streams) {
      decoder_.take(siblings, values_);
      return;
    }
    descriptor.byte();
    const std::uint64_t columns = descriptor.varint();
    const std::uint64_t entries = descriptor.varint();
    const std::size_t before = siblings.front().group->size();
    const auto shared = decoder_.cursors().cursors;
    decoder_.cursors().cursors = cursors_over(streams_, first + 1);
    const std::size_t taken = decoder_.take(siblings, values_);
    expect_all_read(decoder_.cursors().cursors);
    decoder_.cursors().cursors = shared;
    if (taken != columns || siblings.front().group->size() - before != entries) {
      decoder_.cursors()[Kind::descriptor].corrupt(
          "columns in streams of their own are others than was said");
    }
  }

  std::span<const ColumnStreamView> streams_;
  std::span<const ColumnShape> shapes_;
  ColumnDecoder decoder_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, DecodedGroup> groups_;
  std::vector<std::shared_ptr<const ColumnText>> values_;
};

}  // namespace

std::vector<std::shared_ptr<const ColumnText>> decode_columns(std::span<const ColumnStreamView> streams,
                                                              std::span<const ColumnShape> shapes,
                                                              std::uint64_t value_bytes) {
  return WholeSet(streams, shapes, value_bytes).decode();
}

std::vector<std::shared_ptr<const ColumnText>> decode_columns(std::span<const ColumnStream> streams,
                                                              std::span<const ColumnShape> shapes,
                                                              std::uint64_t value_bytes) {
  std::vector<ColumnStreamView> views;
  for (const ColumnStream& stream : streams) views.push_back({stream.kind, stream.owner, stream.bytes});
  return decode_columns(views, shapes, value_bytes);
}

}  // namespace laconic
