#include "engine/container/ordered_pipeline.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "engine/base/threads.h"

namespace laconic {
namespace {

struct PipelineRun {
  std::vector<int> consumed;
  std::string failure;
};

// Items 0 … count - 1; the stages fail at the items named.
PipelineRun run(int threads, int count, int produce_fails = -1, int work_fails = -1, int consume_fails = -1) {
  PipelineRun result;
  int next = 0;
  try {
    ordered_pipeline(
        [&]() -> std::optional<int> {
          if (next == produce_fails) throw std::runtime_error("produce");
          if (next == count) return {};
          return next++;
        },
        [&](int item) {
          // Later items are often done before earlier ones.
          std::this_thread::sleep_for(std::chrono::microseconds(item * 37 % 5 * 40));
          if (item == work_fails || (work_fails >= 0 && item == work_fails + 2)) {
            throw std::runtime_error("work " + std::to_string(item));
          }
          return std::make_unique<int>(10 * item);
        },
        [&](std::unique_ptr<int> value) {
          if (*value == 10 * consume_fails) throw std::runtime_error("consume");
          result.consumed.push_back(*value);
        },
        {.threads = threads});
  } catch (const std::exception& error) {
    result.failure = error.what();
  }
  return result;
}

std::vector<int> tens(int count) {
  std::vector<int> values;
  for (int i = 0; i < count; ++i) values.push_back(10 * i);
  return values;
}

TEST(OrderedPipeline, ResultsComeInTheOrderOfTheItems) {
  for (const int threads : {1, 2, 3, 8}) {
    for (const int count : {0, 1, 2, 300}) {
      const PipelineRun result = run(threads, count);
      EXPECT_EQ(result.failure, "");
      EXPECT_EQ(result.consumed, tens(count)) << threads;
    }
  }
}

TEST(OrderedPipeline, TheFirstFailureByOrderEndsIt) {
  for (const int threads : {1, 2, 3, 8}) {
    for (const int at : {0, 1, 40}) {
      PipelineRun result = run(threads, 100, at);
      EXPECT_EQ(result.failure, "produce");
      EXPECT_EQ(result.consumed, tens(at));
      result = run(threads, 100, at + 1, at);
      EXPECT_EQ(result.failure, "work " + std::to_string(at));
      EXPECT_EQ(result.consumed, tens(at));
      result = run(threads, 100, at + 2, at + 1, at);
      EXPECT_EQ(result.failure, "consume");
      EXPECT_EQ(result.consumed, tens(at));
    }
  }
}

TEST(OrderedPipeline, ItemsInFlightAreBounded) {
  for (const int threads : {1, 4}) {
    for (const std::size_t bound : {1, 2, 6}) {
      std::atomic<int> in_flight{0}, most{0};
      int next = 0;
      ordered_pipeline(
          [&]() -> std::optional<int> {
            if (next == 200) return {};
            const int now = ++in_flight;
            most = std::max(most.load(), now);
            return next++;
          },
          [](int item) { return item; }, [&](int) { --in_flight; }, {.threads = threads, .in_flight = bound});
      EXPECT_LE(most, static_cast<int>(bound));
      EXPECT_EQ(in_flight, 0);
    }
  }
}

TEST(OrderedPipeline, ProducerAndConsumerAreCalledByOneThreadAtATime) {
  std::atomic<int> producing{0}, consuming{0}, working{0}, most_working{0};
  int next = 0, last = -1;
  ordered_pipeline(
      [&]() -> std::optional<int> {
        EXPECT_EQ(producing++, 0);
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        --producing;
        if (next == 200) return {};
        return next++;
      },
      [&](int item) {
        most_working = std::max(most_working.load(), ++working);
        std::this_thread::sleep_for(std::chrono::microseconds(300));
        --working;
        return item;
      },
      [&](int item) {
        EXPECT_EQ(consuming++, 0);
        EXPECT_EQ(item, ++last);
        --consuming;
      },
      {.threads = 4});
  EXPECT_EQ(last, 199);
  EXPECT_GT(most_working, 1);
}

TEST(OrderedPipeline, OneThreadStartsNoOther) {
  const auto caller = std::this_thread::get_id();
  int next = 0;
  const auto here = [&] { EXPECT_EQ(std::this_thread::get_id(), caller); };
  ordered_pipeline(
      [&]() -> std::optional<int> {
        here();
        return next < 5 ? std::optional<int>(next++) : std::nullopt;
      },
      [&](int item) {
        here();
        // What was produced is worked on before more is asked for.
        EXPECT_EQ(next, item + 1);
        return item;
      },
      [&](int) { here(); }, {.threads = 1});
}

TEST(OrderedPipeline, ParallelLoopsInsideAStageRunInOrder) {
  set_thread_count(4);
  int next = 0;
  ordered_pipeline(
      [&]() -> std::optional<int> { return next < 8 ? std::optional<int>(next++) : std::nullopt; },
      [](int) {
        const auto thread = std::this_thread::get_id();
        parallel_for(16, [&](std::int64_t) { EXPECT_EQ(std::this_thread::get_id(), thread); });
        return 0;
      },
      [](int) {}, {.threads = 3});
  set_thread_count(0);
}

TEST(OrderedPipeline, AnInterruptEndsIt) {
  for (const int threads : {1, 3}) {
    int next = 0, consumed = 0;
    const auto endless = [&](bool ends) {
      ordered_pipeline(
          [&]() -> std::optional<int> {
            if (next == 20) request_interrupt();
            if (!ends && interrupt_requested()) return {};
            return next++;
          },
          [](int item) { return item; }, [&](int) { ++consumed; },
          {.threads = threads, .ends_on_interrupt = ends});
    };
    try {
      endless(true);
      ADD_FAILURE() << "not interrupted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::interrupted);
    }
    clear_interrupt();
    // A producer that ends by itself has everything consumed.
    next = consumed = 0;
    endless(false);
    clear_interrupt();
    EXPECT_EQ(consumed, 20);
  }
}

}  // namespace
}  // namespace laconic
