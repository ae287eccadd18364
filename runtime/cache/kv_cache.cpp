#include "runtime/cache/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/threads.h"
#include "runtime/attention.h"
#include "runtime/cache/segment_attention.h"
#include "runtime/cache/stages.h"

namespace laconic {
namespace {

constexpr std::int64_t most_tokens = std::int64_t{1} << 28;
constexpr std::uint64_t most_blocks = std::uint64_t{1} << 24;

LayerRows part_of(const KvShape& shape, const LayerRows& rows, std::int64_t begin, std::int64_t count) {
  const std::int64_t kv = shape.kv_heads * shape.head_dim, q = shape.heads * shape.head_dim;
  LayerRows part = rows;
  part.rows = count;
  part.first_position += begin;
  part.keys += begin * kv;
  part.values += begin * kv;
  part.queries += begin * q;
  if (part.hidden != nullptr) part.hidden += begin * shape.hidden;
  return part;
}

// Rows [0, count) of one side, a matrix per head, as the window would have kept them.
HeadMatrices rounded_heads(const KvShape& shape, const float* from, std::int64_t count, DType dtype) {
  HeadMatrices heads;
  for (std::int64_t h = 0; h < shape.kv_heads; ++h) {
    HeadMatrix matrix(count, shape.head_dim);
    for (std::int64_t r = 0; r < count; ++r) {
      const float* row = from + (r * shape.kv_heads + h) * shape.head_dim;
      for (std::int64_t j = 0; j < shape.head_dim; ++j) matrix.row(r)[j] = rounded_to(dtype, row[j]);
    }
    heads.push_back(std::move(matrix));
  }
  return heads;
}

HeadMatrices first_rows(const ExactStore& store, std::int64_t count) {
  HeadMatrices heads;
  for (std::int64_t part = 0; part < store.parts(); ++part) {
    heads.emplace_back(count, store.width(part));
    store.read(part, 0, count, heads.back().values.data());
  }
  return heads;
}

void check_finite(const LayerRows& rows, std::int64_t layer, std::int64_t numbers) {
  for (const float* side : {rows.keys, rows.values}) {
    if (all_finite(std::span(side, static_cast<std::size_t>(numbers)))) continue;
    fail(ErrorKind::input,
         fmt::format("{} of layer {} between positions {} and {} are not finite",
                     side == rows.keys ? "keys" : "values", layer, rows.first_position,
                     rows.first_position + rows.rows - 1),
         "KV cache", "the model's weights or its input are damaged");
  }
}

AttentionSumsForm sums_form(const KvCodec& codec) {
  AttentionSumsForm form = codec.needs().sums;
  form.interval = codec.window().flush;
  return form;
}

}  // namespace

std::int64_t WindowPolicy::compressed(std::int64_t prompt) const {
  return prompt < exact + flush ? 0 : (prompt - exact) / granule * granule;
}

KvCache::KvCache(KvShape shape, std::vector<std::shared_ptr<const KvCodec>> codecs)
    : shape_(std::move(shape)), codecs_(std::move(codecs)) {
  require(static_cast<std::int64_t>(codecs_.size()) == shape_.layers, "a cache has a codec for every layer");
  for (const auto& codec : codecs_) {
    const WindowPolicy window = codec->window();
    require(window.exact >= 0 && window.flush >= 1 && window.granule >= 1, "a window has rows to give");
    layers_.emplace_back(window, shape_.kv_heads, shape_.head_dim, codec->side_width());
    const KvNeeds needs = codec->needs();
    if (needs.sums.any()) layers_.back().sums = AttentionSums(shape_.kv_heads, sums_form(*codec));
  }
}

void KvCache::attend(std::int64_t layer, const LayerRows& rows, float* out) {
  KvLayerState& state = layers_.at(static_cast<std::size_t>(layer));
  require(rows.first_position == state.tokens, "rows follow the tokens that the cache holds");
  require(state.tokens == 0 || (rows.keys == nullptr) == state.dropped,
          "a layer's attention stays dropped or present while a cache is used");
  state.dropped = rows.keys == nullptr;
  if (state.dropped) {
    state.tokens += rows.rows;
    return;
  }
  check_finite(rows, layer, rows.rows * shape_.kv_heads * shape_.head_dim);
  if (state.tokens == 0 && rows.rows > 1) return take_prompt_attended(layer, rows, out);
  const WindowPolicy window = codec(layer).window();
  for (std::int64_t begin = 0; begin < rows.rows;) {
    const std::int64_t room = std::max<std::int64_t>(1, window.exact + window.flush - state.window_rows());
    const std::int64_t count = std::min(room, rows.rows - begin);
    const LayerRows part = part_of(shape_, rows, begin, count);
    append_window(layer, part);
    attend_rows(layer, part, out + begin * shape_.heads * shape_.head_dim);
    if (state.window_rows() >= window.exact + window.flush) flush(layer, window.flush);
    begin += count;
  }
}

void KvCache::take_prompt_attended(std::int64_t layer, const LayerRows& rows, float* out) {
  attend_prompt({rows.rows, shape_.heads, shape_.kv_heads, shape_.head_dim, shape_.window_of(layer),
                 rows.queries, rows.keys, rows.values, out});
  take_prompt(layer, rows);
}

// Keys and values of a prompt go to blocks and window at once, so that only one layer's are ever held twice.
void KvCache::take_prompt(std::int64_t layer, const LayerRows& rows) {
  KvLayerState& state = layers_.at(static_cast<std::size_t>(layer));
  const WindowPolicy window = codec(layer).window();
  const std::int64_t count = window.compressed(rows.rows);
  const KvNeeds needs = codec(layer).needs();
  state.tokens = state.prompt = rows.rows;
  std::optional<PromptScores> scores;
  if (needs.prompt_scores || state.sums.active()) scores.emplace(shape_, layer, rows);
  if (state.sums.active()) state.sums.start(*scores, window.exact + window.flush - (rows.rows - count));
  if (count > 0) {
    ExactRows exact;
    exact.layer = layer;
    exact.count = count;
    exact.keys = rounded_heads(shape_, rows.keys, count, window.dtype);
    exact.values = rounded_heads(shape_, rows.values, count, window.dtype);
    if (codec(layer).side_width() > 0) {
      exact.side = HeadMatrix(count, codec(layer).side_width());
      codec(layer).side_rows(part_of(shape_, rows, 0, count), exact.side.values.data());
      for (float& value : exact.side.values) value = rounded_to(DType::f16, value);
    }
    exact.prompt = &rows;
    if (scores) exact.scores = &*scores;
    codec(layer).compress(exact, state);
  }
  state.tokens = count;
  append_window(layer, part_of(shape_, rows, count, rows.rows - count));
}

void KvCache::append_window(std::int64_t layer, const LayerRows& rows) {
  KvLayerState& state = layers_.at(static_cast<std::size_t>(layer));
  if (rows.rows == 0) return;
  const std::int64_t d = shape_.head_dim, stride = shape_.kv_heads * d;
  for (std::int64_t h = 0; h < shape_.kv_heads; ++h) {
    state.keys.append(h, rows.keys + h * d, rows.rows, stride);
    state.values.append(h, rows.values + h * d, rows.rows, stride);
  }
  const std::int64_t side_width = codec(layer).side_width();
  if (side_width > 0) {
    std::vector<float> side(static_cast<std::size_t>(rows.rows * side_width));
    codec(layer).side_rows(rows, side.data());
    state.side.append(0, side.data(), rows.rows, side_width);
  }
  state.tokens += rows.rows;
}

void KvCache::attend_rows(std::int64_t layer, const LayerRows& rows, float* out) {
  KvLayerState& state = layers_.at(static_cast<std::size_t>(layer));
  const std::int64_t d = shape_.head_dim, group = shape_.group(), width = shape_.heads * d;
  const WindowPolicy window = codec(layer).window();
  // Steps from a row to the next compression.
  const auto remaining = [&, full = window.exact + window.flush, held = state.window_rows()](std::int64_t r) {
    return full - (held - (rows.rows - 1 - r));
  };
  std::int64_t first_summed = rows.rows;
  if (state.sums.active()) {
    while (first_summed > 0 && state.sums.wants(remaining(first_summed - 1))) --first_summed;
  }
  // From [rows, heads, d] to [kv_heads, rows, group, d] and back.
  const std::int64_t count = rows.rows * group;
  std::vector<float> queries(static_cast<std::size_t>(rows.rows * width)), mixed(queries.size());
  std::vector<std::int64_t> positions(static_cast<std::size_t>(count));
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    for (std::int64_t head = 0; head < shape_.kv_heads; ++head)
      std::copy_n(rows.queries + r * width + head * group * d, group * d,
                  queries.data() + (head * rows.rows + r) * group * d);
    std::fill_n(positions.begin() + r * group, group, rows.first_position + r);
  }
  std::vector<WeightTrace> traces(static_cast<std::size_t>(first_summed < rows.rows ? shape_.kv_heads : 0));
  for (WeightTrace& trace : traces) trace.window_only = state.sums.form().window_only;
  attend_segments(state, {queries.data(), positions, shape_.kv_heads, d, shape_.window_of(layer)},
                  mixed.data(), traces);
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    for (std::int64_t head = 0; head < shape_.kv_heads; ++head)
      std::copy_n(mixed.data() + (head * rows.rows + r) * group * d, group * d,
                  out + r * width + head * group * d);
  }
  for (std::int64_t head = 0; head < static_cast<std::int64_t>(traces.size()); ++head) {
    const WeightTrace& trace = traces[static_cast<std::size_t>(head)];
    for (std::int64_t r = first_summed; r < rows.rows; ++r) {
      // Rows after the query's own are not part of its softmax row.
      const std::int64_t visible = trace.columns - (rows.rows - 1 - r);
      std::vector<float> weights(static_cast<std::size_t>(visible));
      for (std::int64_t g = 0; g < group; ++g) {
        const float* from = trace.weights.data() + (r * group + g) * trace.columns;
        for (std::int64_t c = 0; c < visible; ++c) weights[static_cast<std::size_t>(c)] += from[c];
      }
      state.sums.observe(head, weights, remaining(r));
    }
  }
}

