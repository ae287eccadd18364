#include "runtime/cache/segment_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/threads.h"
#include "runtime/row_kernel.h"

namespace laconic {
namespace {

constexpr std::int64_t tile_rows = 256;   // rows that are scored at a time
constexpr std::int64_t query_tile = 64;   // queries that are
constexpr std::int64_t task_rows = 1024;  // of a task, or more
constexpr std::int64_t most_tasks = 32;
constexpr std::int64_t least_work = 1 << 19;  // multiply-adds that are worth waking a thread for
constexpr float unseen = -std::numeric_limits<float>::infinity();

// Neighbouring rows of one block, or of the exact window; at most tile_rows.
struct Segment {
  const BlockRef* block = nullptr;  // null: the window
  std::int64_t begin = 0, end = 0;
  std::int64_t column = 0;  // of the first row, in a trace of everything
  bool masked = false;      // some row may be hidden from some query
};

// What one head sees of the cache, in order.
struct HeadSegments {
  std::vector<Segment> all;
  std::int64_t rows = 0;     // of blocks, in `all`
  std::int64_t columns = 0;  // of a trace of everything

  HeadSegments(const KvLayerState& state, std::int64_t head, const SegmentQueries& queries) {
    const std::int64_t first_query = queries.positions.front(), last_query = queries.positions.back();
    const std::int64_t window = queries.window;
    for (const BlockRef& ref : state.blocks) {
      const TokenIndex& index = ref.block->index();
      std::int64_t begin = 0, end = ref.block->rows(head);
      bool masked = window > 0 || ref.position_end < index.end();
      if (index.consecutive()) {
        end = std::clamp<std::int64_t>(ref.position_end - index.first(), 0, end);
        if (window > 0) begin = std::clamp<std::int64_t>(first_query - window + 1 - index.first(), 0, end);
        masked = window > 0 && index.first() + begin <= last_query - window;
      }
      add({&ref, begin, end, columns + begin, masked});
      rows += end - begin;
      columns += end;
    }
    const std::int64_t end = state.window_rows(), first = state.window_first();
    const std::int64_t begin =
        window > 0 ? std::clamp<std::int64_t>(first_query - window + 1 - first, 0, end) : 0;
    const bool masked =
        first_query < state.tokens - 1 || (window > 0 && first + begin <= last_query - window);
    add({nullptr, begin, end, columns + begin, masked});
    columns += end;
  }

 private:
  void add(Segment segment) {
    const std::int64_t end = segment.end;
    for (; segment.begin < end; segment.begin = segment.end) {
      segment.end = std::min(end, (segment.begin / tile_rows + 1) * tile_rows);
      all.push_back(segment);
      segment.column += segment.end - segment.begin;
    }
  }
};

// Softmax sums of queries over some segments: sums [count, width] are not yet divided by the mass. Borrowed.
struct PartialSoftmax {
  float *top = nullptr, *mass = nullptr, *sums = nullptr;
  std::int64_t width = 0;

  static std::int64_t floats(std::int64_t count, std::int64_t width) { return count * (width + 2); }
  PartialSoftmax() = default;
  // In `floats` numbers from `at` on, of which this takes queries [first, ...).
  PartialSoftmax(float* at, std::int64_t count, std::int64_t first, std::int64_t sum_width)
      : top(at + first),
        mass(at + count + first),
        sums(at + 2 * count + first * sum_width),
        width(sum_width) {}

  void start(std::int64_t count) const {
    std::fill_n(top, count, unseen);
    std::fill_n(mass, count, 0.0f);
    std::fill_n(sums, count * width, 0.0f);
  }
  // Takes in another part of query i.
  void merge(std::int64_t i, float other_top, float other_mass, const float* other_sums) const {
    if (other_top == unseen) return;
    const float both = std::max(top[i], other_top);
    const float old_scale = std::exp(top[i] - both), new_scale = std::exp(other_top - both);
    mass[i] = mass[i] * old_scale + other_mass * new_scale;
    top[i] = both;
    float* to = sums + i * width;
    for (std::int64_t j = 0; j < width; ++j) to[j] = to[j] * old_scale + other_sums[j] * new_scale;
  }
};

// Goes over the segments of one head. Reused by a thread, so that small blocks cost no allocation.
class SegmentWalk {
 public:
  // `total` takes what the queries [first_query, first_query + count) see.
  void start(const KvLayerState& state, const SegmentQueries& queries, std::int64_t head, const float* scaled,
             std::int64_t first_query, std::int64_t count, WeightTrace* trace, std::int64_t first_traced,
             const PartialSoftmax& total) {
    state_ = &state;
    queries_ = &queries;
    head_ = head;
    scaled_ = scaled;
    first_query_ = first_query;
    count_ = count;
    trace_ = trace;
    first_traced_ = first_traced;
    total_ = total;
    total_.start(count);
    open_ = false;
    listed_block_ = nullptr;
  }

