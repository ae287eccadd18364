#include "engine/attention/io_model.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr std::int64_t most_rows = std::int64_t{1} << 24, most_columns = 4096;

std::uint64_t count(std::int64_t words) { return static_cast<std::uint64_t>(words); }
std::int64_t blocks_of(std::int64_t size, std::int64_t block) { return (size + block - 1) / block; }

// Keys that at least one of the queries [begin, end) sees.
IndexRange keys_of_block(const AttentionShape& shape, std::int64_t begin, std::int64_t end) {
  const IndexRange first = shape.mask.keys_of(begin, shape.keys),
                   last = shape.mask.keys_of(end - 1, shape.keys);
  return {first.begin, last.end};
}

struct Counted {
  MovedWords traffic;
  std::uint64_t key_values = 0;  // among the reads
  void read_key_values(std::uint64_t words) {
    traffic.reads += words;
    key_values += words;
  }
};

Counted count_fa1(const AttentionShape& shape, const ScheduleTiles& tiles) {
  Counted counted;
  const std::int64_t d = shape.head_dim;
  for (std::int64_t key = 0; key < shape.keys; key += tiles.Bc) {
    const IndexRange keys{key, std::min(shape.keys, key + tiles.Bc)};
    const IndexRange seeing = shape.mask.queries_of(keys, shape.queries);
    if (seeing.size() == 0) continue;
    const std::int64_t rows = std::min(shape.queries, blocks_of(seeing.end, tiles.Br) * tiles.Br) -
                              seeing.begin / tiles.Br * tiles.Br;
    counted.read_key_values(count(2 * keys.size() * d));
    counted.traffic.reads += count(rows) * count(2 * d + 2);
    counted.traffic.writes += count(rows) * count(d + 2);
  }
  return counted;
}

Counted count_qstat(const AttentionShape& shape, const ScheduleTiles& tiles) {
  Counted counted;
  const std::int64_t d = shape.head_dim;
  for (std::int64_t row = 0; row < shape.queries; row += tiles.Br) {
    const std::int64_t end = std::min(shape.queries, row + tiles.Br), rows = end - row;
    const std::int64_t keys = keys_of_block(shape, row, end).size();
    if (keys > 0) counted.traffic.reads += count(rows * d);
    counted.read_key_values(count(2 * d * keys));
    counted.traffic.writes += count(rows * d);
  }
  return counted;
}

Counted count_small(const AttentionShape& shape, const ScheduleTiles& tiles) {
  Counted counted;
  const std::int64_t d = shape.head_dim, b = tiles.b, column_blocks = blocks_of(d, b);
  for (std::int64_t row = 0; row < shape.queries; row += b) {
    const std::int64_t end = std::min(shape.queries, row + b), rows = end - row;
    const IndexRange keys = keys_of_block(shape, row, end);
    counted.traffic.writes += count(rows * d);
    if (keys.size() == 0) continue;
    const std::int64_t first = keys.begin / b, last = blocks_of(keys.end, b);
    const std::int64_t covered = std::min(shape.keys, last * b) - first * b;
    // A column of Q and of K for every rank-1 update of a tile of S, then m and l.
    counted.traffic.reads += count(d) * count(rows * (last - first));
    counted.read_key_values(count(d) * count(covered));
    counted.traffic.writes += count(rows * covered) + count(2 * rows);
    // For every block of columns of V: m, l and S.
    counted.traffic.reads += count(column_blocks) * count(2 * rows + rows * keys.size());
    counted.read_key_values(count(keys.size() * d));
  }
  return counted;
}

Counted counted_of(AttentionSchedule schedule, const AttentionShape& shape, const ScheduleTiles& tiles) {
  validate(shape);
  switch (schedule) {
    case AttentionSchedule::fa1:
      require(tiles.Bc >= 1 && tiles.Br >= 1, "blocks of fa1 hold a row");
      return count_fa1(shape, tiles);
    case AttentionSchedule::qstat:
      require(tiles.Br >= 1, "a block of qstat holds a row");
      return count_qstat(shape, tiles);
    default:
      require(tiles.b >= 1, "a tile of scores holds one");
      return count_small(shape, tiles);
  }
}

}  // namespace

