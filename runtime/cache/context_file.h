// A stored context: the cache of a prefilled text in pieces that can be read, checked and decoded one by one,
// from a file or from a server that serves parts of files.
//
// Layout: "LKVC", u8 version, u32 length of the index, index, u64 XXH3 of all before; then the pieces, one
// after the other in the order of the index. Index:
//   16 bytes fingerprint of the model, 16 of its tokenizer
//   u8 kind {0 chunks of tokens, 1 layers}, varint layers, KV heads, head dimension
//   varint forms, text of the cache pipeline of each, finest first
//   varint chunks; of each: varint tokens, u64 checksum and varint bytes of its text, the same for each form
//   (0 bytes: that form is not here)
//   varint, tokens after the last chunk, whose rows are not cached (the model has not seen them yet)
// Chunks of tokens follow each other from position 0 and hold blocks of all layers; the text of a chunk is
// its tokens. A context of layers has one chunk per layer with the layer's state over all tokens, in one
// form, and the text of the first is that of the whole. A checksum is the XXH3-64 of a piece.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/hash.h"
#include "engine/base/progress.h"

namespace laconic {

// Where the bytes of a context come from.
class ContextSource {
 public:
  virtual ~ContextSource() = default;
  // Exactly `size` bytes from `offset` on, or an Error: (corrupt) where the source ends before, (io).
  virtual Bytes read(std::uint64_t offset, std::uint64_t size) = 0;
  virtual std::string name() const = 0;  // for messages
};
std::unique_ptr<ContextSource> open_context_file(const std::filesystem::path& path);

struct ContextPiece {
  std::uint64_t offset = 0, size = 0, checksum = 0;
  bool present() const { return size > 0; }
};

struct ContextChunk {
  std::int64_t first = 0, tokens = 0;
  ContextPiece text;
  std::vector<ContextPiece> coded;  // by form
};

struct ContextIndex {
  enum class Kind : std::uint8_t { tokens, layers };
  Hash128 model{}, tokenizer{};
  Kind kind = Kind::tokens;
  std::int64_t layers = 0, kv_heads = 0, head_dim = 0;
  std::vector<std::string> forms;
  std::vector<ContextChunk> chunks;
  std::vector<std::int32_t> rest;

  std::int64_t cached_tokens() const;
  std::uint64_t bytes() const;  // of the whole file
  std::string chunk_name(std::size_t chunk,
                         std::size_t form) const;  // "chunk 3 (tokens 4500 to 5999) as ..."
};

// Error(corrupt) on anything that ContextWriter does not write.
ContextIndex read_context_index(ContextSource& source);
// Reads a piece and compares its checksum; Error(corrupt) names `what`, which is also named when it is
// absent.
Bytes read_context_piece(ContextSource& source, const ContextPiece& piece, const std::string& what);
// The tokens of a chunk.
std::vector<std::int32_t> read_context_text(ContextSource& source, const ContextIndex& index,
                                            std::size_t chunk);

// Puts pieces together and writes the file, complete or not at all.
class ContextWriter {
 public:
  // kind, shape, forms, fingerprints and rest are taken over; chunks are added.
  explicit ContextWriter(ContextIndex about);
  // `text` may be empty, and so may any of `coded`, one per form.
  void add_chunk(std::int64_t tokens, std::span<const std::int32_t> text, std::vector<Bytes> coded);
  const ContextIndex& write(const std::filesystem::path& path);  // the index with final offsets

 private:
  ContextIndex index_;
  std::vector<Bytes> pieces_;
};

// Copies a context with the forms that are wanted of each chunk (`wanted[form]`), its texts always. Pieces
// are kept beside the file (PATH.partial) until it is complete, so that a copy that broke off goes on where
// it was. A piece that comes damaged is asked for once more and then left out; `notice` hears of it. Returns
// the index of the copy.
struct ContextCopyOptions {
  std::vector<bool> wanted;
  std::function<void(std::string_view)> notice;
  ProgressListener progress;
};
ContextIndex copy_context(ContextSource& source, const ContextIndex& index, const std::filesystem::path& path,
                          const ContextCopyOptions& options);

}  // namespace laconic
