// Contexts: the cache of a prefilled text, saved once and loaded by whoever asks about the text, from a file
// or over a network (runtime/cache/context_file.h).
//
// A pipeline that only decides about bits is saved in chunks of tokens, each decodable alone; cachegen
// without a level is saved in all of its levels. Any other pipeline is saved as the state of its layers.
// Loading goes chunk by chunk: the next one is read while this one is decoded. What cannot be had or is
// damaged is read once more and then computed anew from the tokens, so that nothing is ever continued from a
// damaged cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "runtime/cache/context_file.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/transformer.h"

namespace laconic {

// A model with what a context must agree with.
struct ContextModel {
  const Transformer& model;
  std::filesystem::path directory;   // may be empty
  std::filesystem::path bases = {};  // directory whose kv/ has the trained bases; empty: the model's
  Hash128 fingerprint{}, tokenizer{};

  static ContextModel of(const Transformer& model, const std::filesystem::path& directory,
                         const std::filesystem::path& bases = {});
};

struct ContextSaveOptions {
  std::string pipeline = "cachegen";
  std::int64_t chunk_tokens = 1500;
  std::uint64_t seed = 0;
};

// Prefills all tokens but the last and writes the context. Error(usage) on fewer than 2 tokens, Error(input)
// on more than the model's context.
ContextIndex save_context(const ContextModel& model, std::span<const std::int32_t> tokens,
                          const ContextSaveOptions& options, const std::filesystem::path& path,
                          const ProgressListener& progress = {});

// Decides in which form the next chunk comes. Form index.forms.size() is text.
class ChunkPolicy {
 public:
  virtual ~ChunkPolicy() = default;
  // Before chunk `chunk` is read, `elapsed` seconds after the start.
  virtual std::size_t choose(std::size_t chunk, double elapsed) = 0;
  // A piece was read; the time is that of reading alone.
  virtual void observe(std::uint64_t /*bytes*/, double /*seconds*/) {}
};
// The same form for all chunks.
std::unique_ptr<ChunkPolicy> fixed_form(std::size_t form);

struct LoadedChunk {
  std::size_t form = 0;  // that was used; forms.size(): computed anew from text
  std::uint64_t bytes = 0;
  double read_seconds = 0, use_seconds = 0;  // reading, and decoding or computing
  std::string fault;                         // why another form was used than chosen
};

struct LoadedContext {
  std::unique_ptr<KvCache> cache;
  std::vector<std::int32_t> rest;  // tokens that the model has not seen: the next to run
  std::vector<LoadedChunk> chunks;
  double seconds = 0;
};

struct ContextLoadOptions {
  // Of the tokens that follow or are computed anew, bits only; empty: the context's finest, f16 for cachegen.
  std::string pipeline;
  std::function<void(std::string_view)> notice;  // hears of every chunk that was damaged
  ProgressListener progress;
};

// Error(input) where model, tokenizer or shape are not those of the context; Error(corrupt) where even the
// text of a damaged chunk is lost. `index` is that of `source`.
LoadedContext load_context(const ContextModel& model, ContextSource& source, const ContextIndex& index,
                           ChunkPolicy& policy, const ContextLoadOptions& options = {});
void check_context(const ContextModel& model, const ContextIndex& index, const std::string& where);

}  // namespace laconic