  void add(std::span<const Segment> segments) {
    for (std::size_t begin = 0; begin < segments.size();) {
      const KvBasis* basis = basis_of(segments[begin]);
      std::int64_t rows = 0;
      std::size_t end = begin;
      while (end < segments.size() && basis_of(segments[end]) == basis) {
        const std::int64_t here = segments[end].end - segments[end].begin;
        if (rows + here > tile_rows) break;
        rows += here;
        ++end;
      }
      open(basis);
      add_tile(segments.subspan(begin, end - begin), rows);
      begin = end;
    }
    close();
  }

 private:
  static const KvBasis* basis_of(const Segment& segment) {
    return segment.block == nullptr ? nullptr : segment.block->block->basis();
  }

  void add_tile(std::span<const Segment> segments, std::int64_t rows) {
    if (scores_.size() < static_cast<std::size_t>(count_ * rows))
      scores_.resize(static_cast<std::size_t>(count_ * rows));
    std::int64_t at = 0;
    for (const Segment& segment : segments) {
      float* to = scores_.data() + at;
      if (segment.block != nullptr) {
        segment.block->block->score(head_, segment.begin, segment.end, turned_, count_, to, rows);
        add_log_weights(segment, to, rows);
      } else {
        state_->keys.dot(head_, segment.begin, segment.end, turned_, count_, to, rows);
      }
      if (segment.masked) hide(segment, to, rows);
      if (trace_ != nullptr) record(segment, to, rows);
      at += segment.end - segment.begin;
    }
    for (std::int64_t i = 0; i < count_; ++i) weigh(i, scores_.data() + i * rows, rows);
    at = 0;
    for (const Segment& segment : segments) {
      const float* weights = scores_.data() + at;
      if (segment.block != nullptr) {
        segment.block->block->mix(head_, segment.begin, segment.end, weights, rows, count_, sums_.data());
      } else {
        state_->values.mix(head_, segment.begin, segment.end, weights, rows, count_, sums_.data());
      }
      at += segment.end - segment.begin;
    }
  }

  void add_log_weights(const Segment& segment, float* scores, std::int64_t stride) const {
    const std::span<const float> weights = segment.block->block->log_weights(head_);
    if (weights.empty()) return;
    for (std::int64_t i = 0; i < count_; ++i) {
      float* row = scores + i * stride;
      for (std::int64_t r = segment.begin; r < segment.end; ++r)
        row[r - segment.begin] += weights[static_cast<std::size_t>(r)];
    }
  }

  void hide(const Segment& segment, float* scores, std::int64_t stride) {
    const bool in_window = segment.block == nullptr;
    std::int64_t first = state_->window_first(), end = std::numeric_limits<std::int64_t>::max();
    const TokenIndex::Positions* listed = nullptr;
    if (!in_window) {
      const TokenIndex& index = segment.block->block->index();
      first = index.first();
      end = segment.block->position_end;
      if (!index.consecutive()) listed = &positions_of(*segment.block);
    }
    for (std::int64_t i = 0; i < count_; ++i) {
      const std::int64_t query = queries_->positions[static_cast<std::size_t>(first_query_ + i)];
      const std::int64_t least = queries_->window > 0 ? query - queries_->window + 1 : 0;
      const std::int64_t most = in_window ? query : end - 1;
      float* row = scores + i * stride;
      for (std::int64_t r = segment.begin; r < segment.end; ++r) {
        const std::int64_t position = listed != nullptr ? (*listed)[static_cast<std::size_t>(r)] : first + r;
        if (position < least || position > most) row[r - segment.begin] = unseen;
      }
    }
  }

  const TokenIndex::Positions& positions_of(const BlockRef& ref) {
    if (listed_block_ != ref.block.get()) {
      positions_ = ref.block->index().positions(head_);
      listed_block_ = ref.block.get();
    }
    return positions_;
  }

