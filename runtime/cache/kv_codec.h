// How one layer's cache is kept small: the policy behind KvCache. A codec is a constant, shared by all
// sequences; what it made of a sequence is a KvLayerState that can be copied (blocks are shared), saved and
// read back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cache/attention_scores.h"
#include "runtime/cache/attention_sums.h"
#include "runtime/cache/exact_store.h"
#include "runtime/cache/kv_block.h"

namespace laconic {

struct KvNeeds {
  bool hidden = false;         // the layer's input, for latents
  bool prompt_scores = false;  // attention weights of the prompt
  // Sums of attention weights of prompt and later tokens. The interval is the window's.
  AttentionSumsForm sums;
};

struct KvCapabilities {
  bool truncate = true;    // any earlier length can be had back; else only lengths inside the exact window
  bool streamable = true;  // blocks are final once made, and each can be read alone
};

// The most recent tokens stay exact. When the window holds exact + flush tokens, the oldest `flush` of them
// are compressed, after the attention of the step that filled it.
struct WindowPolicy {
  std::int64_t exact = 32, flush = 32;
  std::int64_t granule = 1;  // a prompt is compressed in a multiple of so many tokens
  DType dtype = DType::f16;

  // How many tokens of a prompt are compressed.
  std::int64_t compressed(std::int64_t prompt) const;
};

struct BlockRef {
  std::shared_ptr<const KvBlock> block;
  std::int64_t position_end = 0;  // rows at or after it were cut off by truncate()
};

struct KvLayerState {
  KvLayerState(const WindowPolicy& policy, std::int64_t kv_heads, std::int64_t head_dim,
               std::int64_t side_width)
      : keys(policy.dtype, kv_heads, head_dim),
        values(policy.dtype, kv_heads, head_dim),
        side(DType::f16, side_width > 0 ? 1 : 0, side_width) {}

  std::vector<BlockRef> blocks;
  ExactStore keys, values;  // the exact window, keys turned by their positions
  ExactStore side;          // what else the codec needs of the window's tokens
  std::int64_t tokens = 0;  // that went through the layer; the window is the last of them
  std::int64_t prompt = 0;  // of the tokens, those that came first and together
  bool dropped = false;     // the layer's attention was dropped: it holds nothing, but tokens count
  AttentionSums sums;

  std::int64_t window_rows() const { return keys.parts() > 0 ? keys.rows(0) : 0; }
  std::int64_t window_first() const { return tokens - window_rows(); }
};

// Tokens that are to be compressed: the oldest of the window, or the start of a prompt. Values are rounded to
// the window's dtype already.
struct ExactRows {
  std::int64_t layer = 0;
  std::int64_t first_position = 0, count = 0;
  HeadMatrices keys, values;             // keys turned by their positions
  HeadMatrix side;                       // [count, side_width]
  const LayerRows* prompt = nullptr;     // the prompt they are the start of, or null
  const PromptScores* scores = nullptr;  // where needs().prompt_scores and there is a prompt
};

class KvCodec {
 public:
  virtual ~KvCodec() = default;
  virtual std::string canonical() const = 0;
  virtual KvNeeds needs() const = 0;
  virtual KvCapabilities capabilities() const = 0;
  virtual WindowPolicy window() const = 0;
  // Not 0 where blocks also depend on something that was made for the model (a trained basis): write_layer()
  // puts it before the blocks, and read_layer() refuses those of another one.
  virtual std::uint64_t identity() const { return 0; }
  // Bytes of what was made for the model, kept once for all sequences and layers; not part of any cache's
  // bytes.
  virtual std::uint64_t model_bytes() const { return 0; }
  // f16 numbers that the window keeps per token besides keys and values: side [rows, side_width].
  virtual std::int64_t side_width() const { return 0; }
  virtual void side_rows(const LayerRows& /*rows*/, float* /*side*/) const {}

  // Turns `rows` into blocks of the state. The window still holds them; KvCache drops them afterwards. Their
  // entries are the first of the window's in state.sums, which the codec brings in line with
  // its blocks.
  virtual void compress(const ExactRows& rows, KvLayerState& state) const = 0;
  // A block that compress() made, from hostile bytes: Error(corrupt).
  virtual std::shared_ptr<const KvBlock> read_block(ByteReader& reader, std::int64_t layer) const = 0;
};

}  // namespace laconic
