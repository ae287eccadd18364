// Damaged layers of every kind of KV cache: refused, or a state that is written back as the same bytes and
// that the next tokens can attend over.
#include <cstdlib>

#include "engine/base/error.h"
#include "methods/cache/pipeline.h"
#include "tests/fuzz/edits.h"
#include "tests/runtime/cache/random_layer.h"

namespace {

using namespace laconic;

struct Subject {
  std::unique_ptr<CacheFactory> factory;
  Bytes content;
};

const RandomLayer& layer() {
  static const RandomLayer rows({1, 2, 4, 16, 24, {0}, nullptr}, 240);
  return rows;
}

// Caches of every method that needs no trained base, after a prompt and some later tokens.
const std::vector<Subject>& subjects() {
  static const std::vector<Subject> all = [] {
    std::vector<Subject> made;
    // Besides every method as it is: slots that were chosen, merged and stored anew.
    std::vector<std::string> pipelines = {"ems(budget=48,tau=0,rho=4,bias=true,heads=shared)",
                                          "snapkv(budget=48) + per-token(bits=4)"};
    for (const MethodDescription& method : method_registry()) {
      if (method.cache) pipelines.push_back(method.slug);
    }
    for (const std::string& pipeline : pipelines) {
      try {
        Subject subject;
        subject.factory = std::make_unique<CacheFactory>(pipeline, CacheRequest{layer().shape, {}, {}, 0});
        const auto cache = subject.factory->make();
        layer().run(*cache, 0, 150, 150);
        layer().run(*cache, 150, 60, 60);
        ByteWriter writer;
        cache->write_layer(0, writer);
        subject.content = writer.take();
        made.push_back(std::move(subject));
      } catch (const Error&) {
        continue;  // needs a trained base
      }
    }
    return made;
  }();
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const Subject& subject = subjects()[data[0] % subjects().size()];
  Bytes bytes = subject.content;
  apply_edits({data + 1, size - 1}, bytes);
  const auto cache = subject.factory->make();
  try {
    ByteReader reader(bytes, "fuzz");
    cache->read_layer(0, reader);
    reader.expect_end();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
    return 0;
  }
  ByteWriter writer;
  cache->write_layer(0, writer);
  if (!std::equal(bytes.begin(), bytes.end(), writer.span().begin(), writer.span().end())) std::abort();
  if (cache->bytes().total() != writer.size()) std::abort();
  const std::int64_t length = cache->length();
  if (length + 40 > layer().tokens) return 0;
  layer().run(*cache, length, 40, 8);
  return 0;
}
