#include "runtime/cache/context_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

constexpr std::string_view context_magic = "LKVC";
constexpr std::uint8_t context_version = 1;
constexpr std::size_t context_head = 4 + 1 + 4;  // magic, version, length of the index
constexpr std::uint32_t most_index_bytes = std::uint32_t{256} << 20;
constexpr std::uint64_t most_context_tokens = std::uint64_t{1} << 28, most_piece = std::uint64_t{1} << 40,
                        most_bytes = std::uint64_t{1} << 50;
constexpr std::uint64_t most_context_layers = 4096, most_context_width = 1 << 16;
constexpr std::uint64_t most_forms = 64, most_form_text = 4096;

class ContextFile final : public ContextSource {
 public:
  explicit ContextFile(const std::filesystem::path& path) : file_(path) {}
  Bytes read(std::uint64_t offset, std::uint64_t size) override {
    const ByteSpan all = file_.bytes();
    if (offset > all.size() || size > all.size() - offset) {
      fail(ErrorKind::corrupt, fmt::format("the file ends before byte {}", offset + size), name(),
           "copy it again");
    }
    const ByteSpan part = all.subspan(offset, size);
    return Bytes(part.begin(), part.end());
  }
  std::string name() const override { return file_.path().string(); }

 private:
  MappedFile file_;
};

Bytes token_bytes(std::span<const std::int32_t> tokens) {
  ByteWriter writer;
  for (const std::int32_t token : tokens) writer.varint(static_cast<std::uint64_t>(token));
  return writer.take();
}

std::int32_t read_token(ByteReader& reader) { return static_cast<std::int32_t>(reader.length(INT32_MAX)); }

Hash128 read_hash(ByteReader& reader) {
  Hash128 hash;
  const ByteSpan bytes = reader.take(hash.size());
  std::transform(bytes.begin(), bytes.end(), hash.begin(),
                 [](std::byte b) { return static_cast<std::uint8_t>(b); });
  return hash;
}

// The index as bytes, its checksum behind it.
Bytes index_bytes(const ContextIndex& index) {
  ByteWriter body;
  body.append(std::as_bytes(std::span(index.model)));
  body.append(std::as_bytes(std::span(index.tokenizer)));
  body.u8(static_cast<std::uint8_t>(index.kind));
  for (const std::int64_t number : {index.layers, index.kv_heads, index.head_dim})
    body.varint(static_cast<std::uint64_t>(number));
  body.varint(index.forms.size());
  for (const std::string& form : index.forms) body.text(form);
  body.varint(index.chunks.size());
  for (const ContextChunk& chunk : index.chunks) {
    body.varint(static_cast<std::uint64_t>(chunk.tokens));
    const auto put = [&](const ContextPiece& piece) {
      body.u64(piece.checksum);
      body.varint(piece.size);
    };
    put(chunk.text);
    for (const ContextPiece& piece : chunk.coded) put(piece);
  }
  body.varint(index.rest.size());
  for (const std::int32_t token : index.rest) body.varint(static_cast<std::uint64_t>(token));
  require(body.size() <= most_index_bytes, "an index stays below 256 MiB");
  ByteWriter writer;
  writer.append(as_byte_span(context_magic));
  writer.u8(context_version);
  writer.u32(static_cast<std::uint32_t>(body.size()));
  writer.append(body.span());
  writer.u64(xxh3_64(writer.span()));
  return writer.take();
}

void place_pieces(ContextIndex& index, std::uint64_t at) {
  for (ContextChunk& chunk : index.chunks) {
    const auto place = [&](ContextPiece& piece) {
      piece.offset = at;
      at += piece.size;
    };
    place(chunk.text);
    for (ContextPiece& piece : chunk.coded) place(piece);
  }
}

}  // namespace

std::unique_ptr<ContextSource> open_context_file(const std::filesystem::path& path) {
  return std::make_unique<ContextFile>(path);
}

std::int64_t ContextIndex::cached_tokens() const {
  if (kind == Kind::layers) return chunks.empty() ? 0 : chunks.front().tokens;
  return std::accumulate(chunks.begin(), chunks.end(), std::int64_t{0},
                         [](std::int64_t sum, const ContextChunk& chunk) { return sum + chunk.tokens; });
}

std::uint64_t ContextIndex::bytes() const {
  std::uint64_t sum = index_bytes(*this).size();
  for (const ContextChunk& chunk : chunks) {
    sum += chunk.text.size;
    for (const ContextPiece& piece : chunk.coded) sum += piece.size;
  }
  return sum;
}

std::string ContextIndex::chunk_name(std::size_t chunk, std::size_t form) const {
  const std::string as = form < forms.size() ? forms[form] : "text";
  if (kind == Kind::layers) return fmt::format("layer {} as {}", chunk, as);
  const ContextChunk& of = chunks.at(chunk);
  return fmt::format("chunk {} (tokens {} to {}) as {}", chunk, of.first, of.first + of.tokens - 1, as);
}

