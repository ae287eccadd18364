#include "runtime/benchmark/kernels.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/codec/absolute_value_decomposition.h"
#include "engine/codec/uniform_payload.h"
#include "engine/coding/bit_packing.h"
#include "runtime/linear_op.h"
#include "runtime/sign_stack.h"

namespace laconic {
namespace {

constexpr std::int64_t rows = 4096, columns = 11008;
constexpr std::uint64_t enough = CopyProbe::bytes;
constexpr std::int64_t piece = 1 << 20;  // values per task of the conversions

// Bytes that no two places share for long.
void fill_random(std::byte* to, std::size_t bytes, std::string_view name) {
  parallel_tiles(static_cast<std::int64_t>(bytes), 1 << 20, [&](std::int64_t begin, std::int64_t end) {
    RandomStream random(1, "benchmark", name, static_cast<std::uint64_t>(begin));
    for (std::int64_t i = begin; i < end; i += 4) {
      const std::uint32_t bits = random.bits();
      std::memcpy(to + i, &bits, static_cast<std::size_t>(std::min<std::int64_t>(4, end - i)));
    }
  });
}

std::vector<float> random_floats(std::size_t count, std::string_view name) {
  std::vector<float> values(count);
  parallel_tiles(static_cast<std::int64_t>(count), 1 << 18, [&](std::int64_t begin, std::int64_t end) {
    RandomStream random(1, "benchmark", name, static_cast<std::uint64_t>(begin));
    for (std::int64_t i = begin; i < end; ++i) values[static_cast<std::size_t>(i)] = random.uniform() - 0.5f;
  });
  return values;
}

UniformMatrix random_matrix(int bits) {
  UniformMatrix matrix;
  GridForm form;
  form.bits = bits;
  form.group = 64;
  matrix.parameters = GridParameters(form, rows, columns, DType::f16);
  const std::vector<float> values = random_floats(matrix.parameters.step.size(), "parameters");
  for (std::size_t i = 0; i < values.size(); ++i) {
    matrix.parameters.step[i] = rounded_to(DType::f16, 0.01f + 0.001f * values[i]);
    matrix.parameters.offset[i] = rounded_to(DType::f16, -0.015f + 0.001f * values[i]);
  }
  matrix.codes.resize(static_cast<std::size_t>(rows * columns));
  fill_random(reinterpret_cast<std::byte*>(matrix.codes.data()), matrix.codes.size(), "codes");
  for (std::uint8_t& code : matrix.codes) code &= static_cast<std::uint8_t>((1 << bits) - 1);
  return matrix;
}

// y = W x for one matrix after the other.
Pass product_pass(std::string name, std::vector<std::shared_ptr<const LinearOp>> layers, double wanted) {
  struct Data {
    std::vector<std::shared_ptr<const LinearOp>> layers;
    std::vector<float> x, y;
  };
  auto data = std::make_shared<Data>();
  data->layers = std::move(layers);
  data->x = random_floats(static_cast<std::size_t>(columns), "x");
  data->y.resize(static_cast<std::size_t>(rows));
  Pass pass;
  pass.name = std::move(name);
  pass.wanted_ratio = wanted;
  for (const auto& layer : data->layers) {
    pass.bytes += layer->resident_bytes();
    pass.items += static_cast<std::uint64_t>(rows * columns);
  }
  pass.run = [data] {
    for (const auto& layer : data->layers) layer->multiply(data->x.data(), 1, data->y.data());
  };
  return pass;
}

template <class Make>
std::vector<std::shared_ptr<const LinearOp>> fill_the_cache(const Make& make) {
  std::vector<std::shared_ptr<const LinearOp>> layers;
  for (std::uint64_t bytes = 0; bytes < enough; bytes += layers.back()->resident_bytes())
    layers.push_back(make());
  return layers;
}

Pass uniform_product(int bits) {
  const Payload payload = uniform_payload(random_matrix(bits), fmt::format("uniform(bits={},group=64)", bits),
                                          DType::bf16, {rows, columns});
  return product_pass(fmt::format("product {}-bit", bits),
                      fill_the_cache([&] { return make_linear(payload); }), bits == 4 || bits == 2 ? 0.6 : 0);
}

Pass dense_product() {
  const std::vector<float> values = random_floats(static_cast<std::size_t>(rows * columns), "dense");
  return product_pass(
      "product bf16", fill_the_cache([&] {
        auto owner = std::make_shared<Tensor>(Tensor::from_f32({rows, columns}, values, DType::bf16));
        return make_dense_linear(owner->view(), owner);
      }),
      0);
}

Pass sign_product() {
  SignBlock block;
  block.rows = rows;
  block.columns = columns;
  block.rank = default_sign_rank(rows, columns);
  block.signs.resize(static_cast<std::size_t>(rows * columns / 8));
  fill_random(reinterpret_cast<std::byte*>(block.signs.data()), block.signs.size(), "signs");
  block.a = random_floats(static_cast<std::size_t>(rows * block.rank), "left");
  block.b = random_floats(static_cast<std::size_t>(block.rank * columns), "right");
  return product_pass(fmt::format("product sign block, rank {}", block.rank), fill_the_cache([&] {
                        return make_sign_stack(rows, columns, {std::make_shared<PackedSignBlock>(block)});
                      }),
                      0);
}

Pass unpack_pass(int bits) {
  const auto codes = std::make_shared<std::vector<std::uint8_t>>(enough);
  const auto packed = std::make_shared<std::vector<std::uint8_t>>(packed_bytes(enough, bits));
  fill_random(reinterpret_cast<std::byte*>(packed->data()), packed->size(), "packed");
  Pass pass{fmt::format("unpack {} bits", bits), enough, enough, 0.5, {}};
  pass.run = [codes, packed, bits] {
    parallel_tiles(static_cast<std::int64_t>(codes->size()), piece,
                   [&](std::int64_t begin, std::int64_t end) {
                     const std::size_t from = packed_bytes(static_cast<std::uint64_t>(begin), bits);
                     unpack_bits(std::span(*packed).subspan(from), bits,
                                 std::span(*codes).subspan(static_cast<std::size_t>(begin),
                                                           static_cast<std::size_t>(end - begin)));
                   });
  };
  return pass;
}

Pass dequantize_pass() {
  const auto matrix = std::make_shared<UniformMatrix>(random_matrix(4));
  const auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(2 * rows * columns));
  Pass pass{"dequantise 4 bits", values->size() * 4, values->size(), 0.5, {}};
  pass.run = [matrix, values] {
    parallel_tiles(2 * rows, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        dequantize_row(matrix->codes.data() + row % rows * columns, matrix->parameters, row % rows,
                       values->data() + row * columns);
      }
    });
  };
  return pass;
}

