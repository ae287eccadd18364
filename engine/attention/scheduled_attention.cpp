#include "engine/attention/scheduled_attention.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/tensor/tensor.h"

namespace laconic {
namespace {

constexpr float nothing = -std::numeric_limits<float>::infinity();

void validate(const AttentionProblem& problem) {
  const AttentionShape& shape = problem.shape;
  laconic::validate(shape);
  const auto fits = [&](std::span<const float> values, std::int64_t rows, const char* name) {
    if (values.size() != static_cast<std::size_t>(rows * shape.head_dim)) {
      fail(ErrorKind::usage,
           fmt::format("{} has {} numbers, {} rows of {} are {}", name, values.size(), rows, shape.head_dim,
                       rows * shape.head_dim),
           "attention", "give every tensor the shape of the problem");
    }
    require_finite(values, name);
  };
  fits(problem.queries, shape.queries, "Q");
  fits(problem.keys, shape.keys, "K");
  fits(problem.values, shape.keys, "V");
}

// The tensors of one run in slow memory.
class ScheduleRunner {
 public:
  ScheduleRunner(const AttentionProblem& problem, const ScheduleTiles& tiles, std::int64_t words,
                 AccessListener* listener)
      : problem_(problem),
        shape_(problem.shape),
        d_(problem.shape.head_dim),
        tiles_(tiles),
        memory_(words, listener),
        q_words_(problem.queries.begin(), problem.queries.end()),
        k_words_(problem.keys.begin(), problem.keys.end()),
        v_words_(problem.values.begin(), problem.values.end()),
        o_words_(q_words_.size()),
        q_(memory_.place("Q", q_words_)),
        k_(memory_.place("K", k_words_)),
        v_(memory_.place("V", v_words_)),
        o_(memory_.place("O", o_words_)) {}

  void fa1() {
    statistics_words_.assign(static_cast<std::size_t>(2 * shape_.queries), 0.0f);
    for (std::int64_t row = 0; row < shape_.queries; ++row)
      statistics_words_[static_cast<std::size_t>(2 * row)] = nothing;
    auto& statistics = memory_.place("statistics", statistics_words_);  // m and l of a row side by side
    for (std::int64_t key = 0; key < shape_.keys; key += tiles_.Bc) {
      const IndexRange block{key, std::min(shape_.keys, key + tiles_.Bc)};
      const IndexRange seeing = shape_.mask.queries_of(block, shape_.queries);
      if (seeing.size() == 0) continue;
      auto keys = memory_.allocate(block.size() * d_), values = memory_.allocate(block.size() * d_);
      memory_.read(k_, block.begin * d_, 1, keys.all());
      memory_.read(v_, block.begin * d_, 1, values.all());
      const std::int64_t end = std::min(shape_.queries, (seeing.end + tiles_.Br - 1) / tiles_.Br * tiles_.Br);
      // The rows of a block pass one at a time: beside 2 Bc d words of keys and values there is no room for 2
      // Br d words of Q and O and the statistics. What is moved is the same.
      for (std::int64_t row = seeing.begin / tiles_.Br * tiles_.Br; row < end; ++row) {
        auto query = memory_.allocate(d_), out = memory_.allocate(d_), state = memory_.allocate(2);
        memory_.read(q_, row * d_, 1, query.all());
        memory_.read(o_, row * d_, 1, out.all());
        memory_.read(statistics, 2 * row, 1, state.all());
        memory_.scale(out.all(), memory_.get(state.all(), 1));  // O is kept normalised in slow memory
        const IndexRange seen = shape_.mask.keys_of(row, shape_.keys);
        for (std::int64_t j = std::max(block.begin, seen.begin); j < std::min(block.end, seen.end); ++j) {
          const std::int64_t at = (j - block.begin) * d_;
          const float score = problem_.scale * memory_.dot(query.all(), keys.part(at, d_));
          meet(score, state.part(0, 1), state.part(1, 1), out.all(), values.part(at, d_));
        }
        normalise(out.all(), state.part(1, 1));
        memory_.write(out.all(), o_, row * d_, 1);
        memory_.write(state.all(), statistics, 2 * row, 1);
      }
    }
  }

  void qstat() {
    for (std::int64_t row = 0; row < shape_.queries; row += tiles_.Br) {
      const std::int64_t end = std::min(shape_.queries, row + tiles_.Br), rows = end - row;
      const IndexRange range = keys_of_block(row, end);
      auto out = memory_.allocate(rows * d_);
      memory_.settle(out.all(), o_, row * d_, 1);
      if (range.size() > 0) {
        auto queries = memory_.allocate(rows * d_), state = memory_.allocate(3 * rows);
        auto key = memory_.allocate(d_), value = memory_.allocate(d_);
        const FastWords most = state.part(0, rows), sum = state.part(rows, rows),
                        scores = state.part(2 * rows, rows);
        for (std::int64_t r = 0; r < rows; ++r) memory_.set(most, r, nothing);
        memory_.read(q_, row * d_, 1, queries.all());
        for (std::int64_t j = range.begin; j < range.end; ++j) {
          memory_.read(k_, j * d_, 1, key.all());
          memory_.read(v_, j * d_, 1, value.all());
          for (std::int64_t r = 0; r < rows; ++r) {
            const bool seen = sees(row + r, j);
            memory_.set(scores, r,
                        seen ? problem_.scale * memory_.dot(queries.part(r * d_, d_), key.all()) : nothing);
          }
          for (std::int64_t r = 0; r < rows; ++r) {
            if (!sees(row + r, j)) continue;
            meet(memory_.get(scores, r), most.part(r, 1), sum.part(r, 1), out.part(r * d_, d_), value.all());
          }
        }
        for (std::int64_t r = 0; r < rows; ++r) normalise(out.part(r * d_, d_), sum.part(r, 1));
      }
      memory_.write(out.all(), o_, row * d_, 1);
    }
  }

