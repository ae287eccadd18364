// Damaged rows of codes, low-rank factors and outliers, in every form that GEAR gives them: refused, or a
// store that is written back as the same bytes and that attention can multiply with.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "methods/cache/gear/gear_rows.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

struct Subject {
  std::shared_ptr<const RowCodec> codec;
  RowContext context;
  RowStoreShape shape;
  Bytes content;
};

HeadMatrices numbers(const RowStoreShape& shape) {
  RandomStream random(1, "fuzz", "rows");
  HeadMatrices rows;
  for (const auto& [count, width] : shape.parts) {
    rows.emplace_back(count, width);
    for (float& x : rows.back().values) x = random.gaussian();
  }
  return rows;
}

const std::vector<Subject>& subjects() {
  static const std::vector<Subject> all = [] {
    std::vector<Subject> made;
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      for (const auto backbone :
           {GearForm::Backbone::kivi, GearForm::Backbone::kcvt, GearForm::Backbone::per_token}) {
        for (int form_bits = 0; form_bits < 16; ++form_bits) {
          GearForm form;
          form.backbone = backbone;
          form.group = (form_bits & 8) != 0 ? 4 : 16;
          form.bits = (form_bits & 8) != 0 ? 3 : 2;
          form.shared_factor = (form_bits & 1) != 0;
          form.factor_bits = (form_bits & 2) != 0 ? 8 : 16;
          form.outliers_across = (form_bits & 4) != 0;
          Subject subject;
          subject.codec = gear_row_codec("gear", form);
          subject.context.side = side;
          subject.shape.parts = {{20, 6}, {(form_bits & 8) != 0 ? 11 : 20, 6}};
          ByteWriter writer;
          subject.codec->encode(numbers(subject.shape), subject.context)->write(writer);
          subject.content = writer.take();
          made.push_back(std::move(subject));
        }
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
  const HeadMatrices rows = read_all(*store);
  for (std::int64_t part = 0; part < store->parts(); ++part) {
    const std::int64_t count = store->rows(part), width = store->width(part);
    std::vector<float> queries(static_cast<std::size_t>(2 * width), 1.0f);
    std::vector<float> scores(static_cast<std::size_t>(2 * count)), sums(queries.size());
    store->dot(part, 0, count, queries.data(), 2, scores.data(), count);
    store->mix(part, 0, count, scores.data(), count, 2, sums.data());
  }
  return 0;
}
