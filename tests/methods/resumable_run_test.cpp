// What every kind of training keeps and says so that it can go on where it stopped.
#include "methods/gradients/training/resumable_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/saved_state.h"
#include "methods/gradients/training/evaluation_record.h"
#include "methods/gradients/training/paced_progress.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void expect_error(ErrorKind kind, const std::string& text, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "no error, but " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(text));
  }
}

constexpr CheckpointKind own_kind = {"laconic rows 1", "rows of a checkpoint"};

TEST(ResumableRun, OpensOnlyItsOwnKindAndSettings) {
  ByteWriter writer = begin_checkpoint(own_kind, "task rows\nseed 1");
  write_part(writer, Bytes(3));
  const Bytes bytes = sealed(std::move(writer));
  ByteReader reader = open_checkpoint(own_kind, bytes, "task rows\nseed 1", "file");
  EXPECT_EQ(read_part(reader), Bytes(3));
  reader.expect_end();
  expect_error(ErrorKind::usage, "\"seed 1\" there, \"seed 2\" here",
               [&] { open_checkpoint(own_kind, bytes, "task rows\nseed 2", "file"); });
  expect_error(ErrorKind::usage, "\"\" there, \"rate 1\" here",
               [&] { open_checkpoint(own_kind, bytes, "task rows\nseed 1\nrate 1", "file"); });
  expect_error(ErrorKind::corrupt, "not columns of a checkpoint", [&] {
    open_checkpoint({"laconic columns 1", "columns of a checkpoint"}, bytes, "task rows\nseed 1", "file");
  });
  Bytes damaged = bytes;
  damaged[3] ^= std::byte{1};
  expect_error(ErrorKind::corrupt, "checksum", [&] { open_checkpoint(own_kind, damaged, "", "file"); });
}

TEST(ResumableRun, ReadsNothingThatNoRunWrites) {
  const auto reading = [](const std::function<void(ByteWriter&)>& write,
                          const std::function<void(ByteReader&)>& read) {
    return [write, read] {
      ByteWriter writer;
      write(writer);
      ByteReader reader(writer.span(), "file");
      read(reader);
    };
  };
  const auto read_time = [](ByteReader& reader) { read_run_seconds(reader); };
  for (const double seconds :
       {-1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    expect_error(ErrorKind::corrupt, "a time that no run takes",
                 reading([&](ByteWriter& writer) { writer.f64(seconds); }, read_time));
  }
  expect_error(ErrorKind::corrupt, "limit",
               reading([](ByteWriter& writer) { writer.varint(std::uint64_t{1} << 63); },
                       [](ByteReader& reader) { read_count(reader); }));
  expect_error(ErrorKind::corrupt, "needs 5 bytes, has 4",
               reading(
                   [](ByteWriter& writer) {
                     writer.varint(5);
                     writer.u32(0);
                   },
                   [](ByteReader& reader) { read_part(reader); }));
}

TEST(ResumableRun, SaysHowToGoOn) {
  expect_error(ErrorKind::interrupted, "stopped after round 7", [] { fail_stopped("round 7", "folder"); });
  expect_error(ErrorKind::interrupted, "--resume goes on from here",
               [] { fail_stopped("round 7", "folder"); });
  try {
    fail_stopped("step 2", {});
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("--resume"))) << "nothing was kept";
  }
  expect_error(ErrorKind::usage, "start without --resume", [] { fail_without_checkpoint("folder"); });
}

TEST(PacedProgress, TellsTheEndAndAtMostTenTimesASecond) {
  std::vector<std::int64_t> told;
  int texts = 0;
  PacedProgress progress([&](const ProgressReport& report) {
    EXPECT_EQ(report.activity, "busy");
    EXPECT_EQ(report.total, 1000);
    told.push_back(report.done);
  });
  progress.begin();
  const double begin = steady_seconds();
  for (std::int64_t done = 1; done <= 1000; ++done)
    progress.report(done, 1000, [&] { return ++texts, std::string("busy"); });
  const double seconds = steady_seconds() - begin;
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back(), 1000);
  EXPECT_LE(static_cast<double>(told.size()), 3 + 10 * seconds);
  EXPECT_EQ(static_cast<std::size_t>(texts), told.size()) << "texts are made when they are told";
  PacedProgress unheard{ProgressListener()};
  unheard.report(1, 1, []() -> std::string { throw std::logic_error("not asked for"); });
}

TEST(PartitionHash, TellsWhoseExamplesAreWhose) {
  const std::string hash = partition_hash({{1, 2}, {3}});
  EXPECT_EQ(hash, partition_hash({{1, 2}, {3}}));
  EXPECT_NE(hash, partition_hash({{1}, {2, 3}}));
  EXPECT_NE(hash, partition_hash({{2, 1}, {3}}));
  EXPECT_NE(hash, partition_hash({{1, 2}, {3}, {}}));
  EXPECT_NE(partition_hash({}), partition_hash({{}}));
}

TEST(EvaluationRecords, AreKeptAndDamageIsRefused) {
  const std::vector<EvaluationRecord> records = {{10, {2.5, 0.5, 0.75, 40}, 2.0, 7000, 1.0},
                                                 {20, {1.5, {}, {}, 40}, 1.0, 14'000, 2.5}};
  ByteWriter writer;
  write_evaluations(writer, records);
  const Bytes bytes = writer.take();
  ByteReader reader(bytes, "evaluations");
  const std::vector<EvaluationRecord> read = read_evaluations(reader);
  reader.expect_end();
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].held_out.clean_accuracy, 0.75);
  EXPECT_EQ(read[1].held_out.accuracy, std::nullopt);
  EXPECT_EQ(read[1].step, 20);
  EXPECT_EQ(read[1].sent_bytes, 14'000u);
  EXPECT_EQ(read[1].seconds, 2.5);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    ByteReader cut(ByteSpan(bytes).first(length), "evaluations");
    EXPECT_THROW(read_evaluations(cut), Error) << length;
  }
  ByteWriter backwards;
  write_evaluations(backwards, {records[1], records[0]});
  const Bytes wrong = backwards.take();
  ByteReader other(wrong, "evaluations");
  EXPECT_THROW(read_evaluations(other), Error);
}

}  // namespace
}  // namespace laconic
