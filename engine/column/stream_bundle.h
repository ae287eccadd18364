// Streams of bytes, coded together or apart, behind a directory of a few bytes per stream.
//
// Streams are coded in units: one unit per group of streams, or one for all groups, and one of its own for
// every stream above a size, which can then be read without the others and by whichever of the coders stored,
// rANS (values by chance, where nothing repeats) and the kernel's makes it smallest. Bundle:
//   varint units; per unit: varint 8 streams + coder; per stream: varint step of its id from the one before
//   it in the unit, plus one (the first: from 0), varint length; varint length of the coded unit, but for the
//   last one the coded units, in order; the last one takes the rest
// A unit that its coder does not make smaller is stored.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/column/byte_kernel.h"

namespace laconic {

struct BundleStream {
  std::uint32_t id = 0;     // the caller's name for it; ascending within a group, and each once
  std::uint32_t group = 0;  // streams of a group are coded together, in the order given
  ByteSpan bytes;
};

enum class BundleGrouping : std::uint8_t {
  together,  // all groups are one unit
  smallest,  // that, or every group is a unit: whichever takes fewer bytes (twice the work)
};

struct BundleOptions {
  ByteKernel kernel;
  BundleGrouping grouping = BundleGrouping::smallest;
  // Streams of more bytes are units of their own. 0: none is.
  std::uint64_t own_unit_bytes = 0;
};

// Requires ascending ids within every unit that the options make.
Bytes pack_streams(std::span<const BundleStream> streams, const BundleOptions& options = {});

// Reads the directory at once and each unit when one of its streams is asked for. Error(corrupt) on damage.
class BundleReader {
 public:
  // `raw_limit` bounds the bytes of all streams together, before anything is allocated. The bundle must
  // outlive the reader. `where` names it in error messages.
  BundleReader(ByteSpan bundle, std::uint64_t raw_limit, std::string where);

  std::size_t size() const { return entries_.size(); }
  std::uint32_t id(std::size_t index) const { return entries_[index].id; }
  std::uint64_t raw_size(std::size_t index) const { return entries_[index].size; }
  // Valid as long as the reader. read_id: an empty span when there is no such stream. An id that is there
  // twice is an Error(corrupt).
  ByteSpan read(std::size_t index);
  ByteSpan read_id(std::uint32_t id);

 private:
  struct Entry {
    std::uint32_t id = 0;
    std::size_t unit = 0;
    std::uint64_t begin = 0;  // in its unit
    std::uint64_t size = 0;
  };
  struct Unit {
    ByteCoder coder = ByteCoder::stored;
    std::uint64_t raw_size = 0;
    ByteSpan coded;
    Bytes raw;
    bool expanded = false;
  };
  std::uint64_t read_unit_directory(ByteReader& reader, std::uint64_t raw_limit);

  void index_by_id(const ByteReader& reader);

  std::string where_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> by_id_;  // entries, ids ascending
  std::vector<Unit> units_;
};

}  // namespace laconic
