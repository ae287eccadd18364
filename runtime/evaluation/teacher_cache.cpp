#include "runtime/evaluation/teacher_cache.h"

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/tensor/safetensors.h"
#include "runtime/evaluation/window_logits.h"
#include "runtime/row_kernel.h"

namespace laconic {
namespace {

struct Rows {
  Tensor log_probabilities, indices;
};

std::vector<std::int64_t> rows_before(const EvaluationWindows& windows) {
  std::vector<std::int64_t> first(windows.windows.size() + 1, 0);
  for (std::size_t i = 0; i < windows.windows.size(); ++i) {
    first[i + 1] = first[i] + static_cast<std::int64_t>(windows.windows[i].size()) - 1;
  }
  return first;
}

// The k largest by (value descending, index ascending), stored by ascending index.
void keep_top(const float* logits, std::int64_t vocabulary, std::int64_t k, double shift, float* values,
              std::int32_t* indices) {
  thread_local std::vector<std::int32_t> order;
  order.resize(static_cast<std::size_t>(vocabulary));
  std::iota(order.begin(), order.end(), 0);
  std::nth_element(order.begin(), order.begin() + (k - 1), order.end(), [&](std::int32_t a, std::int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  std::sort(order.begin(), order.begin() + k);
  for (std::int64_t i = 0; i < k; ++i) {
    indices[i] = order[static_cast<std::size_t>(i)];
    values[i] = static_cast<float>(logits[indices[i]] - shift);
  }
}

std::string checksum(const std::vector<SafetensorsItem>& items) {
  StreamingHash128 hash;
  for (const SafetensorsItem& item : items) hash.update(item.view.span());
  return to_hex(hash.digest());
}

}  // namespace

void TeacherCache::point_at(const float* log_probabilities, const std::int32_t* indices) {
  log_probabilities_ = log_probabilities;
  indices_ = indices;
  first_row_ = rows_before(windows_);
}

void TeacherCache::sum_rows() {
  shifts_.resize(static_cast<std::size_t>(first_row_.back()));
  parallel_tiles(first_row_.back(), 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      shifts_[static_cast<std::size_t>(row)] = log_sum_exp(log_probabilities_ + row * width_, width_);
    }
  });
}

TeacherCache TeacherCache::build(const Transformer& dense, const EvaluationWindows& windows,
                                 std::int64_t top_k, const ProgressListener& listener) {
  if (top_k < 0) fail(ErrorKind::usage, "the number of kept teacher tokens is negative");
  TeacherCache cache;
  cache.windows_ = windows;
  cache.vocabulary_ = dense.config().vocabulary;
  cache.top_k_ = top_k >= cache.vocabulary_ ? 0 : top_k;
  cache.width_ = cache.top_k_ == 0 ? cache.vocabulary_ : cache.top_k_;
  auto rows = std::make_shared<Rows>();
  const std::int64_t count = rows_before(windows).back();
  rows->log_probabilities = Tensor(DType::f32, {count, cache.width_});
  if (cache.top_k_ > 0) rows->indices = Tensor(DType::i32, {count, cache.width_});
  float* values = rows->log_probabilities.f32().data();
  std::int32_t* indices = cache.top_k_ > 0 ? rows->indices.as<std::int32_t>().data() : nullptr;
  cache.owner_ = rows;
  cache.point_at(values, indices);
  Progress progress(listener, "dense distributions", count);
  parallel_for(static_cast<std::int64_t>(windows.windows.size()), [&](std::int64_t window) {
    const auto& tokens = windows.windows[static_cast<std::size_t>(window)];
    visit_window_logits(dense, tokens, [&](std::int64_t row, const float* logits) {
      const std::int64_t at = (cache.first_row_[static_cast<std::size_t>(window)] + row) * cache.width_;
      const double shift = log_sum_exp(logits, cache.vocabulary_);
      if (indices != nullptr) {
        keep_top(logits, cache.vocabulary_, cache.width_, shift, values + at, indices + at);
      } else {
        for (std::int64_t i = 0; i < cache.width_; ++i)
          values[at + i] = static_cast<float>(logits[i] - shift);
      }
    });
    progress.advance(static_cast<std::int64_t>(tokens.size()) - 1);
  });
  cache.sum_rows();
  return cache;
}

std::uint64_t TeacherCache::bytes() const {
  const auto values = static_cast<std::uint64_t>(first_row_.back() * width_);
  return values * (indices_ != nullptr ? 8 : 4);
}

void TeacherCache::save(const std::filesystem::path& path, const std::string& key) const {
  const std::int64_t rows = first_row_.back();
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> lengths = {windows_.scored_tokens, windows_.utf8_bytes, windows_.window_tokens,
                                       vocabulary_, top_k_};
  for (const auto& window : windows_.windows) {
    lengths.push_back(static_cast<std::int64_t>(window.size()));
    tokens.insert(tokens.end(), window.begin(), window.end());
  }
  const auto view = [](DType dtype, Shape shape, const void* data) {
    return TensorView{dtype, std::move(shape), static_cast<const std::byte*>(data)};
  };
  std::vector<SafetensorsItem> items;
  items.push_back({"lengths", view(DType::i64, {static_cast<std::int64_t>(lengths.size())}, lengths.data())});
  items.push_back({"log_probabilities", view(DType::f32, {rows, width_}, log_probabilities_)});
  if (indices_ != nullptr) items.push_back({"indices", view(DType::i32, {rows, width_}, indices_)});
  items.push_back({"tokens", view(DType::i32, {static_cast<std::int64_t>(tokens.size())}, tokens.data())});
  write_safetensors(path, items, {{"key", key}, {"checksum", checksum(items)}});
}

std::optional<TeacherCache> TeacherCache::load(const std::filesystem::path& path, const std::string& key) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  auto file = std::make_shared<SafetensorsFile>(path);
  const auto& metadata = file->header().metadata;
  const auto stored_key = metadata.find("key");
  if (stored_key == metadata.end() || stored_key->second != key) return std::nullopt;
  const auto corrupt = [&](std::string_view what) {
    fail(ErrorKind::corrupt, what, path.string(), "remove the file; it is made again");
  };
  std::vector<SafetensorsItem> items;
  for (const SafetensorsEntry& entry : file->header().entries)
    items.push_back({entry.name, file->view(entry)});
  const auto stored_sum = metadata.find("checksum");
  if (stored_sum == metadata.end() || stored_sum->second != checksum(items))
    corrupt("checksum does not match");

