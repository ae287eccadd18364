// Saved layers of a cache whose tokens are in classes (zipcache): any bytes, and edits of what a cache wrote.
// They are refused as corrupt, or taken: then the layer is written back as it was read, and goes on.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "methods/cache/pipeline.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

const KvShape& small_shape() {
  static const KvShape shape{1, 2, 2, 4, 4, {}, nullptr};
  return shape;
}

std::vector<float> numbers(std::int64_t count) {
  RandomStream random(1, "fuzz", "cache rows");
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& x : values) x = random.gaussian();
  return values;
}

void feed(KvCache& cache, std::int64_t tokens) {
  const std::vector<float> rows = numbers(tokens * 8);
  std::vector<float> out(rows.size());
  cache.attend(0, {tokens, cache.length(), rows.data(), rows.data(), rows.data(), nullptr}, out.data());
}

struct Written {
  std::shared_ptr<const CacheFactory> factory;
  Bytes layer;
};

std::vector<Written> written_layers() {
  std::vector<Written> all;
  for (const char* pipeline :
       {"zipcache(flush=8)", "zipcache(bits=16,3,keys=cst,span=head,flush=4)",
        "zipcache(bits=8,2,cst=false,ratio=0.2,flush=6)", "zipcache(fidelity=official,flush=8)"}) {
    const auto factory = std::make_shared<CacheFactory>(pipeline, CacheRequest{small_shape(), {}, 3, 0});
    const auto cache = factory->make();
    feed(*cache, 21);
    for (int i = 0; i < 9; ++i) feed(*cache, 1);
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
  Bytes bytes = written.layer;
  const std::span<const std::uint8_t> rest(data + 2, size - 2);
  if (data[0] % 2 == 0) {
    bytes.assign(reinterpret_cast<const std::byte*>(rest.data()),
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
  if (cache->layer(0).dropped || cache->length() > 1 << 20) return 0;
  try {
    feed(*cache, 1);
  } catch (const Error& error) {
    // Grids may reach beyond f32, and weights of attention with them.
    if (error.kind() != ErrorKind::input) std::abort();
  }
  return 0;
}
