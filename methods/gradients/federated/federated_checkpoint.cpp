#include "methods/gradients/federated/federated_checkpoint.h"

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/saved_state.h"
#include "methods/gradients/training/resumable_run.h"

namespace laconic {
namespace {

constexpr CheckpointKind federated_kind = {"laconic federated 2", "the state of federated training"};
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
  ByteWriter writer = begin_checkpoint(federated_kind, settings);
  writer.varint(static_cast<std::uint64_t>(state.round));
  writer.varint(static_cast<std::uint64_t>(state.refused));
  writer.varint(state.bytes_up);
  writer.varint(state.bytes_down);
  writer.f64(state.seconds);
  write_rounds(writer, state.evaluations);
  write_part(writer, state.algorithm);
  return sealed(std::move(writer));
}

FederatedState load_federated(const std::filesystem::path& directory, const std::string& settings) {
  if (!has_federated_checkpoint(directory)) fail_without_checkpoint(directory);
  const std::filesystem::path path = directory / federated_file;
  return parse_federated(read_file(path, std::size_t{1} << 40), settings, path.string());
}

FederatedState parse_federated(ByteSpan bytes, const std::string& settings, const std::string& where) {
  ByteReader reader = open_checkpoint(federated_kind, bytes, settings, where);
  FederatedState state;
  state.round = read_count(reader);
  state.refused = read_count(reader);
  state.bytes_up = reader.varint();
  state.bytes_down = reader.varint();
  state.seconds = read_run_seconds(reader);
  state.evaluations = read_rounds(reader);
  state.algorithm = read_part(reader);
  reader.expect_end();
  return state;
}

}  // namespace laconic
