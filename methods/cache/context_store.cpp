#include "methods/cache/context_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "methods/cache/pipeline.h"
#include "runtime/cache/run_rows.h"
#include "runtime/fingerprint.h"

namespace laconic {
namespace {

using ContextClock = std::chrono::steady_clock;

double seconds_from(ContextClock::time_point start) {
  return std::chrono::duration<double>(ContextClock::now() - start).count();
}

bool only_bits(const std::vector<CacheStageText>& stages) {
  return stages.size() == 1 && axes_of(stages.front()) == std::vector<CacheAxis>{CacheAxis::bits};
}

// The pipelines that a context is saved in: all levels of cachegen where none was asked for.
std::vector<std::string> forms_of(const std::vector<CacheStageText>& stages) {
  const CacheStageText& first = stages.front();
  if (stages.size() != 1 || first.method->slug != "cachegen" || first.parameters.is_set("level"))
    return {canonical_text(stages)};
  std::vector<std::string> forms;
  for (const Parameters& size : first.method->cache->sizes(first.parameters)) {
    forms.push_back(size.canonical(first.method->slug));
  }
  return forms;
}

CacheRequest request_for(const ContextModel& model, std::uint64_t seed) {
  CacheRequest request;
  request.shape = model.model.kv_shape();
  request.model = model.directory;
  request.bases = model.bases;
  request.seed = seed;
  return request;
}

// Blocks of all layers, each behind its length; layers without attention have none.
Bytes coded_chunk(const KvCache& exact, const CacheFactory& factory, std::int64_t first, std::int64_t count) {
  const auto with_codecs = factory.make();
  std::vector<Bytes> blocks(static_cast<std::size_t>(exact.shape().layers));
  parallel_for(exact.shape().layers, [&](std::int64_t layer) {
    if (exact.layer(layer).dropped) return;
    RunRows run = run_rows(exact.layer(layer), first, first + count);
    ExactRows rows;
    rows.layer = layer;
    rows.first_position = first;
    rows.count = count;
    rows.keys = std::move(run.keys);
    rows.values = std::move(run.values);
    const KvCodec& codec = with_codecs->codec(layer);
    KvLayerState state(codec.window(), exact.shape().kv_heads, exact.shape().head_dim, codec.side_width());
    state.tokens = first + count;
    codec.compress(rows, state);
    require(state.blocks.size() == 1, "a codec of bits makes one block of a run");
    ByteWriter writer;
    state.blocks.front().block->write(writer);
    blocks[static_cast<std::size_t>(layer)] = writer.take();
  });
  ByteWriter writer;
  for (const Bytes& block : blocks) {
    writer.varint(block.size());
    writer.append(block);
  }
  return writer.take();
}

// Runs tokens through the model in pieces, so that it can be interrupted.
void prefill(const Transformer& model, std::span<const std::int32_t> tokens, KvCache& cache) {
  throw_if_interrupted();
  model.forward(tokens, &cache, true);
}

// What was read for one chunk.
struct ReadChunk {
  LoadedChunk about;
  Bytes coded;
  std::vector<std::int32_t> text;
};

class Loading {
 public:
  Loading(const ContextModel& model, ContextSource& source, const ContextIndex& index, ChunkPolicy& policy,
          const ContextLoadOptions& options)
      : model_(model),
        source_(source),
        index_(index),
        policy_(policy),
        options_(options),
        start_(ContextClock::now()) {}

  LoadedContext run() {
    check_context(model_, index_, source_.name());
    return index_.kind == ContextIndex::Kind::tokens ? run_chunks() : run_layers();
  }

 private:
  std::size_t text_form() const { return index_.forms.size(); }

  // The chosen form where it is there, else the next coarser, finer, or text.
  std::size_t available(const ContextChunk& chunk, std::size_t chosen) const {
    for (std::size_t form = chosen; form < chunk.coded.size(); ++form) {
      if (chunk.coded[form].present()) return form;
    }
    for (std::size_t form = std::min(chosen, chunk.coded.size()); form-- > 0 && chosen < text_form();) {
      if (chunk.coded[form].present()) return form;
    }
    return text_form();
  }

  // Reads a piece, once more if it is damaged.
  template <class Read>
  auto read_twice(const Read& read) {
    const std::lock_guard lock(reading_);
    try {
      return read();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      return read();
    }
  }