void KvCache::seal() {
  for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
    const std::int64_t rows = this->layer(layer).window_rows();
    if (rows > 0) flush(layer, rows);
  }
}

void KvCache::append_block(std::int64_t layer, std::shared_ptr<const KvBlock> block) {
  KvLayerState& state = layers_.at(static_cast<std::size_t>(layer));
  const TokenIndex& index = block->index();
  require(state.window_rows() == 0 && !state.dropped, "a block follows other blocks, not an exact window");
  if (index.heads() != shape_.kv_heads || !index.consecutive() || index.first() != state.tokens) {
    fail(ErrorKind::input,
         fmt::format("a block of tokens {} to {} does not follow the {} tokens of layer {}", index.first(),
                     index.end() - 1, state.tokens, layer),
         "KV cache", "append the blocks of a context in their order");
  }
  state.tokens = index.end();
  state.blocks.push_back({std::move(block), state.tokens});
}

void KvCache::flush(std::int64_t layer, std::int64_t count) {
  KvLayerState& state = layers_.at(static_cast<std::size_t>(layer));
  ExactRows exact;
  exact.layer = layer;
  exact.first_position = state.window_first();
  exact.count = count;
  exact.keys = first_rows(state.keys, count);
  exact.values = first_rows(state.values, count);
  if (codec(layer).side_width() > 0) exact.side = std::move(first_rows(state.side, count).front());
  codec(layer).compress(exact, state);
  if (state.sums.active()) state.sums.settle();
  state.keys.drop_front(count);
  state.values.drop_front(count);
  state.side.drop_front(count);
}

