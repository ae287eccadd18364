#include "methods/gradients/training/training_checkpoint.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/saved_state.h"
#include "engine/transport/collectives.h"
#include "methods/gradients/training/resumable_run.h"

namespace laconic {
namespace {

constexpr CheckpointKind shared_kind = {"laconic training, shared 2", "the shared part of a checkpoint"};
constexpr CheckpointKind rank_kind = {"laconic training, rank 2", "a rank's part of a checkpoint"};
constexpr const char* index_name = "checkpoint.json";

std::filesystem::path shared_file(const std::filesystem::path& directory, std::int64_t step) {
  return directory / fmt::format("step-{}.shared", step);
}
std::filesystem::path rank_file(const std::filesystem::path& directory, std::int64_t step, int rank) {
  return directory / fmt::format("step-{}.rank-{}", step, rank);
}

void remove_others(const std::filesystem::path& directory, std::int64_t step, int rank) {
  std::error_code ignored;
  const std::string keep = fmt::format("step-{}.", step);
  const std::string own = fmt::format(".rank-{}", rank);
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind("step-", 0) != 0 || name.rfind(keep, 0) == 0) continue;
    const bool is_own =
        name.size() > own.size() && name.compare(name.size() - own.size(), own.size(), own) == 0;
    if (is_own || (rank == 0 && entry.path().extension() == ".shared"))
      std::filesystem::remove(entry.path(), ignored);
  }
}

}  // namespace

bool has_checkpoint(const std::filesystem::path& directory) {
  std::error_code ignored;
  return std::filesystem::exists(directory / index_name, ignored);
}

void save_training(const std::filesystem::path& directory, const std::string& settings,
                   const TrainingState& state, CommunicationThread& thread) {
  std::filesystem::create_directories(directory);
  const int rank = thread.rank();
  {
    ByteWriter writer = begin_checkpoint(rank_kind, settings);
    writer.varint(static_cast<std::uint64_t>(rank));
    writer.varint(static_cast<std::uint64_t>(state.step));
    writer.varint(state.sent_bytes);
    writer.f64(state.loss_sum);
    writer.varint(static_cast<std::uint64_t>(state.losses));
    write_part(writer, state.exchange);
    write_file(rank_file(directory, state.step, rank), ByteSpan(sealed(std::move(writer))));
  }
  if (rank == 0) {
    ByteWriter writer = begin_checkpoint(shared_kind, settings);
    writer.varint(static_cast<std::uint64_t>(state.step));
    writer.varint(static_cast<std::uint64_t>(state.refused));
    writer.f64(state.seconds);
    write_evaluations(writer, state.evaluations);
    write_numbers(writer, state.parameters);
    write_part(writer, state.optimizer);
    write_file(shared_file(directory, state.step), ByteSpan(sealed(std::move(writer))));
  }
  // Every file lies on its disk before the index says so; old files go once it does.
  thread.run("checkpoint", [](Communicator& communicator) { barrier(communicator); });
  if (rank == 0) {
    const nlohmann::json index = {{"step", state.step}, {"ranks", thread.size()}};
    write_file(directory / index_name, std::string_view(index.dump(2) + "\n"));
  }
  thread.run("checkpoint", [](Communicator& communicator) { barrier(communicator); });
  remove_others(directory, state.step, rank);
}

TrainingState load_training(const std::filesystem::path& directory, const std::string& settings,
                            std::size_t parameters, CommunicationThread& thread) {
  TrainingState state;
  const int rank = thread.rank();
  // Rank 0 reads what is shared and tells everybody; a failure is told too, so that nobody waits.
  Bytes shared;
  std::exception_ptr failure;
  if (rank == 0) {
    try {
      const std::filesystem::path index = directory / index_name;
      if (!has_checkpoint(directory)) fail_without_checkpoint(directory);
      const auto json = nlohmann::json::parse(read_text_file(index, 1 << 16), nullptr, false);
      if (json.is_discarded() || !json.is_object() ||
          !json.value("step", nlohmann::json()).is_number_integer() ||
          !json.value("ranks", nlohmann::json()).is_number_integer())
        fail(ErrorKind::corrupt, "is not the index of a checkpoint", index.string());
      if (json["ranks"].get<std::int64_t>() != thread.size()) {
        fail(ErrorKind::usage,
             fmt::format("was written by {} ranks, and these are {}", json["ranks"].get<std::int64_t>(),
                         thread.size()),
             index.string(), "resume with the same number of workers");
      }
      const auto step = json["step"].get<std::int64_t>();
      const std::filesystem::path path = shared_file(directory, step);
      shared = read_file(path);
      ByteReader reader = open_checkpoint(shared_kind, shared, settings, path.string());
      if (reader.varint() != static_cast<std::uint64_t>(step)) reader.corrupt("the part of another step");
    } catch (...) {
      failure = std::current_exception();
      shared.clear();
    }
  }
  thread.run("checkpoint",
             [&](Communicator& communicator) { shared = broadcast(communicator, 0, std::move(shared)); });
  if (failure) std::rethrow_exception(failure);
  if (shared.empty()) fail(ErrorKind::io, "rank 0 could not read the checkpoint", directory.string());
  {
    ByteReader reader = open_checkpoint(shared_kind, shared, settings, (directory / "shared").string());
    state.step = read_count(reader);
    state.refused = read_count(reader);
    state.seconds = read_run_seconds(reader);
    state.evaluations = read_evaluations(reader);
    state.parameters = read_numbers<float>(reader, parameters);
    state.optimizer = read_part(reader);
    reader.expect_end();
  }
  const std::filesystem::path path = rank_file(directory, state.step, rank);
  const Bytes own = read_file(path);
  ByteReader reader = open_checkpoint(rank_kind, own, settings, path.string());
  if (reader.varint() != static_cast<std::uint64_t>(rank) ||
      reader.varint() != static_cast<std::uint64_t>(state.step))
    reader.corrupt("the part of another rank or step");
  state.sent_bytes = reader.varint();
  state.loss_sum = reader.f64();
  state.losses = read_count(reader);
  state.exchange = read_part(reader);
  reader.expect_end();
  return state;
}

}  // namespace laconic
