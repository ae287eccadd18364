// Code planes hold what was put in, and their kernels equal the scalar references on every target.
#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/tensor/dtype.h"
#include "runtime/code_plane_kernel.h"
#include "runtime/code_planes.h"

namespace laconic {
namespace {

class CodePlaneKernels : public testing::Test {
 protected:
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
  template <class Body>
  void on_every_target(const Body& body) {
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
      hwy::SetSupportedTargetsForTest(target);
      SCOPED_TRACE(hwy::TargetName(target));
      body();
    }
  }
};

std::vector<float> gaussian(std::int64_t count, std::string_view name) {
  RandomStream random(6, "code planes", name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.gaussian();
  return values;
}

std::vector<std::uint8_t> codes_of_row(std::int64_t row, std::int64_t columns, int bits) {
  RandomStream random(7, "codes", "row", static_cast<std::uint64_t>(row));
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns));
  for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(random.below(1u << bits));
  return codes;
}

CodePlanes random_planes(std::int64_t rows, std::int64_t columns, int bits) {
  CodePlanes planes(rows, columns, bits);
  for (std::int64_t row = 0; row < rows; ++row) planes.set_row(row, codes_of_row(row, columns, bits));
  return planes;
}

// Parameters of one tile: f16 or f32 scales and offsets, and centres.
struct Parameters {
  Parameters(std::int64_t count, DType dtype, int bits)
      : scale(static_cast<std::size_t>(count) * size_of(dtype)), offset(scale.size()) {
    convert_from_f32(gaussian(count, "scale"), dtype, scale.data());
    convert_from_f32(gaussian(count, "offset"), dtype, offset.data());
    RandomStream random(8, "centre", "centre");
    centre.resize(static_cast<std::size_t>(count));
    for (std::uint8_t& value : centre) value = static_cast<std::uint8_t>(random.below(1u << bits));
  }
  std::vector<std::byte> scale, offset;
  std::vector<std::uint8_t> centre;
};

TEST(CodePlanes, RowsComeBack) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (const std::int64_t columns : {1, 7, 31, 32, 33, 172}) {
      const std::int64_t rows = 141;
      const CodePlanes planes = random_planes(rows, columns, bits);
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns));
      for (std::int64_t row = 0; row < rows; ++row) {
        planes.get_row(row, codes);
        ASSERT_EQ(codes, codes_of_row(row, columns, bits)) << bits << ' ' << row;
        const CodeTile tile = planes.tile(planes.tile_of(row));
        ASSERT_TRUE(tile.first_row <= row && row < tile.first_row + tile.rows);
      }
    }
  }
}

std::uint64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::strtoull(line.c_str() + 8, nullptr, 10) * 1024;
  }
  return 0;
}

TEST(CodePlanes, FreedPlanesLeaveTheResidentSet) {
  for (const std::int64_t columns : {16384, 256}) {  // 32 MiB in large pages, 512 KiB in small ones
    std::vector<CodePlanes> planes;
    const std::uint64_t before = anonymous_bytes();
    for (std::int64_t i = 0; i < 16384 / columns; ++i) {
      planes.emplace_back(4096, columns, 4);
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns));
      planes.back().get_row(4095, codes);
      ASSERT_EQ(codes, std::vector<std::uint8_t>(codes.size(), 0));
      codes.assign(codes.size(), 5);
      for (std::int64_t row = 0; row < 4096; ++row) planes.back().set_row(row, codes);
    }
    const std::uint64_t full = anonymous_bytes(), size = 4096 * 16384 / 2;
    if (full == 0) GTEST_SKIP() << "the system does not tell the resident set";
    EXPECT_GE(full - before, size);
    planes.resize(planes.size() / 2 + planes.size() % 2 - 1);
    const std::uint64_t kept = size / 16384 * static_cast<std::uint64_t>(columns) * planes.size();
    // AddressSanitizer keeps a byte of its own for eight of the program's, freed or not.
#ifdef LACONIC_ADDRESS_SANITIZER
    const std::uint64_t shadow = size / 8;
#else
    const std::uint64_t shadow = 0;
#endif
    EXPECT_LE(anonymous_bytes() - before, kept + shadow + (std::uint64_t{4} << 20));
  }
}