std::int64_t KvCache::length() const {
  std::int64_t least = layers_.empty() ? 0 : layers_.front().tokens;
  for (const KvLayerState& state : layers_) least = std::min(least, state.tokens);
  return least;
}

bool KvCache::can_truncate(std::int64_t length) const {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const KvLayerState& state = layers_[i];
    if (state.dropped || length >= state.window_first()) continue;
    if (!codecs_[i]->capabilities().truncate) return false;
  }
  return true;
}

void KvCache::truncate(std::int64_t length) {
  require(length >= 0, "a cache is cut to a length of at least 0");
  if (!can_truncate(length)) {
    fail(ErrorKind::unsupported,
         fmt::format("the cache \"{}\" merged or dropped tokens after position {} and cannot go back there",
                     codecs_.front()->canonical(), length),
         "KV cache", "keep a snapshot of the earlier state and go on from it");
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    KvLayerState& state = layers_[i];
    if (state.tokens <= length) continue;
    const std::int64_t first = state.window_first();
    state.tokens = length;
    state.prompt = std::min(state.prompt, length);
    if (state.dropped) continue;
    const std::int64_t kept = std::max<std::int64_t>(0, length - first);
    state.keys.truncate(kept);
    state.values.truncate(kept);
    if (state.side.parts() > 0) state.side.truncate(kept);
    while (!state.blocks.empty() && state.blocks.back().block->index().first() >= length)
      state.blocks.pop_back();
    for (BlockRef& ref : state.blocks) ref.position_end = std::min(ref.position_end, length);
    for (std::int64_t h = 0; state.sums.active() && h < shape_.kv_heads; ++h) {
      std::int64_t rows = kept;
      if (!state.sums.form().window_only) {
        for (const BlockRef& ref : state.blocks) rows += ref.block->rows(h);
      }
      state.sums.truncate(h, rows);
    }
  }
}