  void small() {
    statistics_words_.assign(static_cast<std::size_t>(2 * shape_.queries), 0.0f);
    s_words_.assign(static_cast<std::size_t>(shape_.queries * shape_.keys), 0.0f);
    auto& statistics = memory_.place("statistics", statistics_words_);
    auto& scores = memory_.place("S", s_words_);
    for (std::int64_t row = 0; row < shape_.queries; row += tiles_.b) {
      const std::int64_t end = std::min(shape_.queries, row + tiles_.b), rows = end - row;
      const IndexRange range = keys_of_block(row, end);
      if (range.size() > 0) write_scores(row, rows, range, scores, statistics);
      for (std::int64_t column = 0; column < d_; column += tiles_.b)
        write_columns(row, rows, column, std::min(tiles_.b, d_ - column), range, scores, statistics);
    }
  }

  ScheduledRun result(AttentionSchedule schedule) {
    ScheduledRun run;
    run.schedule = schedule;
    run.tiles = tiles_;
    run.traffic = memory_.traffic();
    run.peak_resident = memory_.peak();
    for (const auto& tensor : memory_.tensors()) run.by_tensor.emplace_back(tensor.name, tensor.traffic);
    run.out = std::move(o_words_);
    return run;
  }

 private:
  bool sees(std::int64_t query, std::int64_t key) const {
    const IndexRange range = shape_.mask.keys_of(query, shape_.keys);
    return key >= range.begin && key < range.end;
  }

  IndexRange keys_of_block(std::int64_t begin, std::int64_t end) const {
    return {shape_.mask.keys_of(begin, shape_.keys).begin, shape_.mask.keys_of(end - 1, shape_.keys).end};
  }

  // Online softmax over one more key of a row.
  void meet(float score, FastWords most, FastWords sum, FastWords out, FastWords value) {
    const float before = memory_.get(most, 0), now = std::max(before, score);
    const float keep = std::exp(before - now), weight = std::exp(score - now);
    if (now > before) {
      memory_.scale(out, keep);
      memory_.set(most, 0, now);
    }
    memory_.set(sum, 0, keep * memory_.get(sum, 0) + weight);
    memory_.add(out, weight, value);
  }

  void normalise(FastWords out, FastWords sum) {
    const float total = memory_.get(sum, 0);
    if (total > 0) memory_.scale(out, 1 / total);
  }

  // Steps 1 and 2: tiles of raw scores by rank-1 updates, then m and l of their rows.
  void write_scores(std::int64_t row, std::int64_t rows, IndexRange range, TwoLevelMemory::SlowTensor& scores,
                    TwoLevelMemory::SlowTensor& statistics) {
    const std::int64_t b = tiles_.b;
    auto state = memory_.allocate(2 * rows);
    const FastWords most = state.part(0, rows), sum = state.part(rows, rows);
    for (std::int64_t r = 0; r < rows; ++r) memory_.set(most, r, nothing);
    for (std::int64_t first = range.begin / b * b; first < range.end; first += b) {
      const std::int64_t columns = std::min(b, shape_.keys - first);
      auto tile = memory_.allocate(rows * columns), query = memory_.allocate(rows),
           key = memory_.allocate(columns);
      for (std::int64_t r = 0; r < rows; ++r)
        memory_.settle(tile.part(r * columns, columns), scores, (row + r) * shape_.keys + first, 1);
      for (std::int64_t k = 0; k < d_; ++k) {
        memory_.read(q_, row * d_ + k, d_, query.all());
        memory_.read(k_, first * d_ + k, d_, key.all());
        for (std::int64_t r = 0; r < rows; ++r)
          memory_.add(tile.part(r * columns, columns), memory_.get(query.all(), r), key.all());
      }
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) {
          const FastWords at = tile.part(r * columns + c, 1);
          const float score = sees(row + r, first + c) ? problem_.scale * memory_.get(at, 0) : nothing;
          memory_.set(at, 0, score);
          if (score == nothing) continue;
          const float before = memory_.get(most, r), now = std::max(before, score);
          memory_.set(sum, r, std::exp(before - now) * memory_.get(sum, r) + std::exp(score - now));
          memory_.set(most, r, now);
        }
        memory_.write(tile.part(r * columns, columns), scores, (row + r) * shape_.keys + first, 1);
      }
    }
    memory_.write(state.all(), statistics, 2 * row, 1);
  }

