#include "methods/cache/uniform_rows.h"

namespace laconic {
namespace {

class UniformRowCodec final : public RowCodec {
 public:
  UniformRowCodec(std::string canonical, UniformRowForm keys, UniformRowForm values)
      : canonical_(std::move(canonical)), keys_(keys), values_(values) {
    keys_.side = KvSide::keys;
    values_.side = KvSide::values;
  }
  std::string canonical() const override { return canonical_; }
  // The ends of a token's range are levels of its grid, so that the range of what is read back is the same.
  bool rows_stand_alone() const override {
    using Axis = UniformRowForm::Axis;
    return keys_.axis == Axis::token && values_.axis == Axis::token && !even_parts();
  }
  bool even_parts() const override { return keys_.joint || values_.joint; }
  std::unique_ptr<const RowStore> encode(const HeadMatrices& rows, const RowContext& context) const override {
    return UniformStore::encode(rows, form(context.side));
  }
  std::unique_ptr<const RowStore> read(ByteReader& reader, const RowStoreShape& shape,
                                       const RowContext& context) const override {
    return UniformStore::read_from(reader, shape, form(context.side));
  }

 private:
  const UniformRowForm& form(KvSide side) const { return side == KvSide::keys ? keys_ : values_; }
  std::string canonical_;
  UniformRowForm keys_, values_;
};

}  // namespace

std::shared_ptr<const RowCodec> uniform_row_codec(std::string canonical, UniformRowForm keys,
                                                  UniformRowForm values) {
  return std::make_shared<UniformRowCodec>(std::move(canonical), keys, values);
}

}  // namespace laconic
