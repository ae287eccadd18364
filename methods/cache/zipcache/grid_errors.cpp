#include "methods/cache/zipcache/grid_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/random.h"
#include "methods/cache/zipcache/mixed_rows.h"
#include "runtime/cache/channel_scale_store.h"
#include "runtime/cache/uniform_store.h"

namespace laconic::zipcache {
namespace {

double mean_squared_error(const RowStore& store, const HeadMatrix& values) {
  const HeadMatrix decoded = std::move(read_all(store).front());
  double sum = 0;
  for (std::size_t i = 0; i < values.values.size(); ++i) {
    const double error = static_cast<double>(decoded.values[i]) - static_cast<double>(values.values[i]);
    sum += error * error;
  }
  return sum / static_cast<double>(values.values.size());
}

// c_j = max over rows of |x_j|^(3/4)
std::vector<float> steep_scales(const HeadMatrix& values) {
  std::vector<float> scales(static_cast<std::size_t>(values.width));
  for (std::int64_t r = 0; r < values.rows; ++r) {
    for (std::size_t j = 0; j < scales.size(); ++j)
      scales[j] = std::max(scales[j], std::abs(values.row(r)[j]));
  }
  for (float& scale : scales) scale = rounded_to(DType::f16, std::max(std::pow(scale, 0.75f), 1e-6f));
  return scales;
}

HeadMatrix divided_by(const std::vector<float>& scales, HeadMatrix values) {
  for (std::int64_t r = 0; r < values.rows; ++r) {
    for (std::size_t j = 0; j < scales.size(); ++j) values.row(r)[j] /= scales[j];
  }
  return values;
}

}  // namespace

void make_heavy(HeadMatrix& values, std::uint64_t seed) {
  RandomStream random(seed, "zipcache", "heavy channels");
  const auto width = static_cast<std::uint32_t>(values.width);
  const std::int64_t first = random.below(width);
  const std::int64_t second = (first + 1 + random.below(width - 1)) % values.width;
  for (std::int64_t r = 0; r < values.rows; ++r) {
    values.row(r)[first] *= heavy_factor;
    values.row(r)[second] *= heavy_factor;
  }
}

ArmNumbers grid_errors(const HeadMatrix& values) {
  const std::int64_t classes[] = {values.rows, 0};
  RowContext context;
  context.side = KvSide::values;
  context.class_rows = classes;
  ArmNumbers numbers;
  const auto note = [&](const std::string& name, int bits, const RowStore& store) {
    numbers[fmt::format("{}.{}", name, bits)] = mean_squared_error(store, values);
    numbers[name] = 8 * static_cast<double>(store.bytes().scales) / static_cast<double>(values.values.size());
  };
  const std::vector<float> steep = steep_scales(values);
  for (const int bits : grid_bits) {
    MixedRowForm form;
    form.high = form.low = bits;
    form.span = MixedRowForm::GridSpan::all_heads;
    note("cst", bits, *mixed_row_codec("cst", form)->encode({values}, context));
    form.channel_scales = false;
    const auto tokens = mixed_row_codec("token", form);
    note("token", bits, *tokens->encode({values}, context));
    note("steep", bits,
         ChannelScaleStore(DType::f16, {steep}, tokens->encode({divided_by(steep, values)}, context)));
    UniformRowForm groups;
    groups.bits = bits;
    groups.group = 32;
    note("group", bits, *UniformStore::encode({values}, groups));
  }
  return numbers;
}

HeadMatrix normal_values(std::int64_t tokens, std::int64_t channels, std::uint64_t seed) {
  const RandomStream random(seed, "zipcache", "normal values");
  HeadMatrix values(tokens, channels);
  for (std::size_t i = 0; i < values.values.size(); ++i) values.values[i] = random.gaussian_at(i);
  return values;
}

}  // namespace laconic::zipcache
