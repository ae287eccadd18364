// A sequence of template ids, one per line, as bytes.
//
// Short sequences: ids are numbered by first use, so that the sequence becomes symbols, 0 for "one not seen
// yet", s > 0 for the s-th that was seen. They are coded through mixed contexts
// (engine/coding/symbol_mixing.h), bit by bit, highest first.
// Long ones: ids are numbered in ascending order, and a run at a time is coded through mixed contexts down
// the Huffman trees of its own counts (id_counts.h), of lines with header and of those without.
// Or numbers are stored plainly and coded by zstd, which is far quicker and larger.
//
// Stream: varint 2 n + plain, n distinct ids. In a sequence below `counted_ids`, or with n < 2: zig-zag
// varints of the differences of their first uses. Else their counts (id_counts.h), where plain numbers are
// one run. Then, with n > 1, the mixed symbols, of several runs after varints of the lengths of all but the
// last; or zstd of the numbers, a byte each or, with n > 256, all low bytes and all high ones (with n >
// 65,536 three of them).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic::logzip {

inline constexpr std::size_t counted_ids = 4096;

// Whether lines of a template have a header. Which ones do is easier to tell than which template they have:
// traces come in runs. None: nothing is told.
using HasHeader = std::function<bool(std::uint32_t id)>;

enum class IdCoding : std::uint8_t { mixed, plain };

// The ids of the lines from `first` on.
struct IdRun {
  std::size_t first = 0;
  std::span<const std::uint32_t> ids;
};

struct IdCount {
  std::uint32_t id = 0;
  std::uint32_t lines = 0;
};

Bytes encode_ids(std::span<const std::uint32_t> ids, IdCoding coding = IdCoding::mixed,
                 const HasHeader& has_header = {});

// Reads `count` ids, each below `limit`, from bytes that outlive it and that were coded with the same
// `has_header`; Error(corrupt) on other bytes.
class IdSequence {
 public:
  IdSequence(ByteSpan bytes, std::size_t count, std::uint32_t limit, std::string where,
             const HasHeader& has_header = {});

  std::size_t size() const { return count_; }
  // Every distinct id once. Decodes the sequence only where it is short.
  const std::vector<IdCount>& counts();
  // The whole sequence; and the run of it that holds a line. What is asked for first is decoded then.
  const std::vector<std::uint32_t>& ids();
  IdRun run_at(std::size_t line);
  // How often each id occurs in front of a run.
  std::vector<IdCount> counts_before(const IdRun& run) const;

 private:
  std::size_t begin_of(std::size_t run) const;
  void read_short(ByteReader& reader, std::size_t distinct, std::uint32_t limit);
  void read_long(ByteReader& reader, std::size_t distinct, std::uint32_t limit, const HasHeader& has_header);
  void decode(std::size_t run);
  void decode_by_first_use();
  void decode_mixed(std::size_t run);
  void decode_plain();
  void count_ids(std::size_t run);

  std::size_t count_;
  std::string where_;
  IdCoding coding_ = IdCoding::mixed;
  bool counted_ = false;
  std::vector<IdCount> distinct_;
  std::vector<std::vector<std::uint32_t>> lines_;  // of each run, as far as told, by place among the distinct
  std::vector<bool> with_header_;                  // of long sequences, likewise
  std::vector<ByteSpan> coded_;                    // of each run
  std::vector<bool> decoded_;                      // which runs
  std::vector<std::uint32_t> ids_;
};

}  // namespace laconic::logzip
