#include "engine/column/stream_bundle.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "engine/base/error.h"
#include "engine/coding/rans_bytes.h"

namespace laconic {
namespace {

constexpr std::uint64_t coder_places = 8;  // a unit's head is so many times its streams, plus its coder

struct StreamsOfUnit {
  std::vector<const BundleStream*> members;
  bool own = false;  // one large stream

  std::size_t size() const {
    std::size_t bytes = 0;
    for (const BundleStream* stream : members) bytes += stream->bytes.size();
    return bytes;
  }
  Bytes bytes() const {
    Bytes all;
    all.reserve(size());
    for (const BundleStream* stream : members)
      all.insert(all.end(), stream->bytes.begin(), stream->bytes.end());
    return all;
  }
};

std::vector<StreamsOfUnit> units_of(std::span<const BundleStream> streams, const BundleOptions& options,
                                    bool together) {
  std::map<std::uint32_t, StreamsOfUnit> groups;
  std::vector<StreamsOfUnit> large;
  for (const BundleStream& stream : streams) {
    if (options.own_unit_bytes > 0 && stream.bytes.size() > options.own_unit_bytes) {
      large.push_back({{&stream}, true});
    } else {
      groups[together ? 0 : stream.group].members.push_back(&stream);
    }
  }
  std::vector<StreamsOfUnit> units;
  for (auto& [group, members] : groups) units.push_back(std::move(members));
  units.insert(units.end(), large.begin(), large.end());
  return units;
}

void put_unit_directory(ByteWriter& directory, const StreamsOfUnit& unit, ByteCoder coder) {
  directory.varint(coder_places * unit.members.size() + static_cast<std::uint8_t>(coder));
  std::uint32_t next = 0;
  for (const BundleStream* stream : unit.members) {
    require(stream->id >= next, "ids of a unit ascend");
    directory.varint(stream->id - next);
    next = stream->id + 1;
    directory.varint(stream->bytes.size());
  }
}

struct CodedUnit {
  ByteCoder coder = ByteCoder::stored;
  Bytes bytes;
};

CodedUnit code_unit(const StreamsOfUnit& unit, const ByteKernel& kernel) {
  const bool alone = unit.members.size() == 1;
  const Bytes joined = alone ? Bytes() : unit.bytes();
  const ByteSpan raw = alone ? unit.members[0]->bytes : ByteSpan(joined);
  CodedUnit best;
  std::size_t smallest = raw.size();
  const auto offer = [&](ByteCoder coder, Bytes coded) {
    if (coded.size() >= smallest) return;
    smallest = coded.size();
    best = {coder, std::move(coded)};
  };
  if (unit.own && kernel.coder != ByteCoder::context_mixing) offer(ByteCoder::rans, rans_compress(raw));
  offer(kernel.coder, kernel_compress(kernel, raw));
  if (best.coder == ByteCoder::stored) best.bytes.assign(raw.begin(), raw.end());
  return best;
}

// A bundle in the making: own units are coded once, whatever becomes of the others.
class BundleWriter {
 public:
  explicit BundleWriter(const ByteKernel& kernel) : kernel_(kernel) {}

  Bytes pack(const std::vector<StreamsOfUnit>& units) {
    ByteWriter directory;
    Bytes coded_units;
    directory.varint(units.size());
    for (const StreamsOfUnit& unit : units) {
      const CodedUnit& coded = coded_unit(unit);
      put_unit_directory(directory, unit, coded.coder);
      if (&unit != &units.back()) directory.varint(coded.bytes.size());
      coded_units.insert(coded_units.end(), coded.bytes.begin(), coded.bytes.end());
    }
    directory.append(coded_units);
    return directory.take();
  }

 private:
  const CodedUnit& coded_unit(const StreamsOfUnit& unit) {
    const auto known = coded_.find(unit.members);
    if (known != coded_.end()) return known->second;
    return coded_.emplace(unit.members, code_unit(unit, kernel_)).first->second;
  }

  const ByteKernel& kernel_;
  std::map<std::vector<const BundleStream*>, CodedUnit> coded_;
};

}  // namespace

Bytes pack_streams(std::span<const BundleStream> streams, const BundleOptions& options) {
  BundleWriter writer(options.kernel);
  const std::vector<StreamsOfUnit> together = units_of(streams, options, true);
  if (options.grouping == BundleGrouping::together) return writer.pack(together);
  const std::vector<StreamsOfUnit> apart = units_of(streams, options, false);
  Bytes smallest = writer.pack(together);
  if (apart.size() == together.size()) return smallest;
  Bytes other = writer.pack(apart);
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
  index_by_id(reader);
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
  if (head % coder_places >= byte_coders) reader.corrupt("an unknown coder");
  unit.coder = static_cast<ByteCoder>(head % coder_places);
  std::uint64_t next = 0;
  for (std::uint64_t left = head / coder_places; left > 0; --left) {
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

void BundleReader::index_by_id(const ByteReader& reader) {
  by_id_.resize(entries_.size());
  std::iota(by_id_.begin(), by_id_.end(), 0U);
  const auto id_of = [this](std::uint32_t index) { return entries_[index].id; };
  std::ranges::sort(by_id_, {}, id_of);
  if (std::ranges::adjacent_find(by_id_, {}, id_of) != by_id_.end())
    reader.corrupt("two streams have the same id");
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
      std::ranges::lower_bound(by_id_, id, {}, [this](std::uint32_t index) { return entries_[index].id; });
  return found == by_id_.end() || entries_[*found].id != id ? ByteSpan{} : read(*found);
}

}  // namespace laconic
