#include "lab/training/windows.h"

#include <algorithm>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic::lab {
namespace {

template <class T>
void shuffle(std::vector<T>& items, RandomStream random) {
  for (std::size_t i = items.size(); i > 1; --i)
    std::swap(items[i - 1], items[random.below(static_cast<std::uint32_t>(i))]);
}

}  // namespace

std::vector<Window> training_windows(std::span<const std::vector<std::int32_t>> documents, std::int32_t bos,
                                     std::int32_t eos, std::int64_t context) {
  require(context >= 2, "a window holds BOS and at least one token");
  std::vector<Window> windows;
  const std::size_t longest = static_cast<std::size_t>(context), room = longest - 1;
  Window packed{bos};
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::vector<std::int32_t>& document = documents[i];
    if (eos >= 0 && i % 2 == 1 && document.size() < room) {
      const auto append = [&] {
        const std::size_t taken = std::min(document.size(), longest - packed.size());
        packed.insert(packed.end(), document.begin(), document.begin() + static_cast<std::ptrdiff_t>(taken));
        if (packed.size() < longest) packed.push_back(eos);
        return taken == document.size();
      };
      const bool whole = append();
      if (packed.size() < longest) continue;
      windows.push_back(std::exchange(packed, Window{bos}));
      if (!whole) append();
      continue;
    }
    for (std::size_t begin = 0; begin < document.size(); begin += room) {
      const std::size_t end = std::min(document.size(), begin + room);
      Window window{bos};
      window.insert(window.end(), document.begin() + static_cast<std::ptrdiff_t>(begin),
                    document.begin() + static_cast<std::ptrdiff_t>(end));
      if (end == document.size() && end - begin < room && eos >= 0) window.push_back(eos);
      windows.push_back(std::move(window));
    }
  }
  if (packed.size() > 1) windows.push_back(std::move(packed));
  return windows;
}

double TrainingExample::weight() const {
  if (weights.empty()) return static_cast<double>(tokens.size()) - 1;
  double sum = 0;
  for (const float weight : weights) sum += weight;
  return sum;
}

Batch make_batch(std::span<const TrainingExample> windows) {
  std::size_t longest = 0;
  bool weighted = false;
  for (const TrainingExample& window : windows) {
    longest = std::max(longest, window.tokens.size());
    weighted |= !window.weights.empty();
  }
  require(longest >= 2, "a batch has something to predict");
  const std::int64_t rows = static_cast<std::int64_t>(windows.size()),
                     tokens = static_cast<std::int64_t>(longest) - 1;
  Batch batch{at::zeros({rows, tokens}, at::kLong), at::full({rows, tokens}, -100, at::kLong), {}, 0};
  if (weighted) batch.weights = at::zeros({rows, tokens}, at::kFloat);
  auto* inputs = batch.inputs.data_ptr<std::int64_t>();
  auto* targets = batch.targets.data_ptr<std::int64_t>();
  for (std::int64_t row = 0; row < rows; ++row) {
    const TrainingExample& window = windows[static_cast<std::size_t>(row)];
    for (std::size_t i = 0; i + 1 < window.tokens.size(); ++i) {
      const std::int64_t place = row * tokens + static_cast<std::int64_t>(i);
      inputs[place] = window.tokens[i];
      targets[place] = window.tokens[i + 1];
      if (weighted)
        batch.weights.data_ptr<float>()[place] = window.weights.empty() ? 1.0f : window.weights[i];
      ++batch.scored;
    }
  }
  return batch;
}

BatchOrder::BatchOrder(const std::vector<Window>& windows, std::int64_t batch_tokens, std::uint64_t seed)
    : windows_(&windows), batch_tokens_(batch_tokens), seed_(seed) {
  require(!windows.empty(), "there are windows to train on");
}

void BatchOrder::arrange(std::int64_t epoch) {
  std::vector<const Window*> order;
  for (const Window& window : *windows_) order.push_back(&window);
  shuffle(order, RandomStream(seed_, "training order", "windows", static_cast<std::uint64_t>(epoch)));
  // Sorting inside parts of the epoch keeps lengths together and batches varied.
  constexpr std::size_t part = 1024;
  batches_.clear();
  for (std::size_t begin = 0; begin < order.size(); begin += part) {
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = order.begin() + static_cast<std::ptrdiff_t>(std::min(begin + part, order.size()));
    std::stable_sort(first, last, [](const Window* a, const Window* b) { return a->size() < b->size(); });
    std::vector<const Window*> batch;
    std::int64_t scored = 0;
    for (auto window = first; window != last; ++window) {
      batch.push_back(*window);
      scored += static_cast<std::int64_t>((*window)->size()) - 1;
      if (scored >= batch_tokens_ || window + 1 == last) {
        // The rest of a part may be small; its noise would cost more than its tokens bring.
        if (scored * 2 >= batch_tokens_ || batches_.empty()) batches_.push_back(std::move(batch));
        batch.clear();
        scored = 0;
      }
    }
  }
  shuffle(batches_, RandomStream(seed_, "training order", "batches", static_cast<std::uint64_t>(epoch)));
  epoch_ = epoch;
}

const std::vector<const Window*>& BatchOrder::batch(std::int64_t step) {
  if (epoch_ < 0 || step < first_step_) {
    arrange(0);
    first_step_ = 0;
  }
  while (step >= first_step_ + static_cast<std::int64_t>(batches_.size())) {
    first_step_ += static_cast<std::int64_t>(batches_.size());
    arrange(epoch_ + 1);
  }
  return batches_[static_cast<std::size_t>(step - first_step_)];
}

std::vector<TrainingExample> BatchOrder::examples(std::int64_t step) {
  std::vector<TrainingExample> list;
  for (const Window* window : batch(step)) list.push_back({*window, {}});
  return list;
}

std::int64_t BatchOrder::tokens(std::int64_t step) {
  std::int64_t sum = 0;
  for (const Window* window : batch(step)) sum += static_cast<std::int64_t>(window->size()) - 1;
  return sum;
}

}  // namespace laconic::lab