  void record(const Segment& segment, const float* scores, std::int64_t stride) const {
    if (trace_->window_only && segment.block != nullptr) return;
    for (std::int64_t i = 0; i < count_; ++i) {
      std::copy_n(
          scores + i * stride, segment.end - segment.begin,
          trace_->weights.data() + (first_query_ + i) * trace_->columns + segment.column - first_traced_);
    }
  }

  // Scores become weights e^(s - top); what was summed under a lower top is scaled down.
  void weigh(std::int64_t i, float* row, std::int64_t rows) {
    const auto at = static_cast<std::size_t>(i);
    const float top = std::max(top_[at], largest_of(row, rows));
    if (top == unseen) {
      std::fill(row, row + rows, 0.0f);
      return;
    }
    if (top > top_[at]) {
      const float scale = std::exp(top_[at] - top);
      mass_[at] *= scale;
      scale_row(sums_.data() + i * width_, width_, scale);
      top_[at] = top;
    }
    mass_[at] += static_cast<float>(exponentials(row, rows, top));
  }

  // Queries and sums in the coordinates of the segments that come; those before are done with.
  void open(const KvBasis* basis) {
    if (open_ && basis_ == basis) return;
    close();
    basis_ = basis;
    width_ = queries_->head_dim;
    turned_ = scaled_;
    if (basis != nullptr) {
      width_ = basis->value_width(head_);
      turned_rows_.resize(static_cast<std::size_t>(count_ * basis->query_width(head_)));
      basis->turn(head_, scaled_, count_, turned_rows_.data());
      turned_ = turned_rows_.data();
    }
    top_.assign(static_cast<std::size_t>(count_), unseen);
    mass_.assign(static_cast<std::size_t>(count_), 0);
    sums_.assign(static_cast<std::size_t>(count_ * width_), 0);
    open_ = true;
  }

  void close() {
    if (!open_) return;
    const float* expanded = sums_.data();
    if (basis_ != nullptr) {
      expanded_.resize(static_cast<std::size_t>(count_ * queries_->head_dim));
      basis_->expand(head_, sums_.data(), mass_.data(), count_, expanded_.data());
      expanded = expanded_.data();
    }
    for (std::int64_t i = 0; i < count_; ++i) {
      const auto at = static_cast<std::size_t>(i);
      total_.merge(i, top_[at], mass_[at], expanded + i * queries_->head_dim);
    }
    open_ = false;
  }

  const KvLayerState* state_ = nullptr;
  const SegmentQueries* queries_ = nullptr;
  std::int64_t head_ = 0, first_query_ = 0, count_ = 0;
  const float* scaled_ = nullptr;
  WeightTrace* trace_ = nullptr;
  std::int64_t first_traced_ = 0;
  PartialSoftmax total_;

  // Of the segments in the coordinates of basis_.
  bool open_ = false;
  const KvBasis* basis_ = nullptr;
  std::int64_t width_ = 0;
  const float* turned_ = nullptr;
  std::vector<float> top_, mass_, sums_;
  std::vector<float> scores_, turned_rows_, expanded_;

