// What a compression leaves behind when it is stopped, killed, or runs out of disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "engine/base/threads.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/manifest.h"
#include "tests/runtime/artifact/small_model.h"

namespace laconic {
namespace {

class Interruption : public testing::Test {
 protected:
  void SetUp() override {
    make_small_model(model());
    clear_interrupt();
  }
  void TearDown() override { clear_interrupt(); }
  fs::path model() const { return folder_.path() / "model"; }
  fs::path output(const std::string& name = "out") const { return folder_.path() / name; }

  static constexpr const char* tensors[] = {"layers.0.weight", "layers.1.weight", "layers.2.weight"};

  // Compresses what is not there yet; returns how many units it had to make.
  int compress(const fs::path& out, const std::string& run_key = "key", bool replace = false,
               const ProgressListener& progress = {}) const {
    const SafetensorsDirectory source(model());
    ArtifactWriter writer(model(), out, run_key, replace, {300});
    int made = 0;
    for (const char* name : tensors) {
      if (writer.has_unit(name)) continue;
      std::vector<std::pair<std::string, Payload>> unit;
      unit.emplace_back(name, quantized(source, name, 4));
      writer.put_unit(name, std::move(unit));
      ++made;
    }
    writer.finish("rtn", {}, progress);
    return made;
  }

  // Runs `body` in a process of its own; returns its wait status.
  template <class Body>
  static int in_child(Body body) {
    const pid_t child = ::fork();
    if (child == 0) {
      set_thread_count(1);  // the threads of the pool did not come along
      try {
        body();
      } catch (const Error& error) {
        ::_exit(error.kind() == ErrorKind::io ? 40 : 41);
      }
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
  }

  TemporaryFolder folder_;
};

TEST_F(Interruption, AKilledRunResumesAtItsUnits) {
  compress(output("whole"));
  const int status = in_child([&] {
    const SafetensorsDirectory source(model());
    ArtifactWriter writer(model(), output(), "key", false, {300});
    for (int i = 0; i < 2; ++i) {
      std::vector<std::pair<std::string, Payload>> unit;
      unit.emplace_back(tensors[i], quantized(source, tensors[i], 4));
      writer.put_unit(tensors[i], std::move(unit));
    }
    ::kill(::getpid(), SIGKILL);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(fs::exists(output()));
  {
    const SafetensorsDirectory source(model());
    ArtifactWriter writer(model(), output(), "key", false, {300});
    EXPECT_TRUE(writer.has_unit(tensors[0]));
    EXPECT_FALSE(writer.has_unit(tensors[2]));
    const auto unit = writer.load_unit(tensors[1]);
    ASSERT_EQ(unit.size(), 1u);
    EXPECT_EQ(unit[0].first, tensors[1]);
    EXPECT_EQ(to_frame(unit[0].second), to_frame(quantized(source, tensors[1], 4)));
  }
  EXPECT_EQ(compress(output()), 1);
  EXPECT_EQ(contents_of(output()), contents_of(output("whole")));
  EXPECT_FALSE(fs::exists(output("out.partial")));
}

TEST_F(Interruption, KilledWhileFinishingAtAnyMomentNothingIsLost) {
  compress(output("whole"));
  const auto expected = contents_of(output("whole"));
  int killed = 0;
  for (int moment = 1; moment < 40; ++moment) {
    const int status = in_child([&] {
      int reports = 0;
      compress(output(), "key", false, [&](const ProgressReport&) {
        if (++reports == moment) ::kill(::getpid(), SIGKILL);
      });
    });
    if (!WIFSIGNALED(status)) break;
    ++killed;
    EXPECT_FALSE(fs::exists(output()));
    EXPECT_EQ(compress(output()), 0);
    EXPECT_EQ(contents_of(output()), expected);
    fs::remove_all(output());
  }
  EXPECT_GE(killed, 2);
}

TEST_F(Interruption, AnInterruptStopsAndTheNextRunGoesOn) {
  request_interrupt();
  EXPECT_THROW(compress(output()), Error);
  EXPECT_FALSE(fs::exists(output()));
  clear_interrupt();
  EXPECT_EQ(compress(output()), 0);
  EXPECT_NO_THROW(CompressedModel read(output()));
}

TEST_F(Interruption, AFullDiskLeavesNothingHalfWritten) {
  compress(output("whole"));
  const auto expected = contents_of(output("whole"));
  int refused = 0;
  for (rlim_t limit : {rlim_t{1}, rlim_t{200}, rlim_t{600}, rlim_t{900}, rlim_t{1200}, rlim_t{1500}}) {
    const int status = in_child([&] {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit small{limit, limit};
      ::setrlimit(RLIMIT_FSIZE, &small);
      compress(output());
    });
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 0) break;
    EXPECT_EQ(WEXITSTATUS(status), 40);
    ++refused;
    EXPECT_FALSE(fs::exists(output()));
  }
  EXPECT_GE(refused, 2);
  if (!fs::exists(output())) compress(output());
  EXPECT_EQ(contents_of(output()), expected);
}

TEST_F(Interruption, ADamagedUnitIsMadeAgain) {
  {
    const SafetensorsDirectory source(model());
    ArtifactWriter writer(model(), output(), "key", false);
    std::vector<std::pair<std::string, Payload>> unit;
    unit.emplace_back(tensors[0], quantized(source, tensors[0], 4));
    writer.put_unit(tensors[0], std::move(unit));
  }
  for (const auto& item : fs::recursive_directory_iterator(output("out.partial"))) {
    if (item.path().extension() != ".safetensors") continue;
    std::string content = read_text_file(item.path());
    content[content.size() - 60] = static_cast<char>(content[content.size() - 60] ^ 4);
    write_file(item.path(), std::string_view(content));
  }
  ArtifactWriter writer(model(), output(), "key", false);
  EXPECT_FALSE(writer.has_unit(tensors[0]));
}

TEST_F(Interruption, WorkOfAnotherRunIsNotMixedIn) {
  {
    const SafetensorsDirectory source(model());
    ArtifactWriter writer(model(), output(), "2 bits", false);
    std::vector<std::pair<std::string, Payload>> unit;
    unit.emplace_back(tensors[0], quantized(source, tensors[0], 2));
    writer.put_unit(tensors[0], std::move(unit));
    // Two writers of one output at the same time.
    try {
      ArtifactWriter second(model(), output(), "2 bits", true);
      ADD_FAILURE() << "two writers of one output";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
    }
  }
  try {
    compress(output(), "4 bits");
    ADD_FAILURE() << "work with other settings was taken over";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), testing::HasSubstr("--force"));
  }
  EXPECT_EQ(compress(output(), "4 bits", true), 3);
  EXPECT_NO_THROW(CompressedModel read(output()));
}

TEST_F(Interruption, AFailedDecompressionLeavesNothing) {
  compress(output());
  request_interrupt();
  EXPECT_THROW(decompress_model(output(), output("plain"), {}, false), Error);
  EXPECT_FALSE(fs::exists(output("plain")));
  EXPECT_FALSE(fs::exists(output("plain.partial")));
}

}  // namespace
}  // namespace laconic
