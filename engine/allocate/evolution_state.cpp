#include <algorithm>

#include "engine/allocate/evolution.h"
#include "engine/base/error.h"
#include "engine/base/saved_state.h"

namespace laconic {
namespace {

constexpr std::uint64_t state_version = 1;
constexpr std::uint64_t unit_limit = std::uint64_t{1} << 24, level_limit = std::uint64_t{1} << 16,
                        generation_limit = std::uint64_t{1} << 31;

void write_levels(ByteWriter& writer, const Assignment& levels) {
  writer.varint(levels.size());
  for (int level : levels) writer.varint(static_cast<std::uint64_t>(level));
}

Assignment read_levels(ByteReader& reader) {
  const std::uint64_t units = reader.length(std::min<std::uint64_t>(unit_limit, reader.remaining()));
  Assignment levels;
  for (std::uint64_t u = 0; u < units; ++u) levels.push_back(static_cast<int>(reader.length(level_limit)));
  return levels;
}

}  // namespace

Bytes save_evolution(const EvolutionState& state) {
  ByteWriter writer;
  writer.varint(state_version);
  write_levels(writer, state.parent);
  write_levels(writer, state.best);
  writer.varint(static_cast<std::uint64_t>(state.generation));
  writer.f64(state.best_fitness);
  writer.varint(state.history.size());
  for (double value : state.history) writer.f64(value);
  return sealed(std::move(writer));
}

EvolutionState load_evolution(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.varint() != state_version) reader.corrupt("is a state of another version");
  EvolutionState state;
  state.parent = read_levels(reader);
  state.best = read_levels(reader);
  if (state.best.size() != state.parent.size()) reader.corrupt("parent and best have different units");
  state.generation = static_cast<int>(reader.length(generation_limit - 1));
  state.best_fitness = reader.f64();
  const std::uint64_t count = reader.length(reader.remaining() / sizeof(double) + 1);
  for (std::uint64_t i = 0; i < count; ++i) state.history.push_back(reader.f64());
  reader.expect_end();
  return state;
}

}  // namespace laconic