  ReadChunk read_chunk(std::size_t chunk) {
    ReadChunk result;
    const ContextChunk& of = index_.chunks[chunk];
    result.about.form = available(of, policy_.choose(chunk, seconds_from(start_)));
    const ContextClock::time_point begin = ContextClock::now();
    if (result.about.form < text_form()) {
      try {
        const std::string name = index_.chunk_name(chunk, result.about.form);
        result.coded =
            read_twice([&] { return read_context_piece(source_, of.coded[result.about.form], name); });
        result.about.bytes = result.coded.size();
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) throw;
        result.about.fault = error.what();
        result.about.form = text_form();
      }
    }
    // A layer alone cannot be computed anew.
    if (result.about.form == text_form() && index_.kind == ContextIndex::Kind::tokens)
      read_text(chunk, result);
    result.about.read_seconds = seconds_from(begin);
    policy_.observe(result.about.bytes, result.about.read_seconds);
    return result;
  }

  void read_text(std::size_t chunk, ReadChunk& result) {
    result.text = read_twice([&] { return read_context_text(source_, index_, chunk); });
    result.about.bytes += index_.chunks[chunk].text.size;
    check_tokens(result.text);
  }

  void check_tokens(std::span<const std::int32_t> tokens) const {
    for (const std::int32_t token : tokens) {
      if (token >= 0 && token < model_.model.config().vocabulary) continue;
      fail(ErrorKind::corrupt, fmt::format("token {} is outside the model's vocabulary", token),
           source_.name(), "save the context again");
    }
  }

  // Blocks of a chunk, all or none.
  void append_coded(KvCache& cache, const ReadChunk& read, std::size_t chunk) {
    const ContextChunk& of = index_.chunks[chunk];
    ByteReader reader(read.coded,
                      fmt::format("{}, {}", source_.name(), index_.chunk_name(chunk, read.about.form)));
    std::vector<ByteSpan> parts;
    for (std::int64_t layer = 0; layer < index_.layers; ++layer)
      parts.push_back(reader.take(reader.length(reader.remaining())));
    reader.expect_end();
    const KvCache& codecs = codecs_of(read.about.form);
    std::vector<std::shared_ptr<const KvBlock>> blocks(parts.size());
    parallel_for(index_.layers, [&](std::int64_t layer) {
      const auto l = static_cast<std::size_t>(layer);
      if (parts[l].empty()) return;
      ByteReader block(parts[l], fmt::format("{}, {}, layer {}", source_.name(),
                                             index_.chunk_name(chunk, read.about.form), layer));
      blocks[l] = codecs.codec(layer).read_block(block, layer);
      block.expect_end();
      const TokenIndex& index = blocks[l]->index();
      if (!index.consecutive() || index.first() != of.first || index.end() != of.first + of.tokens ||
          index.heads() != index_.kv_heads)
        block.corrupt("a block of other tokens than the chunk's");
    });
    for (std::int64_t layer = 0; layer < index_.layers; ++layer) {
      const bool dropped = model_.model.block(layer).attention_dropped;
      if (dropped == (blocks[static_cast<std::size_t>(layer)] == nullptr)) continue;
      reader.corrupt("layers with attention that are not those of the model");
    }
    cache.seal();
    for (std::int64_t layer = 0; layer < index_.layers; ++layer) {
      std::shared_ptr<const KvBlock>& block = blocks[static_cast<std::size_t>(layer)];
      if (block != nullptr) {
        cache.append_block(layer, std::move(block));
      } else {
        LayerRows rows;
        rows.rows = of.tokens;
        rows.first_position = of.first;
        cache.attend(layer, rows, nullptr);
      }
    }
  }

  const KvCache& codecs_of(std::size_t form) {
    if (codecs_.empty()) codecs_.resize(index_.forms.size());
    std::unique_ptr<KvCache>& kept = codecs_.at(form);
    if (kept == nullptr) kept = CacheFactory(index_.forms[form], request_for(model_, 0)).make();
    return *kept;
  }

  // Coding rows of cachegen takes longer than computing them, and saves nothing here: it holds them decoded.
  std::unique_ptr<KvCache> cache_for_more() const {
    const std::string usual = parse_cache_pipeline(index_.forms.front()).front().method->slug == "cachegen"
                                  ? "f16"
                                  : index_.forms.front();
    const std::string& pipeline = options_.pipeline.empty() ? usual : options_.pipeline;
    if (index_.kind == ContextIndex::Kind::tokens && !only_bits(parse_cache_pipeline(pipeline))) {
      fail(ErrorKind::usage, fmt::format("{} cannot go on from chunks of tokens", pipeline), "--cache",
           "use a pipeline that decides about bits only");
    }
    return CacheFactory(pipeline, request_for(model_, 0)).make();
  }

