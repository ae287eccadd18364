// The cache of one sequence: what a model keeps of past tokens, in whatever form the codecs of its layers
// give it. Copies share immutable blocks, so a fork costs its exact window only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cache/kv_codec.h"

namespace laconic {

class KvCache {
 public:
  // One codec per layer.
  KvCache(KvShape shape, std::vector<std::shared_ptr<const KvCodec>> codecs);

  // Attention of a layer's next rows over everything cached before them and, causally, over each other:
  //   out [rows, heads, head_dim] = softmax(q K^T / sqrt(head_dim)) V
  // and the rows are appended. The first rows of an empty cache are its prompt: they see each other exactly,
  // then all but the window is compressed. Rows that come later are compressed as the window fills, one by
  // one or in any groups: the result is the same. rows.keys null: the layer's attention was dropped; its
  // tokens only count. Refuses (Error(input)) keys and values that are not finite.
  void attend(std::int64_t layer, const LayerRows& rows, float* out);

  const KvShape& shape() const { return shape_; }
  const KvCodec& codec(std::int64_t layer) const { return *codecs_.at(static_cast<std::size_t>(layer)); }
  KvNeeds needs(std::int64_t layer) const { return codec(layer).needs(); }
  // Tokens held for every layer (after all layers of a step have attended).
  std::int64_t length() const;
  const KvLayerState& layer(std::int64_t layer) const { return layers_.at(static_cast<std::size_t>(layer)); }

  // Forgets the tokens from `length` on. Error(unsupported) where a codec cannot give an earlier state back:
  // keep a snapshot instead.
  void truncate(std::int64_t length);
  bool can_truncate(std::int64_t length) const;
  // An independent sequence that shares what is compressed already.
  std::unique_ptr<KvCache> fork() const { return std::make_unique<KvCache>(*this); }
  std::unique_ptr<KvCache> snapshot() const { return fork(); }

  // The same sequence under other codecs, one per layer with the windows and needs of these: `recode` gives
  // what stands for each compressed block.
  using Recode = std::function<std::shared_ptr<const KvBlock>(std::int64_t layer,
                                                              const std::shared_ptr<const KvBlock>& block)>;
  std::unique_ptr<KvCache> recoded(std::vector<std::shared_ptr<const KvCodec>> codecs,
                                   const Recode& recode) const;

  // Compresses what the exact windows hold, so that blocks can follow.
  void seal();
  // Appends a block of consecutive tokens to a layer whose window is empty: a piece of a stored context. All
  // layers must get it before the next row. Error(input) unless it begins where the layer ends.
  void append_block(std::int64_t layer, std::shared_ptr<const KvBlock> block);

  // Length of what write() writes; blocks that are shared with other sequences count in full.
  KvBytes bytes() const;
  KvBytes bytes(std::int64_t layer) const;
  // State of one layer as bytes and back. read_layer() checks everything: Error(corrupt).
  void write_layer(std::int64_t layer, ByteWriter& writer) const;
  void read_layer(std::int64_t layer, ByteReader& reader);

 private:
  void attend_rows(std::int64_t layer, const LayerRows& rows, float* out);
  void take_prompt_attended(std::int64_t layer, const LayerRows& rows, float* out);
  void take_prompt(std::int64_t layer, const LayerRows& rows);
  void append_window(std::int64_t layer, const LayerRows& rows);
  void flush(std::int64_t layer, std::int64_t count);

  KvShape shape_;
  std::vector<std::shared_ptr<const KvCodec>> codecs_;
  std::vector<KvLayerState> layers_;
};

// A cache that keeps every row as f32, f16 or bf16.
std::unique_ptr<KvCache> make_exact_cache(const KvShape& shape, DType dtype = DType::f32);

}  // namespace laconic
