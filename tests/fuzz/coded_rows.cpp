// Damaged chunks of CacheGen's bitstream in every form: refused, or a store that is written back as the same
// bytes and whose numbers are numbers.
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "methods/cache/cachegen/coded_rows.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

struct Subject {
  std::shared_ptr<const RowCodec> codec;
  RowContext context;
  RowStoreShape shape;
  Bytes content;
};

const std::vector<Subject>& subjects() {
  static const std::vector<Subject> all = [] {
    ModelConfig config;
    config.head_dim = 6;
    config.max_positions = 256;
    const auto rope = std::make_shared<const RopeTable>(config);
    std::vector<Subject> made;
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      for (int kind = 0; kind < 10; ++kind) {
        CodedRowForm form;
        form.level = 1 + kind % 3;
        form.mode = kind < 6 ? CodedRowForm::Mode::delta : CodedRowForm::Mode::direct;
        form.delta_keys = form.delta_values =
            kind % 2 == 0 ? CodedRowForm::Reference::yes : CodedRowForm::Reference::automatic;
        form.channel_scale = kind == 7;
        form.f32_parameters = kind == 4;
        form.tables = kind == 5 || kind == 8 ? CodedRowForm::Tables::adaptive
                      : kind == 3            ? CodedRowForm::Tables::shared
                      : kind == 9            ? CodedRowForm::Tables::dense
                                             : CodedRowForm::Tables::chunk;
        Subject subject;
        subject.codec = coded_row_codec("cachegen", form, rope, nullptr);
        subject.context.side = side;
        subject.context.layers = 3;
        subject.context.layer = kind % 3;
        subject.context.first_position = 7;
        subject.context.turned_run = side == KvSide::keys;
        subject.shape.parts = {{40, 6}, {kind == 2 ? 11 : 40, 6}};
        HeadMatrices rows;
        RandomStream random(1, "fuzz", "rows");
        for (const auto& [count, width] : subject.shape.parts) {
          rows.emplace_back(count, width);
          for (float& x : rows.back().values) x = random.gaussian();
        }
        ByteWriter writer;
        subject.codec->encode(rows, subject.context)->write(writer);
        subject.content = writer.take();
        made.push_back(std::move(subject));
      }
    }
    return made;
  }();
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const Subject& subject = subjects()[data[0] % subjects().size()];
  Bytes bytes = subject.content;
  if (data[1] % 8 == 0) {  // any bytes at all
    bytes.resize(size - 2);
    std::memcpy(bytes.data(), data + 2, size - 2);
  } else {
    apply_edits({data + 2, size - 2}, bytes);
  }
  std::unique_ptr<const RowStore> store;
  ByteReader reader(bytes, "fuzz");
  try {
    store = subject.codec->read(reader, subject.shape, subject.context);
    reader.expect_end();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
    return 0;
  }
  ByteWriter writer;
  store->write(writer);
  if (!std::equal(bytes.begin(), bytes.end(), writer.span().begin(), writer.span().end())) std::abort();
  if (store->bytes().total() != writer.size()) std::abort();
  for (const HeadMatrix& rows : read_all(*store)) {
    for (const float value : rows.values) {
      if (!std::isfinite(value)) std::abort();
    }
  }
  return 0;
}
