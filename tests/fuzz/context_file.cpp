// A damaged index of a stored context: refused, or an index whose pieces can be asked for and that describes
// the file's length.
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/hash.h"
#include "runtime/cache/context_file.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

class MemorySource final : public ContextSource {
 public:
  explicit MemorySource(Bytes bytes) : bytes_(std::move(bytes)) {}
  Bytes read(std::uint64_t offset, std::uint64_t size) override {
    if (offset > bytes_.size() || size > bytes_.size() - offset)
      fail(ErrorKind::corrupt, "the source ends early", name());
    return Bytes(bytes_.begin() + static_cast<std::ptrdiff_t>(offset),
                 bytes_.begin() + static_cast<std::ptrdiff_t>(offset + size));
  }
  std::string name() const override { return "fuzz"; }

 private:
  Bytes bytes_;
};

// An index of each kind, without its magic, length and checksum.
const std::vector<Bytes>& indices() {
  static const std::vector<Bytes> all = [] {
    std::vector<Bytes> made;
    for (const auto kind : {ContextIndex::Kind::tokens, ContextIndex::Kind::layers}) {
      ContextIndex index;
      index.kind = kind;
      index.layers = 2;
      index.kv_heads = 2;
      index.head_dim = 8;
      index.forms = {"f16"};
      if (kind == ContextIndex::Kind::tokens) index.forms.emplace_back("cachegen");
      index.rest = {3, 400};
      ContextWriter writer(index);
      for (int chunk = 0; chunk < 2; ++chunk) {
        std::vector<Bytes> coded(index.forms.size(), Bytes(30));
        writer.add_chunk(2, std::vector<std::int32_t>{1, 2}, std::move(coded));
      }
      const std::filesystem::path path =
          std::filesystem::temp_directory_path() / ("fuzz-context-" + std::to_string(getpid()));
      writer.write(path);
      const Bytes whole = read_file(path);
      std::filesystem::remove(path);
      std::uint32_t length = 0;
      std::memcpy(&length, whole.data() + 5, 4);
      made.emplace_back(whole.begin() + 9, whole.begin() + 9 + static_cast<std::ptrdiff_t>(length));
    }
    return made;
  }();
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  Bytes body = indices()[data[0] % indices().size()];
  if (data[1] % 8 == 0) {
    body.resize(size - 2);
    std::memcpy(body.data(), data + 2, size - 2);
  } else {
    apply_edits({data + 2, size - 2}, body);
  }
  // With the checksum made to fit: what a forger would do.
  ByteWriter writer;
  writer.append(as_byte_span("LKVC"));
  writer.u8(1);
  writer.u32(static_cast<std::uint32_t>(body.size()));
  writer.append(body);
  writer.u64(xxh3_64(writer.span()));
  Bytes file = writer.take();
  const std::size_t index_size = file.size();
  file.resize(file.size() + 200);
  MemorySource source(file);
  try {
    const ContextIndex index = read_context_index(source);
    if (index.bytes() < index_size) std::abort();
    for (std::size_t chunk = 0; chunk < index.chunks.size(); ++chunk) {
      for (std::size_t form = 0; form < index.forms.size(); ++form) {
        const ContextPiece& piece = index.chunks[chunk].coded[form];
        if (!piece.present()) continue;
        try {
          read_context_piece(source, piece, index.chunk_name(chunk, form));
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::corrupt) std::abort();
        }
      }
      if (!index.chunks[chunk].text.present()) continue;
      try {
        read_context_text(source, index, chunk);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) std::abort();
      }
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
  }
  return 0;
}
