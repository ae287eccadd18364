#include "methods/text/logzip/id_counts.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "engine/coding/adaptive_models.h"

namespace laconic::logzip {
namespace {

constexpr std::size_t run_lines = 16384;

struct CountModels {
  AdaptiveNumber distance;
  std::array<AdaptiveNumber, AdaptiveNumber::widths> first, next;
};

std::size_t width_of(std::uint32_t number) { return static_cast<std::size_t>(std::bit_width(number)); }

}  // namespace

std::size_t id_runs(std::size_t count) {
  return std::max<std::size_t>(1, (count + run_lines / 2) / run_lines);
}

std::size_t run_begin(std::size_t count, std::size_t runs, std::size_t run) { return count * run / runs; }

void write_id_counts(const IdRunCounts& counts, ByteWriter& writer) {
  CountModels models;
  RangeEncoder encoder;
  std::uint32_t expected = 0, before = 0;
  for (std::size_t i = 0; i < counts.ids.size(); ++i) {
    models.distance.encode(encoder, counts.ids[i] - expected);
    expected = counts.ids[i] + 1;
    std::uint32_t near = before;
    for (std::size_t run = 0; run < counts.lines.size(); ++run) {
      auto& set = run == 0 ? models.first : models.next;
      set[width_of(near)].encode(encoder, counts.lines[run][i]);
      near = counts.lines[run][i];
    }
    before = counts.lines[0][i];
  }
  const Bytes coded = encoder.take();
  writer.varint(coded.size());
  writer.append(coded);
}

IdRunCounts read_id_counts(ByteReader& reader, std::size_t distinct, std::size_t count, std::size_t runs,
                           std::uint32_t limit, std::string_view where) {
  IdRunCounts counts;
  counts.lines.resize(runs);
  const ByteSpan coded = reader.take(reader.length(reader.remaining()));
  CountModels models;
  RangeDecoder decoder(coded, where);
  std::uint64_t expected = 0;
  std::uint32_t before = 0;
  std::vector<std::uint64_t> left(runs);
  for (std::size_t run = 0; run < runs; ++run)
    left[run] = run_begin(count, runs, run + 1) - run_begin(count, runs, run);
  for (std::size_t i = 0; i < distinct; ++i) {
    const std::uint64_t id = expected + models.distance.decode(decoder);
    if (id >= limit) reader.corrupt("a template id out of range");
    expected = id + 1;
    counts.ids.push_back(static_cast<std::uint32_t>(id));
    std::uint32_t near = before;
    bool occurs = false;
    for (std::size_t run = 0; run < runs; ++run) {
      auto& set = run == 0 ? models.first : models.next;
      near = set[width_of(near)].decode(decoder);
      if (near > left[run]) reader.corrupt("template ids for more lines than there are");
      left[run] -= near;
      occurs |= near > 0;
      counts.lines[run].push_back(near);
    }
    if (!occurs) reader.corrupt("a template id without lines");
    before = counts.lines[0][i];
  }
  decoder.expect_end();
  if (std::ranges::any_of(left, [](std::uint64_t lines) { return lines > 0; }))
    reader.corrupt("template ids for fewer lines than there are");
  return counts;
}

}  // namespace laconic::logzip