Pass widen_pass(DType dtype, std::string_view name) {
  const std::size_t count = enough / 4;
  const auto narrow = std::make_shared<std::vector<std::byte>>(count * 2);
  const auto wide = std::make_shared<std::vector<float>>(count);
  convert_from_f32(random_floats(count, "values"), dtype, narrow->data());
  Pass pass{fmt::format("{} to f32", name), enough, count, 0, {}};
  pass.run = [narrow, wide, dtype] {
    parallel_tiles(static_cast<std::int64_t>(wide->size()), piece, [&](std::int64_t begin, std::int64_t end) {
      convert_to_f32(
          dtype, narrow->data() + 2 * begin,
          std::span(*wide).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    });
  };
  return pass;
}

Pass narrow_pass(DType dtype, std::string_view name) {
  const std::size_t count = enough / 4;
  const auto narrow = std::make_shared<std::vector<std::byte>>(count * 2);
  const auto wide = std::make_shared<std::vector<float>>(random_floats(count, "values"));
  Pass pass{fmt::format("f32 to {}", name), enough, count, 0, {}};
  pass.run = [narrow, wide, dtype] {
    parallel_tiles(static_cast<std::int64_t>(wide->size()), piece, [&](std::int64_t begin, std::int64_t end) {
      convert_from_f32(
          std::span(*wide).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
          dtype, narrow->data() + 2 * begin);
    });
  };
  return pass;
}

}  // namespace

std::vector<PassMaker> kernel_passes() {
  std::vector<PassMaker> makers;
  for (const int bits : {8, 4, 3, 2}) {
    makers.push_back({fmt::format("product {}-bit", bits), [bits] { return uniform_product(bits); }});
  }
  makers.push_back({"product bf16", [] { return dense_product(); }});
  makers.push_back({"product sign block", [] { return sign_product(); }});
  for (int bits = 1; bits <= 8; ++bits) {
    makers.push_back({fmt::format("unpack {} bits", bits), [bits] { return unpack_pass(bits); }});
  }
  makers.push_back({"dequantise 4 bits", [] { return dequantize_pass(); }});
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const std::string name = dtype == DType::f16 ? "f16" : "bf16";
    makers.push_back({name + " to f32", [dtype, name] { return widen_pass(dtype, name); }});
    makers.push_back({"f32 to " + name, [dtype, name] { return narrow_pass(dtype, name); }});
  }
  return makers;
}

}  // namespace laconic