  LoadedContext run_chunks() {
    LoadedContext loaded;
    loaded.cache = cache_for_more();
    loaded.rest = index_.rest;
    check_tokens(loaded.rest);
    const std::size_t count = index_.chunks.size();
    Progress progress(options_.progress, "loading", static_cast<std::int64_t>(count));
    std::future<ReadChunk> next;
    const auto begin_reading = [&](std::size_t chunk) {
      next = std::async(std::launch::async, [this, chunk] { return read_chunk(chunk); });
    };
    if (count > 0) begin_reading(0);
    for (std::size_t chunk = 0; chunk < count; ++chunk) {
      ReadChunk read = next.get();
      if (chunk + 1 < count) begin_reading(chunk + 1);
      const ContextClock::time_point begin = ContextClock::now();
      if (read.about.form < text_form()) {
        try {
          append_coded(*loaded.cache, read, chunk);
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::corrupt) throw;
          read.about.fault = error.what();
          read.about.form = text_form();
          read_text(chunk, read);
        }
      }
      if (read.about.form == text_form()) {
        if (!read.about.fault.empty() && options_.notice)
          options_.notice(fmt::format("{}; computed anew from its text", read.about.fault));
        prefill(model_.model, read.text, *loaded.cache);
      }
      read.about.use_seconds = seconds_from(begin);
      loaded.chunks.push_back(std::move(read.about));
      progress.advance();
    }
    loaded.cache->seal();
    loaded.seconds = seconds_from(start_);
    return loaded;
  }

  // All layers or, where one is damaged, all of the text.
  LoadedContext run_layers() {
    LoadedContext loaded;
    loaded.cache = CacheFactory(index_.forms.front(), request_for(model_, 0)).make();
    loaded.rest = index_.rest;
    check_tokens(loaded.rest);
    std::string fault;
    if (!options_.pipeline.empty() &&
        canonical_text(parse_cache_pipeline(options_.pipeline)) != index_.forms.front()) {
      fail(ErrorKind::usage, fmt::format("the context was saved as {}", index_.forms.front()), "--cache",
           "leave the option out, or save the context in another form");
    }
    for (std::size_t layer = 0; layer < index_.chunks.size() && fault.empty(); ++layer) {
      throw_if_interrupted();
      ReadChunk read = read_chunk(layer);
      const ContextClock::time_point begin = ContextClock::now();
      if (read.about.form == text_form()) {
        fault = read.about.fault.empty() ? fmt::format("layer {} is not stored", layer) : read.about.fault;
      } else {
        try {
          ByteReader reader(read.coded, fmt::format("{}, {}", source_.name(), index_.chunk_name(layer, 0)));
          loaded.cache->read_layer(static_cast<std::int64_t>(layer), reader);
          reader.expect_end();
          if (loaded.cache->layer(static_cast<std::int64_t>(layer)).tokens != index_.cached_tokens())
            reader.corrupt("a layer of another length");
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::corrupt) throw;
          fault = error.what();
        }
      }
      read.about.use_seconds = seconds_from(begin);
      read.about.fault = fault;
      loaded.chunks.push_back(std::move(read.about));
    }
    if (!fault.empty()) {
      if (options_.notice)
        options_.notice(fmt::format("{}; the context is computed anew from its text", fault));
      ReadChunk whole;
      read_text(0, whole);
      loaded.cache = CacheFactory(index_.forms.front(), request_for(model_, 0)).make();
      prefill(model_.model, whole.text, *loaded.cache);
    }
    loaded.seconds = seconds_from(start_);
    return loaded;
  }

  const ContextModel& model_;
  ContextSource& source_;
  const ContextIndex& index_;
  ChunkPolicy& policy_;
  const ContextLoadOptions& options_;
  ContextClock::time_point start_;
  std::mutex reading_;
  std::vector<std::unique_ptr<KvCache>> codecs_;  // empty caches, for their codecs
};

class FixedForm final : public ChunkPolicy {
 public:
  explicit FixedForm(std::size_t form) : form_(form) {}
  std::size_t choose(std::size_t, double) override { return form_; }

 private:
  std::size_t form_;
};

}  // namespace