void validate(const AttentionShape& shape) {
  if (shape.queries < 1 || shape.keys < 1 || shape.head_dim < 1) {
    fail(ErrorKind::usage,
         fmt::format("attention of {} queries over {} keys of size {} is empty", shape.queries, shape.keys,
                     shape.head_dim),
         "attention", "every side is at least 1");
  }
  if (shape.queries > most_rows || shape.keys > most_rows || shape.head_dim > most_columns) {
    fail(ErrorKind::usage,
         fmt::format("{} queries over {} keys of size {} cannot be counted", shape.queries, shape.keys,
                     shape.head_dim),
         "attention", fmt::format("at most {} rows of {} numbers", most_rows, most_columns));
  }
  if (shape.mask.window < 0)
    fail(ErrorKind::usage, "a window of attention is at least 1, or 0 for none", "attention");
}

std::string_view name_of(AttentionSchedule schedule) {
  switch (schedule) {
    case AttentionSchedule::fa1:
      return "fa1";
    case AttentionSchedule::qstat:
      return "qstat";
    default:
      return "small";
  }
}

std::int64_t minimum_words(AttentionSchedule schedule, std::int64_t head_dim) {
  return schedule == AttentionSchedule::small ? 12 : 4 * head_dim + 8;
}

ScheduleTiles tiles_of(AttentionSchedule schedule, const AttentionShape& shape, std::int64_t words) {
  validate(shape);
  const std::int64_t d = shape.head_dim, minimum = minimum_words(schedule, d);
  if (words < minimum) {
    fail(ErrorKind::usage,
         fmt::format("{} words are an impossible budget for schedule {}", words, name_of(schedule)),
         "attention", fmt::format("it needs at least {} words at head size {}", minimum, d));
  }
  ScheduleTiles tiles;
  switch (schedule) {
    case AttentionSchedule::fa1:
      tiles.Bc = std::clamp<std::int64_t>(words / (4 * d), 1, shape.keys);
      tiles.Br = std::min({tiles.Bc, d, shape.queries});
      break;
    case AttentionSchedule::qstat:
      tiles.Br = std::clamp<std::int64_t>((words - 2 * d) / (2 * d + 3), 1, shape.queries);
      tiles.Bc = 1;
      break;
    default: {
      std::int64_t root = std::llround(std::sqrt(static_cast<double>(words + 4)));
      while (root * root > words + 4) --root;
      tiles.b = std::min(root - 2, std::max({shape.queries, shape.keys, d}));
    }
  }
  return tiles;
}

MovedWords traffic_of(AttentionSchedule schedule, const AttentionShape& shape, const ScheduleTiles& tiles) {
  return counted_of(schedule, shape, tiles).traffic;
}

std::uint64_t key_value_reads(AttentionSchedule schedule, const AttentionShape& shape,
                              const ScheduleTiles& tiles) {
  return counted_of(schedule, shape, tiles).key_values;
}

std::uint64_t visible_pairs(const AttentionShape& shape) {
  std::uint64_t pairs = 0;
  for (std::int64_t query = 0; query < shape.queries; ++query)
    pairs += count(shape.mask.keys_of(query, shape.keys).size());
  return pairs;
}

std::uint64_t least_traffic(const AttentionShape& shape, std::int64_t words) {
  validate(shape);
  require(words >= 1, "fast memory holds a word");
  const auto d = static_cast<double>(shape.head_dim), m = static_cast<double>(words);
  const double bound = static_cast<double>(visible_pairs(shape)) * d / (m / d + 2 * std::sqrt(m)) - m;
  // Rows that take part are moved once: Q and O of queries that see a key, K and V of keys that are seen.
  std::int64_t queries = 0, keys = 0, seen = 0;
  for (std::int64_t query = 0; query < shape.queries; ++query) {
    const IndexRange range = shape.mask.keys_of(query, shape.keys);
    if (range.size() == 0) continue;
    ++queries;
    keys += std::max<std::int64_t>(0, range.end - std::max(seen, range.begin));
    seen = std::max(seen, range.end);
  }
  const std::uint64_t once = 2 * count(queries + keys) * count(shape.head_dim);
  return bound > static_cast<double>(once) ? static_cast<std::uint64_t>(std::llround(bound)) : once;
}

std::int64_t degrees_of_freedom(std::int64_t q, std::int64_t k, std::int64_t d) {
  return std::min(q, k) <= d ? q * k : d * (q + k - d);
}

}  // namespace laconic
