// Which template ids a long sequence has, and how often each occurs in every run of it.
//
// The sequence is cut into runs of about 16,384 ids that are coded apart, so that a reader of a few lines
// decodes one run and knows from the counts of those before it how many values its columns have had.
//
// Bytes: varint length; range-coded for every id, ascending, its distance from the one before less 1 (from
// -1), then its count in each run. All are adaptive numbers (engine/coding/adaptive_models.h): one model for
// distances; one for counts of the first run, by the width of that of the id before; one for the others, by
// the width of the count of the same id in the run before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic::logzip {

struct IdRunCounts {
  std::vector<std::uint32_t> ids;                 // ascending
  std::vector<std::vector<std::uint32_t>> lines;  // of each run, by place in ids
};

// How many runs a sequence has, and where run `run` begins.
std::size_t id_runs(std::size_t count);
std::size_t run_begin(std::size_t count, std::size_t runs, std::size_t run);

void write_id_counts(const IdRunCounts& counts, ByteWriter& writer);
// Of `distinct` ids below `limit` in `count` lines; each occurs. Error(corrupt) on other bytes.
IdRunCounts read_id_counts(ByteReader& reader, std::size_t distinct, std::size_t count, std::size_t runs,
                           std::uint32_t limit, std::string_view where);

}  // namespace laconic::logzip