  const auto typed = [&](std::string_view name, DType dtype, std::size_t rank) {
    TensorView view = file->tensor(name);
    const bool aligned = reinterpret_cast<std::uintptr_t>(view.data) % size_of(dtype) == 0;
    if (view.dtype != dtype || view.shape.size() != rank || !aligned) corrupt("an array has another type");
    return view;
  };
  const TensorView lengths = typed("lengths", DType::i64, 1), tokens = typed("tokens", DType::i32, 1);
  const TensorView values = typed("log_probabilities", DType::f32, 2);
  if (lengths.elements() < 5) corrupt("too few lengths");
  const auto* numbers = reinterpret_cast<const std::int64_t*>(lengths.data);
  const auto* ids = reinterpret_cast<const std::int32_t*>(tokens.data);
  TeacherCache cache;
  cache.windows_.scored_tokens = numbers[0];
  cache.windows_.utf8_bytes = numbers[1];
  cache.windows_.window_tokens = numbers[2];
  cache.vocabulary_ = numbers[3];
  cache.top_k_ = numbers[4];
  cache.width_ = values.shape[1];
  std::int64_t used = 0;
  for (std::int64_t i = 5; i < lengths.elements(); ++i) {
    if (numbers[i] < 1 || numbers[i] > tokens.elements() - used)
      corrupt("window lengths do not fit the tokens");
    cache.windows_.windows.emplace_back(ids + used, ids + used + numbers[i]);
    used += numbers[i];
  }
  const std::int32_t* indices = nullptr;
  if (cache.top_k_ > 0) {
    const TensorView view = typed("indices", DType::i32, 2);
    if (view.shape != values.shape) corrupt("indices do not fit the values");
    indices = reinterpret_cast<const std::int32_t*>(view.data);
    for (std::int64_t i = 0; i < view.elements(); ++i) {
      if (indices[i] < 0 || indices[i] >= cache.vocabulary_) corrupt("an index lies outside the vocabulary");
    }
  }
  cache.owner_ = file;
  cache.point_at(reinterpret_cast<const float*>(values.data), indices);
  const std::int64_t width = cache.top_k_ == 0 ? cache.vocabulary_ : cache.top_k_;
  if (used != tokens.elements() || cache.first_row_.back() != values.shape[0] || cache.width_ != width) {
    corrupt("arrays do not fit each other");
  }
  cache.sum_rows();
  return cache;
}