  const KvBlock* listed_block_ = nullptr;
  TokenIndex::Positions positions_;
};

// Where the segments of a head are cut into `tasks` runs: first segment of each, and the end. The window goes
// with the last, so that its rows, which a batch of queries has more of, do not move the cuts.
std::vector<std::size_t> cut_segments(const HeadSegments& segments, std::int64_t tasks) {
  std::vector<std::size_t> cuts = {0};
  std::int64_t rows = 0;
  for (std::size_t s = 0; s < segments.all.size(); ++s) {
    if (segments.all[s].block == nullptr) break;
    rows += segments.all[s].end - segments.all[s].begin;
    const auto done = static_cast<std::int64_t>(cuts.size());
    if (done < tasks && rows * tasks >= segments.rows * done) cuts.push_back(s + 1);
  }
  cuts.resize(static_cast<std::size_t>(tasks), segments.all.size());
  cuts.push_back(segments.all.size());
  return cuts;
}

bool all_heads_alike(const KvLayerState& state) {
  return std::all_of(state.blocks.begin(), state.blocks.end(),
                     [](const BlockRef& ref) { return ref.block->index().consecutive(); });
}

}  // namespace

void attend_segments(const KvLayerState& state, const SegmentQueries& queries, float* out,
                     std::span<WeightTrace> traces) {
  const std::int64_t heads = queries.kv_heads, count = queries.count(), d = queries.head_dim;
  const bool alike = all_heads_alike(state);
  std::vector<HeadSegments> segments;
  std::vector<std::vector<std::size_t>> cuts;
  std::int64_t most_rows = 0;
  for (std::int64_t h = 0; h < (alike ? 1 : heads); ++h) {
    segments.emplace_back(state, h, queries);
    most_rows = std::max(most_rows, segments.back().rows);
  }
  const std::int64_t tasks =
      std::clamp<std::int64_t>(most_rows / task_rows, 1, std::max<std::int64_t>(1, most_tasks / heads));
  for (const HeadSegments& head : segments) cuts.push_back(cut_segments(head, tasks));
  const auto of_head = [&](std::int64_t h) { return static_cast<std::size_t>(alike ? 0 : h); };

  for (std::int64_t h = 0; h < static_cast<std::int64_t>(traces.size()); ++h) {
    WeightTrace& trace = traces[static_cast<std::size_t>(h)];
    trace.columns = trace.window_only ? state.window_rows() : segments[of_head(h)].columns;
    trace.weights.assign(static_cast<std::size_t>(count * trace.columns), unseen);
  }
  std::vector<float> scaled(queries.rows, queries.rows + heads * count * d);
  const auto factor = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
  for (float& number : scaled) number *= factor;

  const std::int64_t floats = PartialSoftmax::floats(count, d);
  std::vector<float> parts(static_cast<std::size_t>(tasks * heads * floats));
  const auto part_of = [&](std::int64_t task, std::int64_t first) {
    return PartialSoftmax(parts.data() + task * floats, count, first, d);
  };
  const auto walk_task = [&](std::int64_t task) {
    thread_local SegmentWalk walk;
    const std::int64_t head = task / tasks, run = task % tasks;
    const HeadSegments& own = segments[of_head(head)];
    const std::size_t begin = cuts[of_head(head)][static_cast<std::size_t>(run)];
    const std::size_t end = cuts[of_head(head)][static_cast<std::size_t>(run) + 1];
    WeightTrace* trace = traces.empty() ? nullptr : &traces[static_cast<std::size_t>(head)];
    const std::int64_t first_traced = trace != nullptr ? own.columns - trace->columns : 0;
    for (std::int64_t first = 0; first < count; first += query_tile) {
      const std::int64_t here = std::min(query_tile, count - first);
      walk.start(state, queries, head, scaled.data() + (head * count + first) * d, first, here, trace,
                 first_traced, part_of(task, first));
      walk.add(std::span(own.all).subspan(begin, end - begin));
    }
  };
  const auto finish_head = [&](std::int64_t head) {
    const PartialSoftmax total = part_of(head * tasks, 0);
    for (std::int64_t run = 1; run < tasks; ++run) {
      const PartialSoftmax part = part_of(head * tasks + run, 0);
      for (std::int64_t i = 0; i < count; ++i) total.merge(i, part.top[i], part.mass[i], part.sums + i * d);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const float mass = total.mass[i], inverse = mass > 0 ? 1 / mass : 0;
      float* to = out + (head * count + i) * d;
      const float* from = total.sums + i * d;
      for (std::int64_t j = 0; j < d; ++j) to[j] = from[j] * inverse;
      if (traces.empty()) continue;
      WeightTrace& trace = traces[static_cast<std::size_t>(head)];
      float* weights = trace.weights.data() + i * trace.columns;
      const float top = total.top[i];
      if (top == unseen) {
        std::fill(weights, weights + trace.columns, 0.0f);
        continue;
      }
      exponentials(weights, trace.columns, top);
      scale_row(weights, trace.columns, inverse);
    }
  };
  const auto each = [&](std::int64_t number, const std::function<void(std::int64_t)>& body) {
    if (heads * count * most_rows * d < least_work) {
      for (std::int64_t i = 0; i < number; ++i) body(i);
    } else {
      parallel_for(number, body);
    }
  };
  // Tasks that follow each other read on in memory: a thread takes several at a time.
  const std::int64_t all = tasks * heads, shares = std::min<std::int64_t>(all, 8 * thread_count());
  each(shares, [&](std::int64_t share) {
    for (std::int64_t task = share * all / shares; task < (share + 1) * all / shares; ++task) walk_task(task);
  });
  if (traces.empty()) {
    for (std::int64_t head = 0; head < heads; ++head) finish_head(head);
  } else {
    each(heads, finish_head);
  }
}

}  // namespace laconic
