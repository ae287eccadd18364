// Products with exact rows beside their scalar references on every target.
#include "runtime/cache/exact_rows_kernel.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"

namespace laconic {
namespace {

std::vector<float> exact_numbers(std::int64_t size, std::string_view name) {
  const RandomStream random(6, "exact rows", name);
  std::vector<float> numbers(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = random.gaussian_at(i);
  return numbers;
}

class ExactRows : public testing::TestWithParam<DType> {
 protected:
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
  // body(stored rows, row count, width) on every target, for widths with and without rests of vectors.
  template <class Body>
  void each(const Body& body) {
    for (const std::int64_t width : {1, 3, 4, 8, 12, 16, 40, 64, 65, 80, 128}) {
      for (const std::int64_t rows : {1, 4, 7, 33}) {
        std::vector<float> numbers = exact_numbers(rows * width, "rows");
        numbers[0] = 1e-7f;  // an f16 subnormal
        const std::size_t size = size_of(GetParam());
        std::vector<std::byte> stored(numbers.size() * size + 1);
        std::vector<std::byte> aligned(numbers.size() * size);
        convert_from_f32(numbers, GetParam(), aligned.data());
        std::copy(aligned.begin(), aligned.end(), stored.begin() + 1);  // at an odd address
        for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
          hwy::SetSupportedTargetsForTest(target);
          SCOPED_TRACE(hwy::TargetName(target) + std::string(" ") + std::to_string(width) + " x " +
                       std::to_string(rows));
          body(stored.data() + 1, rows, width);
        }
      }
    }
  }
};

TEST_P(ExactRows, DotProducts) {
  each([](const std::byte* stored, std::int64_t rows, std::int64_t width) {
    for (const std::int64_t count : {1, 2, 3, 4, 7}) {
      const std::vector<float> queries = exact_numbers(count * width, "queries");
      const std::int64_t stride = rows + 2;
      std::vector<float> wanted(static_cast<std::size_t>(count * stride), -7.0f), got = wanted;
      dot_exact_rows_scalar(GetParam(), stored, rows, width, queries.data(), count, wanted.data(), stride);
      dot_exact_rows(GetParam(), stored, rows, width, queries.data(), count, got.data(), stride);
      for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 2e-5) << i;
    }
  });
}

TEST_P(ExactRows, WeightedSums) {
  each([](const std::byte* stored, std::int64_t rows, std::int64_t width) {
    for (const std::int64_t count : {1, 2, 3, 4, 7}) {
      const std::int64_t stride = rows + 2;
      const std::vector<float> weights = exact_numbers(count * stride, "weights");
      std::vector<float> wanted(static_cast<std::size_t>(count * width), 0.5f), got = wanted;
      mix_exact_rows_scalar(GetParam(), stored, rows, width, weights.data(), stride, count, wanted.data());
      mix_exact_rows(GetParam(), stored, rows, width, weights.data(), stride, count, got.data());
      for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 2e-5) << i;
    }
  });
}

// A query and a row give the same bits whichever others they come with.
TEST_P(ExactRows, DoNotDependOnTheirNeighbours) {
  each([](const std::byte* stored, std::int64_t rows, std::int64_t width) {
    const std::int64_t count = 7;
    const std::vector<float> queries = exact_numbers(count * width, "queries");
    const std::vector<float> weights = exact_numbers(count * rows, "weights");
    std::vector<float> together(static_cast<std::size_t>(count * rows)), alone(1);
    std::vector<float> mixed(static_cast<std::size_t>(count * width)), one(static_cast<std::size_t>(width));
    dot_exact_rows(GetParam(), stored, rows, width, queries.data(), count, together.data(), rows);
    mix_exact_rows(GetParam(), stored, rows, width, weights.data(), rows, count, mixed.data());
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t r = 0; r < rows; r += 5) {
        dot_exact_rows(GetParam(), stored + static_cast<std::size_t>(r * width) * size_of(GetParam()), 1,
                       width, queries.data() + i * width, 1, alone.data(), 1);
        ASSERT_EQ(alone[0], together[static_cast<std::size_t>(i * rows + r)]);
      }
      std::fill(one.begin(), one.end(), 0.0f);
      mix_exact_rows(GetParam(), stored, rows, width, weights.data() + i * rows, rows, 1, one.data());
      for (std::int64_t j = 0; j < width; ++j)
        ASSERT_EQ(one[static_cast<std::size_t>(j)], mixed[static_cast<std::size_t>(i * width + j)]);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Types, ExactRows, testing::Values(DType::f32, DType::f16, DType::bf16));

}  // namespace
}  // namespace laconic
