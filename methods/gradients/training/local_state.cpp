#include "methods/gradients/training/local_state.h"

#include <cmath>
#include <cstring>
#include <string>

#include "engine/base/saved_state.h"
#include "methods/gradients/training/resumable_run.h"

namespace laconic {
namespace {

constexpr std::uint64_t most_arrays = 64, longest_name = 64;
constexpr std::string_view local_magic = "laconic local steps 1";

}  // namespace

Bytes write_local_state(const LocalState& state) {
  ByteWriter writer;
  writer.text(local_magic);
  writer.varint(static_cast<std::uint64_t>(state.rounds));
  writer.varint(static_cast<std::uint64_t>(state.tau));
  writer.f64(state.path);
  writer.u8(state.broken ? 1 : 0);
  writer.varint(state.rule.size());
  for (const NamedNumbers& array : state.rule) {
    writer.text(array.name);
    write_numbers(writer, array.numbers);
  }
  write_part(writer, state.optimizer);
  write_part(writer, state.reduction);
  write_part(writer, state.carrier);
  return sealed(std::move(writer));
}

LocalState read_local_state(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.text(longest_name) != local_magic) reader.corrupt("not the state of local steps");
  LocalState state;
  state.rounds = read_count(reader);
  state.tau = read_count(reader);
  state.path = reader.f64();
  if (!std::isfinite(state.path) || state.path < 0) reader.corrupt("a path that no round has");
  const std::uint8_t broken = reader.u8();
  if (broken > 1) reader.corrupt("neither broken nor whole");
  state.broken = broken == 1;
  const std::uint64_t arrays = reader.length(most_arrays);
  for (std::uint64_t i = 0; i < arrays; ++i) {
    NamedNumbers array;
    array.name = reader.text(longest_name);
    const std::uint64_t count = reader.length(reader.remaining() / sizeof(float));
    const ByteSpan numbers = reader.take(count * sizeof(float));
    array.numbers.resize(count);
    if (count > 0) std::memcpy(array.numbers.data(), numbers.data(), numbers.size());
    state.rule.push_back(std::move(array));
  }
  state.optimizer = read_part(reader);
  state.reduction = read_part(reader);
  state.carrier = read_part(reader);
  reader.expect_end();
  return state;
}

}  // namespace laconic