TEST_F(CodePlaneKernels, ProductsEqualTheReference) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (const std::int64_t columns : {1, 7, 63, 64, 65, 172, 1100}) {
      for (const std::int64_t group : {std::int64_t{64}, std::int64_t{24}, columns}) {
        const CodePlanes planes = random_planes(72, columns, bits);
        const std::vector<ColumnRun> runs = column_runs(columns, group);
        const std::int64_t groups = (columns + group - 1) / group;
        const DType dtype = group == 64 ? DType::f16 : DType::f32;
        const Parameters parameters(64 * groups, dtype, bits);
        std::vector<std::vector<float>> x;
        std::vector<PlaneInput> inputs(4);
        const std::vector<float> factors = gaussian(columns, "factors");
        for (int m = 0; m < 4; ++m) {
          x.push_back(gaussian(columns, std::to_string(m)));
          prepare_input(planes, runs, x.back().data(), m == 3 ? factors.data() : nullptr,
                        inputs[static_cast<std::size_t>(m)]);
        }
        for (const std::size_t count : {1, 2, 4}) {
          std::vector<const PlaneInput*> pointers;
          for (std::size_t m = 0; m < count; ++m) pointers.push_back(&inputs[4 - count + m]);
          for (std::int64_t t = 0; t < planes.tiles(); ++t) {
            const CodeTile tile = planes.tile(t);
            TileGrid grid;
            grid.scale = parameters.scale.data();
            grid.offset = bits == 3 ? nullptr : parameters.offset.data();
            grid.half = dtype == DType::f16;
            grid.centre = bits % 2 == 0 ? parameters.centre.data() : nullptr;
            grid.fixed_centre = static_cast<float>(1 << (bits - 1));
            std::vector<float> wanted(64 * 4), got(64 * 4);
            std::vector<float*> to_wanted, to_got;
            for (std::size_t m = 0; m < count; ++m) {
              to_wanted.push_back(wanted.data() + 64 * m);
              to_got.push_back(got.data() + 64 * m);
            }
            multiply_tile_scalar(tile, planes.parts(), runs, grid, pointers, to_wanted.data());
            on_every_target([&] {
              multiply_tile(tile, planes.parts(), runs, grid, pointers, to_got.data());
              const double scale = std::ldexp(std::sqrt(static_cast<double>(columns)), bits);
              for (std::size_t i = 0; i < got.size(); ++i)
                ASSERT_NEAR(got[i], wanted[i], 1e-5 * scale) << bits << ' ' << columns << ' ' << i;
            });
          }
        }
      }
    }
  }
}

TEST_F(CodePlaneKernels, ExpandedTilesHaveTheBitsOfTheReference) {
  for (int bits = 1; bits <= 8; ++bits) {
    const std::int64_t columns = 172, group = 48;
    const CodePlanes planes = random_planes(72, columns, bits);
    const Parameters parameters(64 * 4, DType::f16, bits);
    for (std::int64_t t = 0; t < planes.tiles(); ++t) {
      const CodeTile tile = planes.tile(t);
      TileGrid grid;
      grid.scale = parameters.scale.data();
      grid.offset = parameters.offset.data();
      grid.centre = parameters.centre.data();
      std::vector<float> wanted(static_cast<std::size_t>(150 * 64)), got(wanted.size());
      expand_tile_scalar(tile, planes.parts(), grid, group, 13, 163, wanted.data(), 64);
      on_every_target([&] {
        expand_tile(tile, planes.parts(), grid, group, 13, 163, got.data(), 64);
        EXPECT_EQ(got, wanted) << bits;
      });
    }
  }
}

TEST_F(CodePlaneKernels, SignsAreAppliedAsInTheReference) {
  const CodePlanes planes = random_planes(72, 100, 1);
  for (std::int64_t t = 0; t < planes.tiles(); ++t) {
    const CodeTile tile = planes.tile(t);
    const std::vector<float> values = gaussian(60 * 64, "values");
    std::vector<float> wanted = values;
    apply_signs_scalar(tile, 25, 85, wanted.data(), 64);
    EXPECT_NE(wanted, values);
    on_every_target([&] {
      std::vector<float> got = values;
      apply_signs(tile, 25, 85, got.data(), 64);
      EXPECT_EQ(got, wanted);
    });
  }
}

}  // namespace
}  // namespace laconic
