#include "methods/gradients/federated/federated_checkpoint.h"

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/saved_state.h"
#include "methods/gradients/training/training_checkpoint.h"

namespace laconic {
namespace {

constexpr std::string_view federated_magic = "laconic federated 1";
constexpr const char* federated_file = "federated.state";

}  // namespace

bool has_federated_checkpoint(const std::filesystem::path& directory) {
  std::error_code ignored;
  return std::filesystem::exists(directory / federated_file, ignored);
}

void save_federated(const std::filesystem::path& directory, const std::string& settings,
                    const FederatedState& state) {
  std::filesystem::create_directories(directory);
  write_file(directory / federated_file, ByteSpan(federated_bytes(settings, state)));
}

Bytes federated_bytes(const std::string& settings, const FederatedState& state) {
  ByteWriter writer;
  writer.text(federated_magic);
  writer.text(settings);
  writer.varint(static_cast<std::uint64_t>(state.round));
  writer.varint(static_cast<std::uint64_t>(state.refused));
  writer.varint(state.bytes_up);
  writer.varint(state.bytes_down);
  writer.f64(state.seconds);
  writer.varint(state.algorithm.size());
  writer.append(state.algorithm);
  return sealed(std::move(writer));
}

FederatedState load_federated(const std::filesystem::path& directory, const std::string& settings) {
  if (!has_federated_checkpoint(directory)) {
    fail(ErrorKind::usage, "holds no checkpoint to resume from", directory.string(),
         "start without --resume");
  }
  const std::filesystem::path path = directory / federated_file;
  return parse_federated(read_file(path, std::size_t{1} << 40), settings, path.string());
}

FederatedState parse_federated(ByteSpan bytes, const std::string& settings, const std::string& where) {
  ByteReader reader(unsealed(bytes, where), where);
  if (reader.text(64) != federated_magic) reader.corrupt("not the state of federated training");
  require_same_settings(reader.text(1 << 24), settings, where);
  FederatedState state;
  state.round = static_cast<std::int64_t>(reader.length(std::uint64_t{1} << 62));
  state.refused = static_cast<std::int64_t>(reader.length(std::uint64_t{1} << 62));
  state.bytes_up = reader.varint();
  state.bytes_down = reader.varint();
  state.seconds = reader.f64();
  if (!std::isfinite(state.seconds) || state.seconds < 0) reader.corrupt("a time that no run takes");
  const ByteSpan algorithm = reader.take(reader.length(reader.remaining()));
  state.algorithm.assign(algorithm.begin(), algorithm.end());
  reader.expect_end();
  return state;
}

}  // namespace laconic
