#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "runtime/cache/context_file.h"

namespace laconic {
namespace {

// Pieces of a copy that is under way, by place. What an earlier run left is used where its checksum fits.
class KeptPieces {
 public:
  explicit KeptPieces(const std::filesystem::path& path) : folder_(path.string() + ".partial") {
    std::error_code failed;
    std::filesystem::create_directories(folder_, failed);
    if (failed)
      fail(ErrorKind::io, failed.message(), folder_.string(), "choose a place that can be written to");
  }
  template <class Read>
  Bytes get(const std::string& name, const ContextPiece& piece, const Read& read) const {
    const std::filesystem::path file = folder_ / name;
    std::error_code ignored;
    if (std::filesystem::file_size(file, ignored) == piece.size && !ignored) {
      Bytes kept = read_file(file, piece.size);
      if (xxh3_64(kept) == piece.checksum) return kept;
    }
    Bytes bytes = read();
    write_file(file, bytes);
    return bytes;
  }
  void remove() const {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace

ContextIndex copy_context(ContextSource& source, const ContextIndex& index, const std::filesystem::path& path,
                          const ContextCopyOptions& options) {
  require(options.wanted.size() == index.forms.size(), "every form is wanted or not");
  const KeptPieces kept(path);
  ContextWriter writer(index);
  Progress progress(options.progress, "fetching", static_cast<std::int64_t>(index.chunks.size()));
  for (std::size_t chunk = 0; chunk < index.chunks.size(); ++chunk) {
    throw_if_interrupted();
    const ContextChunk& of = index.chunks[chunk];
    std::vector<std::int32_t> text;
    if (of.text.present()) {
      // A text goes through its numbers, which are checked on the way.
      const auto read_text = [&] { return read_context_text(source, index, chunk); };
      try {
        text = read_text();
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) throw;
        text = read_text();
      }
    }
    std::vector<Bytes> coded(index.forms.size());
    for (std::size_t form = 0; form < index.forms.size(); ++form) {
      const ContextPiece& piece = of.coded[form];
      if (!options.wanted[form] || !piece.present()) continue;
      const std::string name = index.chunk_name(chunk, form);
      const auto read = [&] { return read_context_piece(source, piece, name); };
      try {
        coded[form] = kept.get(fmt::format("{}-{}", chunk, form), piece, [&] {
          try {
            return read();
          } catch (const Error& error) {
            if (error.kind() != ErrorKind::corrupt) throw;
            return read();
          }
        });
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::corrupt) throw;
        if (options.notice) options.notice(fmt::format("{}; it is left out", error.what()));
      }
    }
    writer.add_chunk(of.tokens, text, std::move(coded));
    progress.advance();
  }
  ContextIndex copied = writer.write(path);
  kept.remove();
  return copied;
}

}  // namespace laconic