  // Step 3 for one block of value columns.
  void write_columns(std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns,
                     IndexRange range, TwoLevelMemory::SlowTensor& scores,
                     TwoLevelMemory::SlowTensor& statistics) {
    auto out = memory_.allocate(rows * columns);
    for (std::int64_t r = 0; r < rows; ++r)
      memory_.settle(out.part(r * columns, columns), o_, (row + r) * d_ + column, 1);
    if (range.size() > 0) {
      auto state = memory_.allocate(2 * rows), score = memory_.allocate(rows),
           value = memory_.allocate(columns);
      memory_.read(statistics, 2 * row, 1, state.all());
      for (std::int64_t j = range.begin; j < range.end; ++j) {
        memory_.read(scores, row * shape_.keys + j, shape_.keys, score.all());
        memory_.read(v_, j * d_ + column, 1, value.all());
        for (std::int64_t r = 0; r < rows; ++r) {
          const float s = memory_.get(score.all(), r);
          if (s == nothing) continue;
          const float weight = std::exp(s - memory_.get(state.all(), r)) / memory_.get(state.all(), rows + r);
          memory_.add(out.part(r * columns, columns), weight, value.all());
        }
      }
    }
    for (std::int64_t r = 0; r < rows; ++r)
      memory_.write(out.part(r * columns, columns), o_, (row + r) * d_ + column, 1);
  }

  const AttentionProblem& problem_;
  const AttentionShape& shape_;
  std::int64_t d_;
  ScheduleTiles tiles_;
  TwoLevelMemory memory_;
  std::vector<float> q_words_, k_words_, v_words_, o_words_, s_words_, statistics_words_;
  TwoLevelMemory::SlowTensor &q_, &k_, &v_, &o_;
};

}  // namespace

std::vector<double> attention_by_definition(const AttentionProblem& problem) {
  validate(problem);
  const AttentionShape& shape = problem.shape;
  const auto d = static_cast<std::size_t>(shape.head_dim);
  std::vector<double> out(problem.queries.size()), weights(static_cast<std::size_t>(shape.keys));
  for (std::int64_t query = 0; query < shape.queries; ++query) {
    const IndexRange range = shape.mask.keys_of(query, shape.keys);
    if (range.size() == 0) continue;
    const auto begin = static_cast<std::size_t>(range.begin), end = static_cast<std::size_t>(range.end);
    const float* q = problem.queries.data() + static_cast<std::size_t>(query) * d;
    double most = -std::numeric_limits<double>::infinity(), sum = 0;
    for (std::size_t j = begin; j < end; ++j) {
      double score = 0;
      for (std::size_t i = 0; i < d; ++i) score += static_cast<double>(q[i]) * problem.keys[j * d + i];
      weights[j] = problem.scale * score;
      most = std::max(most, weights[j]);
    }
    for (std::size_t j = begin; j < end; ++j) sum += weights[j] = std::exp(weights[j] - most);
    double* to = out.data() + static_cast<std::size_t>(query) * d;
    for (std::size_t j = begin; j < end; ++j) {
      for (std::size_t i = 0; i < d; ++i) to[i] += weights[j] / sum * problem.values[j * d + i];
    }
  }
  return out;
}

ScheduledRun run_schedule(AttentionSchedule schedule, const AttentionProblem& problem, std::int64_t words,
                          AccessListener* listener) {
  validate(problem);
  ScheduleRunner runner(problem, tiles_of(schedule, problem.shape, words), words, listener);
  switch (schedule) {
    case AttentionSchedule::fa1:
      runner.fa1();
      break;
    case AttentionSchedule::qstat:
      runner.qstat();
      break;
    default:
      runner.small();
  }
  return runner.result(schedule);
}

double largest_error(std::span<const float> out, std::span<const double> wanted) {
  require(out.size() == wanted.size(), "errors are of outputs of one shape");
  double error = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double difference = std::abs(out[i] - wanted[i]);
    if (!(difference <= error)) error = difference;  // NaN stays
  }
  return error;
}

nlohmann::json to_json(const ScheduledRun& run, const AttentionShape& shape, std::int64_t words,
                       int word_bytes, double error) {
  const std::uint64_t bound = least_traffic(shape, words);
  nlohmann::json tensors = nlohmann::json::object();
  for (const auto& [name, traffic] : run.by_tensor)
    tensors[name] = {{"reads", traffic.reads}, {"writes", traffic.writes}};
  return {{"N", shape.queries},
          {"keys", shape.keys},
          {"d", shape.head_dim},
          {"M", words},
          {"word_bytes", word_bytes},
          {"schedule", name_of(run.schedule)},
          {"Br", run.tiles.Br},
          {"Bc", run.tiles.Bc},
          {"b", run.tiles.b},
          {"reads", run.traffic.reads},
          {"writes", run.traffic.writes},
          {"bytes", run.traffic.total() * static_cast<std::uint64_t>(word_bytes)},
          {"peak_resident", run.peak_resident},
          {"lb", bound},
          {"ratio", static_cast<double>(run.traffic.total()) / static_cast<double>(bound)},
          {"max_abs_err", error},
          {"tensors", tensors}};
}

}  // namespace laconic
