// A pipeline of three stages: a producer makes items one after another, workers turn each into a result in
// parallel, a consumer takes the results one after another in the order of the items. What the stages see
// does not depend on the number of threads.
//
// Whichever thread is free takes the next thing to do, so producer and consumer are not bound to one thread;
// each is called by one thread at a time, with what it wrote visible to its next call. A bounded number of
// items is in flight, so memory is too. With one thread everything runs on the caller's, and no thread is
// started. Calls of parallel_for from inside a stage run in order.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace laconic {

struct PipelineOptions {
  int threads = 0;            // the caller included; 0: thread_count()
  std::size_t in_flight = 0;  // items produced and not yet consumed; 0: two per thread
  // Throws Error(interrupted) once request_interrupt() was called and the running stages have returned.
  // Without it the producer decides whether to end early, and what it made is still consumed.
  bool ends_on_interrupt = true;
};

// The same without types: items live in `slots` places, 0 <= place < slots, of the caller's.
struct PipelineStages {
  std::function<bool(std::size_t)> produce;  // fills a place; false: there are no more items
  std::function<void(std::size_t)> work;
  std::function<void(std::size_t)> consume;  // empties the place
};
std::size_t pipeline_slots(const PipelineOptions& options);
void run_pipeline(const PipelineStages& stages, const PipelineOptions& options);

// produce() -> std::optional<Item>, empty at the end; work(Item&&) -> Result; consume(Result&&).
// Ends with the failure of the first item by order, whichever stage it failed in: the results before it are
// consumed, it and those after it are not, and that exception is rethrown.
template <class Produce, class Work, class Consume>
void ordered_pipeline(Produce&& produce, Work&& work, Consume&& consume,
                      const PipelineOptions& options = {}) {
  using Item = typename decltype(produce())::value_type;
  using Result = decltype(work(std::declval<Item>()));
  struct Slot {
    std::optional<Item> item;
    std::optional<Result> result;
  };
  std::vector<Slot> slots(pipeline_slots(options));
  PipelineStages stages;
  stages.produce = [&](std::size_t place) {
    slots[place].item = produce();
    return slots[place].item.has_value();
  };
  stages.work = [&](std::size_t place) {
    slots[place].result.emplace(work(std::move(*slots[place].item)));
    slots[place].item.reset();
  };
  stages.consume = [&](std::size_t place) {
    consume(std::move(*slots[place].result));
    slots[place].result.reset();
  };
  run_pipeline(stages, options);
}

}  // namespace laconic