TeacherBatch TeacherCache::all() const {
  TeacherBatch batch;
  batch.windows.resize(windows_.windows.size());
  std::iota(batch.windows.begin(), batch.windows.end(), 0);
  batch.scored_tokens = first_row_.back();
  return batch;
}

TeacherBatch TeacherCache::draw(std::int64_t tokens, std::uint64_t seed, std::uint64_t step) const {
  TeacherBatch batch = all();
  if (tokens <= 0) fail(ErrorKind::usage, "a batch needs at least one token");
  RandomStream random(seed, "teacher batch", "windows", step);
  std::size_t chosen = 0;
  std::int64_t scored = 0;
  for (; chosen < batch.windows.size() && scored < tokens; ++chosen) {
    const auto rest = static_cast<std::uint32_t>(batch.windows.size() - chosen);
    std::swap(batch.windows[chosen], batch.windows[chosen + random.below(rest)]);
    const auto window = static_cast<std::size_t>(batch.windows[chosen]);
    const std::int64_t rows = first_row_[window + 1] - first_row_[window];
    batch.last_tokens = std::min(rows, tokens - scored);
    scored += batch.last_tokens;
  }
  batch.windows.resize(chosen);
  batch.scored_tokens = scored;
  return batch;
}

double TeacherCache::mean_over(
    const TeacherBatch& batch,
    const std::function<double(std::int64_t, std::span<const std::int32_t>)>& sum) const {
  std::vector<double> sums(batch.windows.size());
  parallel_for(static_cast<std::int64_t>(sums.size()), [&](std::int64_t i) {
    throw_if_interrupted();
    const std::int64_t window = batch.windows[static_cast<std::size_t>(i)];
    std::span<const std::int32_t> tokens = windows_.windows.at(static_cast<std::size_t>(window));
    const bool last = static_cast<std::size_t>(i) + 1 == sums.size();
    if (last && batch.last_tokens > 0) tokens = tokens.first(static_cast<std::size_t>(batch.last_tokens) + 1);
    sums[static_cast<std::size_t>(i)] = sum(window, tokens);
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(batch.scored_tokens);
}

double TeacherCache::row_kl(std::int64_t window, std::int64_t row, const float* logits,
                            std::vector<float>& scratch) const {
  const std::int64_t index = first_row_[static_cast<std::size_t>(window)] + row;
  const float* student = logits;
  if (indices_ != nullptr) {
    scratch.resize(static_cast<std::size_t>(width_));
    const std::int32_t* kept = indices_ + index * width_;
    for (std::int64_t i = 0; i < width_; ++i) scratch[static_cast<std::size_t>(i)] = logits[kept[i]];
    student = scratch.data();
  }
  return kl_divergence(log_probabilities_ + index * width_, shifts_[static_cast<std::size_t>(index)], student,
                       log_sum_exp(student, width_), width_);
}

double TeacherCache::row_nats(std::int64_t window, std::int64_t row, const float* logits) const {
  return log_sum_exp(logits, vocabulary_) - logits[this->window(window)[static_cast<std::size_t>(row) + 1]];
}

double TeacherCache::kl(const Transformer& candidate, const TeacherBatch& batch) const {
  require(candidate.config().vocabulary == vocabulary_, "candidate and dense model share a vocabulary");
  return mean_over(batch, [&](std::int64_t window, std::span<const std::int32_t> tokens) {
    double sum = 0;
    std::vector<float> scratch;
    visit_window_logits(candidate, tokens, [&](std::int64_t row, const float* logits) {
      sum += row_kl(window, row, logits, scratch);
    });
    return sum;
  });
}

double TeacherCache::nats_per_token(const Transformer& candidate, const TeacherBatch& batch) const {
  return mean_over(batch, [&](std::int64_t window, std::span<const std::int32_t> tokens) {
    double sum = 0;
    visit_window_logits(candidate, tokens,
                        [&](std::int64_t row, const float* logits) { sum += row_nats(window, row, logits); });
    return sum;
  });
}

}  // namespace laconic
