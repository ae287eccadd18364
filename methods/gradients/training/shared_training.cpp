#include "methods/gradients/training/shared_training.h"

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/saved_state.h"
#include "methods/gradients/training/resumable_run.h"

namespace laconic {
namespace {

constexpr CheckpointKind elastic_kind = {"laconic training, elastic 1", "the checkpoint of an elastic run"};
constexpr std::string_view part_names[] = {"progress", "parameters", "optimizer", "exchange"};
constexpr std::size_t part_count = std::size(part_names);

std::filesystem::path elastic_file(const std::filesystem::path& directory) {
  return directory / "elastic.state";
}

}  // namespace

std::vector<SharedPart> write_shared_training(const TrainingState& state, ByteSpan exchange) {
  ByteWriter progress;
  progress.varint(static_cast<std::uint64_t>(state.step));
  progress.varint(static_cast<std::uint64_t>(state.refused));
  write_evaluations(progress, state.evaluations);
  const ByteSpan numbers = std::as_bytes(std::span(state.parameters));
  Bytes contents[part_count] = {progress.take(), Bytes(numbers.begin(), numbers.end()), state.optimizer,
                                Bytes(exchange.begin(), exchange.end())};
  std::vector<SharedPart> parts;
  for (std::size_t i = 0; i < part_count; ++i)
    parts.push_back({std::string(part_names[i]), std::move(contents[i])});
  return parts;
}

Bytes read_shared_training(const std::vector<SharedPart>& parts, TrainingState& state) {
  constexpr std::string_view where = "state of the run";
  if (parts.size() != part_count) fail(ErrorKind::corrupt, "has other parts", where);
  for (std::size_t i = 0; i < part_count; ++i) {
    if (parts[i].name != part_names[i]) fail(ErrorKind::corrupt, "has other parts", where);
  }
  ByteReader reader(parts[0].bytes, std::string(where));
  const std::int64_t step = read_count(reader), refused = read_count(reader);
  std::vector<EvaluationRecord> evaluations = read_evaluations(reader);
  reader.expect_end();
  const Bytes& numbers = parts[1].bytes;
  if (numbers.size() != state.parameters.size() * sizeof(float))
    fail(ErrorKind::corrupt, "has another number of parameters", where);
  std::memcpy(state.parameters.data(), numbers.data(), numbers.size());
  if (!all_finite(std::span<const float>(state.parameters)))
    fail(ErrorKind::corrupt, "has a parameter that is not finite", where);
  state.step = step;
  state.refused = refused;
  state.evaluations = std::move(evaluations);
  state.seconds = state.evaluations.empty() ? 0 : state.evaluations.back().seconds;
  state.optimizer = parts[2].bytes;
  return parts[3].bytes;
}

bool has_shared_training(const std::filesystem::path& directory) {
  std::error_code ignored;
  return std::filesystem::exists(elastic_file(directory), ignored);
}

void save_shared_training(const std::filesystem::path& directory, const std::string& settings,
                          const TrainingState& state, ByteSpan exchange) {
  std::filesystem::create_directories(directory);
  ByteWriter writer = begin_checkpoint(elastic_kind, settings);
  for (const SharedPart& part : write_shared_training(state, exchange)) write_part(writer, part.bytes);
  write_file(elastic_file(directory), ByteSpan(sealed(std::move(writer))));
}

Bytes load_shared_training(const std::filesystem::path& directory, const std::string& settings,
                           TrainingState& state) {
  if (!has_shared_training(directory)) fail_without_checkpoint(directory);
  const std::string where = elastic_file(directory).string();
  const Bytes bytes = read_file(where);
  ByteReader reader = open_checkpoint(elastic_kind, bytes, settings, where);
  std::vector<SharedPart> parts;
  for (const std::string_view name : part_names) parts.push_back({std::string(name), read_part(reader)});
  reader.expect_end();
  return read_shared_training(parts, state);
}

}  // namespace laconic