ContextModel ContextModel::of(const Transformer& model, const std::filesystem::path& directory,
                              const std::filesystem::path& bases) {
  return {model, directory, bases, laconic::fingerprint(directory), tokenizer_fingerprint(directory)};
}

ContextIndex save_context(const ContextModel& model, std::span<const std::int32_t> tokens,
                          const ContextSaveOptions& options, const std::filesystem::path& path,
                          const ProgressListener& listener) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count < 2) {
    fail(ErrorKind::usage, fmt::format("a context of {} tokens has nothing to keep", count), "kv save",
         "give a longer text");
  }
  if (count > model.model.config().max_positions) {
    fail(ErrorKind::input,
         fmt::format("the text has {} tokens, the model's context {}", count,
                     model.model.config().max_positions),
         "kv save", "shorten the text");
  }
  require(options.chunk_tokens >= 1, "a chunk has tokens");
  const KvShape shape = model.model.kv_shape();
  const std::vector<CacheStageText> stages = parse_cache_pipeline(options.pipeline);
  ContextIndex about;
  about.model = model.fingerprint;
  about.tokenizer = model.tokenizer;
  about.layers = shape.layers;
  about.kv_heads = shape.kv_heads;
  about.head_dim = shape.head_dim;
  about.rest.assign(tokens.end() - 1, tokens.end());
  const std::span<const std::int32_t> cached = tokens.first(tokens.size() - 1);

  if (!only_bits(stages)) {
    about.kind = ContextIndex::Kind::layers;
    about.forms = {canonical_text(stages)};
    const auto cache = CacheFactory(stages, request_for(model, options.seed)).make();
    prefill(model.model, cached, *cache);
    ContextWriter writer(std::move(about));
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      ByteWriter state;
      cache->write_layer(layer, state);
      writer.add_chunk(count - 1, layer == 0 ? cached : std::span<const std::int32_t>(), {state.take()});
    }
    return writer.write(path);
  }

  about.forms = forms_of(stages);
  std::vector<CacheFactory> factories;
  for (const std::string& form : about.forms) factories.emplace_back(form, request_for(model, options.seed));
  const auto exact = make_exact_cache(shape, DType::f16);
  prefill(model.model, cached, *exact);
  ContextWriter writer(std::move(about));
  const std::int64_t chunks = (count - 2) / options.chunk_tokens + 1;
  Progress progress(listener, "saving", chunks);
  for (std::int64_t first = 0; first < count - 1; first += options.chunk_tokens) {
    const std::int64_t here = std::min(options.chunk_tokens, count - 1 - first);
    std::vector<Bytes> coded;
    for (const CacheFactory& factory : factories) coded.push_back(coded_chunk(*exact, factory, first, here));
    writer.add_chunk(here, cached.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(here)),
                     std::move(coded));
    progress.advance();
  }
  return writer.write(path);
}

void check_context(const ContextModel& model, const ContextIndex& index, const std::string& where) {
  const KvShape shape = model.model.kv_shape();
  if (index.model != model.fingerprint) {
    fail(ErrorKind::input,
         fmt::format("the context is of a model with fingerprint {}, this one has {}", to_hex(index.model),
                     to_hex(model.fingerprint)),
         where, "load it with the model it was saved with, or save it again");
  }
  if (index.tokenizer != model.tokenizer) {
    fail(ErrorKind::input, "the context was made with another tokenizer", where,
         "load it with the tokenizer it was saved with, or save it again");
  }
  if (index.layers != shape.layers || index.kv_heads != shape.kv_heads || index.head_dim != shape.head_dim) {
    fail(ErrorKind::input,
         fmt::format("the context has {} layers of {} heads with {} numbers, the model {} of {} with {}",
                     index.layers, index.kv_heads, index.head_dim, shape.layers, shape.kv_heads,
                     shape.head_dim),
         where, "load it with the model it was saved with");
  }
  if (index.cached_tokens() + static_cast<std::int64_t>(index.rest.size()) >
      model.model.config().max_positions)
    fail(ErrorKind::input, "the context is longer than the model's", where);
}

std::unique_ptr<ChunkPolicy> fixed_form(std::size_t form) { return std::make_unique<FixedForm>(form); }

LoadedContext load_context(const ContextModel& model, ContextSource& source, const ContextIndex& index,
                           ChunkPolicy& policy, const ContextLoadOptions& options) {
  return Loading(model, source, index, policy, options).run();
}

}  // namespace laconic
