#include "methods/cache/zipcache/mixed_rows.h"

#include "methods/cache/uniform_rows.h"
#include "runtime/cache/channel_scale_store.h"
#include "runtime/cache/class_store.h"
#include "runtime/cache/exact_store.h"

namespace laconic {
namespace {

constexpr int exact_bits = 16;
constexpr std::int64_t wide_head = 64;  // channels of which a grid is below half a bit each

std::shared_ptr<const RowCodec> class_codec(int bits, UniformRowForm form) {
  if (bits == exact_bits) return exact_row_codec(DType::f16);
  form.bits = bits;
  return uniform_row_codec("uniform", form, form);
}

std::shared_ptr<const RowCodec> channel_grids(const MixedRowForm& form) {
  UniformRowForm grids;
  grids.axis = UniformRowForm::Axis::channel;
  grids.group = 0;
  grids.f32_parameters = form.f32_parameters;
  return class_row_codec({class_codec(form.high, grids), class_codec(form.low, grids)});
}

std::shared_ptr<const RowCodec> token_grids(const MixedRowForm& form, bool all_heads) {
  UniformRowForm grids;
  grids.axis = UniformRowForm::Axis::token;
  grids.group = 0;
  grids.joint = all_heads;
  grids.f32_parameters = form.f32_parameters;
  const auto scaled = [&](std::shared_ptr<const RowCodec> codec) {
    return form.channel_scales ? channel_scaled_codec(std::move(codec), form.f32_parameters) : codec;
  };
  const auto high = class_codec(form.high, grids), low = class_codec(form.low, grids);
  // Rows that stay exact are not divided; the scales are then those of the others.
  if (form.low == exact_bits) return class_row_codec({high, low});
  if (form.high == exact_bits) return class_row_codec({high, scaled(low)});
  return scaled(class_row_codec({high, low}));
}

class MixedRowCodec final : public RowCodec {
 public:
  MixedRowCodec(std::string canonical, const MixedRowForm& form)
      : canonical_(std::move(canonical)),
        form_(form),
        channel_grids_(channel_grids(form)),
        head_grids_(token_grids(form, false)),
        joint_grids_(token_grids(form, true)) {}
  std::string canonical() const override { return canonical_; }
  std::unique_ptr<const RowStore> encode(const HeadMatrices& rows, const RowContext& context) const override {
    return codec(context.side, rows.front().width).encode(rows, context);
  }
  std::unique_ptr<const RowStore> read(ByteReader& reader, const RowStoreShape& shape,
                                       const RowContext& context) const override {
    return codec(context.side, shape.parts.front().second).read(reader, shape, context);
  }

 private:
  const RowCodec& codec(KvSide side, std::int64_t width) const {
    if (side == KvSide::keys && form_.keys == MixedRowForm::KeyAxis::channel) return *channel_grids_;
    const bool head = form_.span == MixedRowForm::GridSpan::head ||
                      (form_.span == MixedRowForm::GridSpan::automatic && width >= wide_head);
    return head ? *head_grids_ : *joint_grids_;
  }

  std::string canonical_;
  MixedRowForm form_;
  std::shared_ptr<const RowCodec> channel_grids_, head_grids_, joint_grids_;
};

}  // namespace

std::shared_ptr<const RowCodec> mixed_row_codec(std::string canonical, const MixedRowForm& form) {
  return std::make_shared<MixedRowCodec>(std::move(canonical), form);
}

}  // namespace laconic
