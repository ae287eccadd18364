#include "engine/column/stream_bundle.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "engine/base/error.h"

namespace laconic {
namespace {

using StreamsOfUnit = std::vector<const BundleStream*>;

std::vector<StreamsOfUnit> units_of(std::span<const BundleStream> streams, const BundleOptions& options,
                                    bool together) {
  std::map<std::uint32_t, StreamsOfUnit> groups;
  std::vector<StreamsOfUnit> large;
  for (const BundleStream& stream : streams) {
    if (options.own_unit_bytes > 0 && stream.bytes.size() > options.own_unit_bytes) {
      large.push_back({&stream});
    } else {
      groups[together ? 0 : stream.group].push_back(&stream);
    }
  }
  std::vector<StreamsOfUnit> units;
  for (auto& [group, members] : groups) units.push_back(std::move(members));
  units.insert(units.end(), large.begin(), large.end());
  return units;
}

void put_unit_directory(ByteWriter& directory, const StreamsOfUnit& unit, ByteCoder coder) {
  directory.varint(4 * std::uint64_t{unit.size()} + static_cast<std::uint8_t>(coder));
  std::uint32_t next = 0;
  for (const BundleStream* stream : unit) {
    require(stream->id >= next, "ids of a unit ascend");
    directory.varint(stream->id - next);
    next = stream->id + 1;
    directory.varint(stream->bytes.size());
  }
}

Bytes pack_units(const std::vector<StreamsOfUnit>& units, const ByteKernel& kernel) {
  ByteWriter directory;
  Bytes coded_units;
  directory.varint(units.size());
  for (const StreamsOfUnit& unit : units) {
    Bytes raw;
    for (const BundleStream* stream : unit) raw.insert(raw.end(), stream->bytes.begin(), stream->bytes.end());
    Bytes coded = kernel_compress(kernel, raw);
    const bool smaller = coded.size() < raw.size();
    const Bytes& kept = smaller ? coded : raw;
    put_unit_directory(directory, unit, smaller ? kernel.coder : ByteCoder::stored);
    if (&unit != &units.back()) directory.varint(kept.size());
    coded_units.insert(coded_units.end(), kept.begin(), kept.end());
  }
  directory.append(coded_units);
  return directory.take();
}

}  // namespace

Bytes pack_streams(std::span<const BundleStream> streams, const BundleOptions& options) {
  if (options.grouping != BundleGrouping::smallest) {
    return pack_units(units_of(streams, options, options.grouping == BundleGrouping::together),
                      options.kernel);
  }
  const std::vector<StreamsOfUnit> together = units_of(streams, options, true);
  const std::vector<StreamsOfUnit> apart = units_of(streams, options, false);
  Bytes smallest = pack_units(together, options.kernel);
  if (apart == together) return smallest;
  Bytes other = pack_units(apart, options.kernel);
  return other.size() < smallest.size() ? other : smallest;
}

BundleReader::BundleReader(ByteSpan bundle, std::uint64_t raw_limit, std::string where)
    : where_(std::move(where)) {
  ByteReader reader(bundle, where_);
  const std::uint64_t units = reader.length(bundle.size());
  std::vector<std::uint64_t> coded_sizes;
  for (std::uint64_t unit = 0; unit < units; ++unit) {
    raw_limit -= read_unit_directory(reader, raw_limit);
    if (unit + 1 < units) coded_sizes.push_back(reader.length(bundle.size()));
  }
  for (std::size_t unit = 0; unit < coded_sizes.size(); ++unit)
    units_[unit].coded = reader.take(coded_sizes[unit]);
  if (units_.empty()) {
    reader.expect_end();
  } else {
    units_.back().coded = reader.take(reader.remaining());
  }
}

std::uint64_t BundleReader::read_unit_directory(ByteReader& reader, std::uint64_t raw_limit) {
  const std::uint64_t head = reader.varint();
  Unit unit;
  unit.coder = static_cast<ByteCoder>(head % byte_coders);
  std::uint64_t next = 0;
  for (std::uint64_t left = head / byte_coders; left > 0; --left) {
    Entry entry;
    next += reader.length(std::numeric_limits<std::uint32_t>::max() - next);
    entry.id = static_cast<std::uint32_t>(next++);
    entry.unit = units_.size();
    entry.begin = unit.raw_size;
    entry.size = reader.length(raw_limit - unit.raw_size);
    unit.raw_size += entry.size;
    entries_.push_back(entry);
    if (next > std::numeric_limits<std::uint32_t>::max() && left > 1) reader.corrupt("an id is too large");
  }
  const std::uint64_t raw_size = unit.raw_size;
  units_.push_back(std::move(unit));
  return raw_size;
}

ByteSpan BundleReader::read(std::size_t index) {
  const Entry& entry = entries_[index];
  Unit& unit = units_[entry.unit];
  if (!unit.expanded) {
    unit.raw.resize(unit.raw_size);
    kernel_expand(unit.coder, unit.coded, unit.raw, where_);
    unit.expanded = true;
  }
  return ByteSpan(unit.raw).subspan(entry.begin, entry.size);
}

ByteSpan BundleReader::read_id(std::uint32_t id) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [id](const Entry& e) { return e.id == id; });
  return found == entries_.end() ? ByteSpan{} : read(static_cast<std::size_t>(found - entries_.begin()));
}

}  // namespace laconic