std::unique_ptr<KvCache> KvCache::recoded(std::vector<std::shared_ptr<const KvCodec>> codecs,
                                          const Recode& recode) const {
  auto copy = std::make_unique<KvCache>(shape_, std::move(codecs));
  for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
    const WindowPolicy own = codec(layer).window(), other = copy->codec(layer).window();
    require(own.exact == other.exact && own.flush == other.flush && own.dtype == other.dtype &&
                codec(layer).side_width() == copy->codec(layer).side_width() &&
                needs(layer).sums == copy->needs(layer).sums,
            "a cache is recoded under codecs that keep the same window");
    KvLayerState& state = copy->layers_[static_cast<std::size_t>(layer)];
    state = this->layer(layer);
    for (BlockRef& ref : state.blocks) ref.block = recode(layer, ref.block);
  }
  return copy;
}

KvBytes KvCache::bytes(std::int64_t layer) const {
  const KvLayerState& state = this->layer(layer);
  KvBytes sum;
  ByteWriter header;
  header.u8(state.dropped ? 1 : 0);
  if (const std::uint64_t identity = codec(layer).identity(); identity != 0) header.u64(identity);
  header.varint(static_cast<std::uint64_t>(state.tokens));
  header.varint(static_cast<std::uint64_t>(state.prompt));
  header.varint(static_cast<std::uint64_t>(state.window_rows()));
  header.varint(state.blocks.size());
  for (const BlockRef& ref : state.blocks) {
    header.varint(static_cast<std::uint64_t>(ref.position_end));
    sum += ref.block->bytes();
  }
  sum.header += header.size();
  for (const ExactStore* store : {&state.keys, &state.values, &state.side})
    sum.window += store->bytes().total();
  if (state.sums.active()) sum.header += state.sums.bytes();
  return sum;
}

KvBytes KvCache::bytes() const {
  KvBytes sum;
  for (std::int64_t layer = 0; layer < shape_.layers; ++layer) sum += bytes(layer);
  return sum;
}

