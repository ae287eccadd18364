// Saved layers of caches with trained bases (cskv, matryoshkakv), alone and with stages of other axes: any
// bytes, and edits of what a cache wrote. They are refused as corrupt, or taken: then the layer is written
// back as it was read, and goes on.
#include <cstdlib>

#include "engine/base/error.h"
#include "methods/cache/pipeline.h"
#include "tests/fuzz/edits.h"
#include "tests/methods/cache/random_bases.h"
#include "tests/runtime/cache/random_layer.h"

namespace {

using namespace laconic;

const RandomLayer& layer() {
  static const RandomLayer rows({1, 2, 4, 8, 12, {0}, rope_of(8)}, 240);
  return rows;
}

struct Written {
  std::shared_ptr<const CacheFactory> factory;
  Bytes content;
};

std::vector<Written> written_layers() {
  const RandomBases bases(layer().shape);
  bases.cskv(2, 3);
  bases.matryoshka();
  std::vector<Written> all;
  for (const char* pipeline :
       {"cskv", "cskv(bits=4,window=16)", "cskv + zipcache(bits=4,2,flush=16)", "matryoshkakv(rank=0.5)",
        "matryoshkakv(rank=0.25) + per-token(bits=4)", "matryoshkakv + zipcache(flush=16)"}) {
    const auto factory =
        std::make_shared<CacheFactory>(pipeline, CacheRequest{layer().shape, {}, {}, 0, bases.directory()});
    const auto cache = factory->make();
    layer().run(*cache, 0, 100, 100);
    layer().run(*cache, 100, 40, 1);
    ByteWriter writer;
    cache->write_layer(0, writer);
    all.push_back({factory, writer.take()});
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<Written> all = written_layers();
  if (size < 2) return 0;
  const Written& written = all[data[1] % all.size()];
  Bytes bytes = written.content;
  const std::span<const std::uint8_t> rest(data + 2, size - 2);
  if (data[0] % 2 == 0) {
    // Behind the hash of the base, which no input would guess.
    bytes.resize(std::min<std::size_t>(bytes.size(), 9));
    bytes.insert(bytes.end(), reinterpret_cast<const std::byte*>(rest.data()),
                 reinterpret_cast<const std::byte*>(rest.data() + rest.size()));
  } else {
    apply_edits(rest, bytes);
  }
  const auto cache = written.factory->make();
  ByteReader reader(bytes, "fuzz");
  try {
    cache->read_layer(0, reader);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
    return 0;
  }
  ByteWriter writer;
  cache->write_layer(0, writer);
  const Bytes again = writer.take();
  if (again != Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(reader.position())))
    std::abort();
  if (cache->bytes().total() != again.size()) std::abort();
  const std::int64_t length = cache->length();
  if (cache->layer(0).dropped || length + 40 > layer().tokens) return 0;
  try {
    layer().run(*cache, length, 40, 8);
  } catch (const Error& error) {
    // Latents of damaged grids may reach beyond f32, and what is made of them with them.
    if (error.kind() != ErrorKind::input) std::abort();
  }
  return 0;
}
