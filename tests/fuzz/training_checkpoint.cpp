// Any bytes as the files of a training checkpoint, and edits of files that were written, with their checksums
// made right: refused, or a state that a run can go on from.
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/saved_state.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/federated/federated_checkpoint.h"
#include "methods/gradients/training/training_checkpoint.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

const std::string settings = "task fuzz\nworkers 1\n";
constexpr std::size_t parameters = 5;
constexpr std::size_t seal = 8;

void check(bool promise) {
  if (!promise) std::abort();
}

// A directory of this process, removed at its end, and the contents of its files without their checksums.
class Checkpoint {
 public:
  Checkpoint()
      : directory_(std::filesystem::temp_directory_path() / ("laconic-fuzz-" + std::to_string(::getpid()))),
        world_(1),
        thread_([this] { return world_.communicator(0); }) {
    TrainingState state;
    state.step = 300;
    state.refused = 2;
    state.sent_bytes = 70'000;
    state.seconds = 1.5;
    state.parameters = {1, -2, 3, 0.5f, 0};
    state.evaluations = {{100, {2.5, 0.5, 0.75, 10}, 2, 7000, 1}, {300, {1.5, {}, {}, 10}, 1, 70'000, 1.5}};
    state.loss_sum = 2;
    state.losses = 1;
    state.optimizer = {std::byte{1}, std::byte{2}};
    state.exchange = {std::byte{3}};
    save_training(directory_, settings, state, thread_);
    FederatedState federated;
    federated.round = 300;
    federated.bytes_up = 1000;
    federated.seconds = 1.5;
    RoundRecord round;
    round.round = 300;
    round.held_out = state.evaluations.front().held_out;
    federated.evaluations = {round};
    federated.algorithm = state.optimizer;
    save_federated(directory_, settings, federated);
    for (const char* name : {"checkpoint.json", "step-300.shared", "step-300.rank-0", "federated.state"}) {
      paths_.push_back(directory_ / name);
      Bytes content = read_file(paths_.back());
      if (paths_.size() > 1) content.resize(content.size() - seal);
      contents_.push_back(std::move(content));
    }
  }
  ~Checkpoint() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::size_t files() const { return contents_.size(); }
  const Bytes& content(std::size_t file) const { return contents_[file]; }

  void load_with(std::size_t file, const Bytes& content) {
    write(file, content);
    try {
      if (file == 3) {
        const FederatedState state = load_federated(directory_, settings);
        check(state.round >= 0 && state.refused >= 0 && std::isfinite(state.seconds) && state.seconds >= 0);
      } else {
        const TrainingState state = load_training(directory_, settings, parameters, thread_);
        check(state.step == 300 && state.refused >= 0 && state.parameters.size() == parameters);
        check(std::isfinite(state.seconds) && state.seconds >= 0);
      }
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::internal) std::abort();
    }
    write(file, contents_[file]);
  }

 private:
  // Not through write_file, which waits for the disk.
  void write(std::size_t file, const Bytes& content) const {
    ByteWriter writer;
    writer.append(content);
    const Bytes whole = file == 0 ? writer.take() : sealed(std::move(writer));
    std::ofstream stream(paths_[file], std::ios::binary | std::ios::trunc);
    stream.write(reinterpret_cast<const char*>(whole.data()), static_cast<std::streamsize>(whole.size()));
    check(stream.good());
  }

  std::filesystem::path directory_;
  ThreadWorld world_;
  CommunicationThread thread_;
  std::vector<std::filesystem::path> paths_;
  std::vector<Bytes> contents_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Checkpoint checkpoint;
  if (size < 2) return 0;
  const std::size_t file = data[1] % checkpoint.files();
  if (data[0] % 2 == 0) {
    const auto* raw = reinterpret_cast<const std::byte*>(data);
    checkpoint.load_with(file, Bytes(raw + 2, raw + size));
    return 0;
  }
  Bytes content = checkpoint.content(file);
  apply_edits(std::span(data, size).subspan(2), content);
  checkpoint.load_with(file, content);
  return 0;
}