void KvCache::write_layer(std::int64_t layer, ByteWriter& writer) const {
  const KvLayerState& state = this->layer(layer);
  writer.u8(state.dropped ? 1 : 0);
  if (const std::uint64_t identity = codec(layer).identity(); identity != 0) writer.u64(identity);
  writer.varint(static_cast<std::uint64_t>(state.tokens));
  writer.varint(static_cast<std::uint64_t>(state.prompt));
  writer.varint(static_cast<std::uint64_t>(state.window_rows()));
  writer.varint(state.blocks.size());
  for (const BlockRef& ref : state.blocks) {
    writer.varint(static_cast<std::uint64_t>(ref.position_end));
    ref.block->write(writer);
  }
  state.keys.write(writer);
  state.values.write(writer);
  state.side.write(writer);
  if (state.sums.active()) state.sums.write(writer);
}

void KvCache::read_layer(std::int64_t layer, ByteReader& reader) {
  const KvCodec& own = codec(layer);
  const WindowPolicy window = own.window();
  KvLayerState state(window, shape_.kv_heads, shape_.head_dim, own.side_width());
  const std::uint8_t dropped = reader.u8();
  if (dropped > 1) reader.corrupt("a layer that is neither dropped nor present");
  state.dropped = dropped == 1;
  if (const std::uint64_t identity = own.identity(); identity != 0 && reader.u64() != identity)
    reader.corrupt("blocks that were made with another basis than that of the cache they are read into");
  state.tokens = static_cast<std::int64_t>(reader.length(most_tokens));
  state.prompt = static_cast<std::int64_t>(reader.length(static_cast<std::uint64_t>(state.tokens)));
  const auto rows = static_cast<std::int64_t>(
      reader.length(static_cast<std::uint64_t>(std::min(state.tokens, window.exact + window.flush))));
  const std::uint64_t blocks = reader.length(std::min<std::uint64_t>(most_blocks, reader.remaining()));
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const auto end =
        static_cast<std::int64_t>(reader.length(static_cast<std::uint64_t>(state.tokens - rows)));
    std::shared_ptr<const KvBlock> block = own.read_block(reader, layer);
    if (block->index().heads() != shape_.kv_heads || block->index().first() > end ||
        block->index().end() > most_tokens)
      reader.corrupt("a block of tokens that the sequence does not have");
    if (!state.blocks.empty() && block->index().first() < state.blocks.back().block->index().end())
      reader.corrupt("blocks of tokens that overlap");
    if (!own.capabilities().truncate && block->index().end() != end)
      reader.corrupt("a block that was cut where its codec cannot cut");
    state.blocks.push_back({std::move(block), end});
  }
  const RowStoreShape shape{std::vector<std::pair<std::int64_t, std::int64_t>>(
      static_cast<std::size_t>(shape_.kv_heads), {rows, shape_.head_dim})};
  state.keys = std::move(*ExactStore::read_from(reader, window.dtype, shape));
  state.values = std::move(*ExactStore::read_from(reader, window.dtype, shape));
  if (own.side_width() > 0)
    state.side = std::move(*ExactStore::read_from(reader, DType::f16, {{{rows, own.side_width()}}}));
  const KvNeeds needs = own.needs();
  std::int64_t most = rows;
  if (!needs.sums.window_only) {
    for (const BlockRef& ref : state.blocks) most += ref.block->index().end() - ref.block->index().first();
  }
  if (needs.sums.any()) state.sums = AttentionSums::read(reader, shape_.kv_heads, sums_form(own), most);
  layers_.at(static_cast<std::size_t>(layer)) = std::move(state);
}

std::unique_ptr<KvCache> make_exact_cache(const KvShape& shape, DType dtype) {
  std::vector<std::shared_ptr<const KvCodec>> codecs;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    KvStages stages;
    stages.bits = exact_row_codec(dtype);
    stages.canonical = stages.bits->canonical();
    stages.window = {0, 64, 1, dtype};
    codecs.push_back(make_stage_codec(shape, layer, std::move(stages)));
  }
  return std::make_unique<KvCache>(shape, std::move(codecs));
}

}  // namespace laconic
