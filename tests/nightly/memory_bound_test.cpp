// A sharded bf16 model of 2 GB and 24 layers is compressed by the program itself while its anonymous memory
// is watched. The bound: three times the largest linear layer in f32, that layer's float64 second moment, and
// 300 MB. Runs when LACONIC_NIGHTLY is set; takes minutes and 5 GB of disk.
// LACONIC_MEMORY_LAYERS=3 makes a model of fewer layers of the same widths: the bound is the same.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/files.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/benchmark/generated_model.h"
#include "runtime/corpus/stories.h"
#include "runtime/model_config.h"
#include "runtime/tokenizer/bpe_trainer.h"

extern char** environ;

namespace laconic {
namespace {

namespace fs = std::filesystem;
using Inodes = std::map<std::string, ino_t>;

// RssAnon of a process, in bytes; 0 once it has ended.
std::uint64_t anonymous_bytes(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::strtoull(line.c_str() + 8, nullptr, 10) * 1024;
  }
  return 0;
}

struct Outcome {
  int exit_code = -1;  // -1: ended by a signal
  std::uint64_t peak_anonymous = 0;
  double seconds = 0;
};

// Runs the program; `watch` is asked between looks at its memory and ends it by returning false.
Outcome run_program(std::vector<std::string> arguments, const std::function<bool()>& watch = {}) {
  arguments.insert(arguments.begin(), LACONIC_PROGRAM);
  std::vector<char*> texts;
  for (std::string& argument : arguments) texts.push_back(argument.data());
  texts.push_back(nullptr);
  pid_t process = 0;
  Outcome outcome;
  const auto begin = std::chrono::steady_clock::now();
  if (posix_spawn(&process, LACONIC_PROGRAM, nullptr, nullptr, texts.data(), environ) != 0) return outcome;
  int status = 0;
  while (waitpid(process, &status, WNOHANG) == 0) {
    outcome.peak_anonymous = std::max(outcome.peak_anonymous, anonymous_bytes(process));
    if (watch && !watch()) kill(process, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

// Finished layers of an unfinished run.
Inodes finished_layers(const fs::path& output) {
  Inodes result;
  const fs::path partial = output.string() + ".partial";
  std::error_code error;
  for (fs::recursive_directory_iterator item(partial, error), end; !error && item != end;
       item.increment(error)) {
    struct stat information {};
    if (item->path().extension() == ".safetensors" && stat(item->path().c_str(), &information) == 0) {
      result[item->path().string()] = information.st_ino;
    }
  }
  return result;
}

class MemoryBound : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (std::getenv("LACONIC_NIGHTLY") == nullptr || *std::getenv("LACONIC_NIGHTLY") == '\0') return;
    std::string pattern = (fs::temp_directory_path() / "laconic-memory-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    GeneratedModel model;
    if (const char* fewer = std::getenv("LACONIC_MEMORY_LAYERS")) layers_ = std::max(2, std::atoi(fewer));
    model.layers = layers_;
    model.shard_limit = std::uint64_t{100} << 20;
    bytes_ = write_generated_model(root_ / "model", model);
    const std::string text = make_stories(5, 0, 200);
    BpeTrainerOptions options;
    options.vocabulary_size = 300;
    const BpeVocabulary vocabulary = train_bpe(text, options);
    write_file(root_ / "model" / "tokenizer.json", std::string_view(vocabulary.tokenizer_json()));
    write_file(root_ / "model" / "tokenizer_config.json",
               std::string_view(vocabulary.tokenizer_config_json()));
    write_file(root_ / "text.txt", std::string_view(text));
  }
  static void TearDownTestSuite() {
    std::error_code error;
    if (!root_.empty()) fs::remove_all(root_, error);
  }
  void SetUp() override {
    if (root_.empty()) GTEST_SKIP() << "set LACONIC_NIGHTLY to run it";
    ASSERT_GT(bytes_, layers_ == 24 ? 2'000'000'000u : 0u);
    ASSERT_GT(SafetensorsDirectory(root_ / "model").files().size(), 1u);
  }

  static std::uint64_t bound() {
    const ModelConfig config = ModelConfig::load(root_ / "model");
    std::uint64_t largest = 0, moment = 0;
    for (int slot = 0; slot < linear_slots; ++slot) {
      const LinearShape shape = linear_shape(config, static_cast<LinearSlot>(slot));
      const auto bytes = static_cast<std::uint64_t>(shape.out * shape.in * 4);
      const auto squared = static_cast<std::uint64_t>(shape.in * shape.in * 8);
      if (bytes >= largest) moment = bytes > largest ? squared : std::max(moment, squared);
      largest = std::max(largest, bytes);
    }
    return 3 * largest + moment + 300'000'000;
  }
  static void report(const char* name, const Outcome& outcome) {
    std::printf("%s: peak of anonymous memory %.1f MB of %.1f MB, %.0f s\n", name,
                static_cast<double>(outcome.peak_anonymous) / 1e6, static_cast<double>(bound()) / 1e6,
                outcome.seconds);
  }

  static fs::path root_;
  static std::uint64_t bytes_;
  static int layers_;
};
fs::path MemoryBound::root_;
std::uint64_t MemoryBound::bytes_ = 0;
int MemoryBound::layers_ = 24;

TEST_F(MemoryBound, RoundToNearest) {
  const fs::path output = root_ / "rtn";
  const Outcome outcome = run_program(
      {"compress", (root_ / "model").string(), "-m", "rtn", "-p", "bits=4", "-o", output.string()});
  report("rtn", outcome);
  ASSERT_EQ(outcome.exit_code, 0);
  EXPECT_LE(outcome.peak_anonymous, bound());
  EXPECT_EQ(CompressedModel(output).compressed_tensors().size(),
            static_cast<std::size_t>(layers_ * linear_slots));
  fs::remove_all(output);
}

TEST_F(MemoryBound, GptqInterruptedAndResumedAtTheLayer) {
  const fs::path output = root_ / "gptq";
  const std::vector<std::string> command = {"compress",
                                            (root_ / "model").string(),
                                            "-m",
                                            "gptq",
                                            "-p",
                                            "bits=4",
                                            "-p",
                                            "calibration-sequences=8",
                                            "-p",
                                            "calibration-window=128",
                                            "--calibration-keep",
                                            "none",
                                            "--calibration",
                                            (root_ / "text.txt").string(),
                                            "-o",
                                            output.string()};
  const auto enough = static_cast<std::size_t>((layers_ + 4) / 5 * linear_slots);
  const Outcome first = run_program(command, [&] { return finished_layers(output).size() < enough; });
  report("gptq, until it was killed", first);
  ASSERT_EQ(first.exit_code, -1) << "ended before it could be killed";
  ASSERT_FALSE(fs::exists(output));
  const Inodes before = finished_layers(output);
  ASSERT_GE(before.size(), enough);

  Inodes later;
  const Outcome second = run_program(command, [&] {
    const Inodes now = finished_layers(output);
    if (later.empty() && now.size() > before.size() + 3) later = now;
    return true;
  });
  report("gptq, resumed", second);
  ASSERT_EQ(second.exit_code, 0);
  EXPECT_LE(first.peak_anonymous, bound());
  EXPECT_LE(second.peak_anonymous, bound());
  ASSERT_FALSE(later.empty());
  for (const auto& [path, inode] : before) {
    ASSERT_TRUE(later.contains(path)) << path;
    EXPECT_EQ(later.at(path), inode) << path << " was made again";
  }
  EXPECT_EQ(CompressedModel(output).compressed_tensors().size(),
            static_cast<std::size_t>(layers_ * linear_slots));
}

}  // namespace
}  // namespace laconic