ContextIndex read_context_index(ContextSource& source) {
  Bytes bytes = source.read(0, context_head);
  ByteReader head(bytes, source.name());
  if (as_text(head.take(context_magic.size())) != context_magic) head.corrupt("is no stored context");
  if (head.u8() != context_version) head.corrupt("a version that this program does not know");
  const std::uint32_t length = head.u32();
  if (length > most_index_bytes) head.corrupt("an index of absurd length");
  const Bytes rest = source.read(context_head, std::uint64_t{length} + 8);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  ByteReader reader(bytes, source.name());
  reader.take(context_head);
  {
    ByteReader end(ByteSpan(bytes).last(8), source.name());
    if (end.u64() != xxh3_64(ByteSpan(bytes).first(bytes.size() - 8)))
      reader.corrupt("the checksum of the index does not fit");
  }
  ContextIndex index;
  index.model = read_hash(reader);
  index.tokenizer = read_hash(reader);
  const std::uint8_t kind = reader.u8();
  if (kind > 1) reader.corrupt("a context of an unknown kind");
  index.kind = static_cast<ContextIndex::Kind>(kind);
  index.layers = static_cast<std::int64_t>(reader.length(most_context_layers));
  index.kv_heads = static_cast<std::int64_t>(reader.length(most_context_width));
  index.head_dim = static_cast<std::int64_t>(reader.length(most_context_width));
  const std::uint64_t forms = reader.length(most_forms);
  for (std::uint64_t i = 0; i < forms; ++i) index.forms.push_back(reader.text(most_form_text));
  const bool by_layer = index.kind == ContextIndex::Kind::layers;
  if (forms == 0 || (by_layer && forms != 1)) reader.corrupt("a context in an impossible number of forms");
  // A piece takes at least 9 bytes here.
  const std::uint64_t chunks = reader.length(reader.remaining() / 9);
  if (by_layer && chunks != static_cast<std::uint64_t>(index.layers))
    reader.corrupt("a context of layers that has another number of layers");
  std::int64_t first = 0;
  std::uint64_t all = 0;
  for (std::uint64_t i = 0; i < chunks; ++i) {
    ContextChunk chunk;
    chunk.first = first;
    chunk.tokens = static_cast<std::int64_t>(reader.length(most_context_tokens));
    if (chunk.tokens == 0) reader.corrupt("a chunk without tokens");
    const auto take = [&] {
      ContextPiece piece;
      piece.checksum = reader.u64();
      piece.size = reader.length(most_piece);
      all += piece.size;
      if (all > most_bytes) reader.corrupt("pieces of absurd length");
      return piece;
    };
    chunk.text = take();
    for (std::uint64_t form = 0; form < forms; ++form) chunk.coded.push_back(take());
    if (by_layer && i > 0 && chunk.tokens != index.chunks.front().tokens)
      reader.corrupt("layers of different lengths");
    if (!by_layer) first += chunk.tokens;
    if (static_cast<std::uint64_t>(first) > most_context_tokens) reader.corrupt("an absurd number of tokens");
    index.chunks.push_back(std::move(chunk));
  }
  const std::uint64_t after = reader.length(reader.remaining());
  for (std::uint64_t i = 0; i < after; ++i) index.rest.push_back(read_token(reader));
  reader.take(8);
  reader.expect_end();
  place_pieces(index, bytes.size());
  return index;
}

Bytes read_context_piece(ContextSource& source, const ContextPiece& piece, const std::string& what) {
  if (!piece.present()) {
    fail(ErrorKind::input, fmt::format("{} is not stored here", what), source.name(),
         "choose another level, or save the context again");
  }
  Bytes bytes = source.read(piece.offset, piece.size);
  if (xxh3_64(bytes) != piece.checksum) {
    fail(ErrorKind::corrupt, fmt::format("{} is damaged: its checksum does not fit", what), source.name(),
         "fetch or save the context again");
  }
  return bytes;
}

std::vector<std::int32_t> read_context_text(ContextSource& source, const ContextIndex& index,
                                            std::size_t chunk) {
  const ContextChunk& of = index.chunks.at(chunk);
  const std::string what = fmt::format("text of chunk {}", chunk);
  const Bytes bytes = read_context_piece(source, of.text, what);
  ByteReader reader(bytes, fmt::format("{}, {}", source.name(), what));
  std::vector<std::int32_t> tokens;
  while (!reader.at_end()) tokens.push_back(read_token(reader));
  if (static_cast<std::int64_t>(tokens.size()) != of.tokens) reader.corrupt("has another number of tokens");
  return tokens;
}

ContextWriter::ContextWriter(ContextIndex about) : index_(std::move(about)) {
  index_.chunks.clear();
  require(!index_.forms.empty() && index_.forms.size() <= most_forms, "a context has a form");
}

void ContextWriter::add_chunk(std::int64_t tokens, std::span<const std::int32_t> text,
                              std::vector<Bytes> coded) {
  require(tokens > 0 && coded.size() == index_.forms.size(), "a chunk has tokens, and every form or nothing");
  ContextChunk chunk;
  chunk.first = index_.kind == ContextIndex::Kind::tokens ? index_.cached_tokens() : 0;
  chunk.tokens = tokens;
  const auto add = [&](Bytes bytes) {
    ContextPiece piece;
    piece.size = bytes.size();
    piece.checksum = xxh3_64(bytes);
    pieces_.push_back(std::move(bytes));
    return piece;
  };
  chunk.text = add(token_bytes(text));
  for (Bytes& form : coded) chunk.coded.push_back(add(std::move(form)));
  index_.chunks.push_back(std::move(chunk));
}

const ContextIndex& ContextWriter::write(const std::filesystem::path& path) {
  const Bytes index = index_bytes(index_);
  place_pieces(index_, index.size());
  AtomicFile file(path);
  file.write(index);
  for (const Bytes& piece : pieces_) file.write(piece);
  file.commit();
  return index_;
}

}  // namespace laconic
