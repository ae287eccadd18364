#include "engine/dataset/synthetic.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

std::string part_name(SetPart part) { return part == SetPart::train ? "train" : "test"; }

// Normal numbers, each averaged with its neighbours twice, brought to mean 0 and deviation 1.
std::vector<double> smooth_picture(std::int64_t side, RandomStream random) {
  const auto n = static_cast<std::size_t>(side);
  std::vector<double> picture(n * n), before;
  for (double& pixel : picture) pixel = random.gaussian();
  for (int pass = 0; pass < 2; ++pass) {
    before = picture;
    for (std::size_t y = 0; y < n; ++y) {
      for (std::size_t x = 0; x < n; ++x) {
        double sum = 0;
        int count = 0;
        for (std::size_t v = y == 0 ? 0 : y - 1; v <= std::min(y + 1, n - 1); ++v) {
          for (std::size_t u = x == 0 ? 0 : x - 1; u <= std::min(x + 1, n - 1); ++u) {
            sum += before[v * n + u];
            ++count;
          }
        }
        picture[y * n + x] = sum / count;
      }
    }
  }
  const double mean = std::accumulate(picture.begin(), picture.end(), 0.0) / static_cast<double>(n * n);
  double square = 0;
  for (double& pixel : picture) {
    pixel -= mean;
    square += pixel * pixel;
  }
  const double scale = square > 0 ? std::sqrt(static_cast<double>(n * n) / square) : 0;
  for (double& pixel : picture) pixel *= scale;
  return picture;
}

std::vector<std::uint32_t> all_columns(std::int64_t columns) {
  std::vector<std::uint32_t> result(static_cast<std::size_t>(columns));
  std::iota(result.begin(), result.end(), 0u);
  return result;
}

}  // namespace

ImageExamples synthetic_classes(const SyntheticClasses& settings, SetPart part, std::uint64_t seed) {
  require(settings.side >= 1 && settings.classes >= 1 && settings.examples >= 1, "pictures of some class");
  ImageExamples examples;
  examples.height = examples.width = settings.side;
  examples.classes = settings.classes;
  std::vector<std::vector<double>> means;
  for (std::int32_t c = 0; c < settings.classes; ++c)
    means.push_back(smooth_picture(
        settings.side, RandomStream(seed, "synthetic-classes", "mean", static_cast<std::uint64_t>(c))));
  const std::size_t numbers = examples.numbers();
  examples.pixels.reserve(numbers * static_cast<std::size_t>(settings.examples));
  for (std::int64_t i = 0; i < settings.examples; ++i) {
    const auto label = static_cast<std::int32_t>(i % settings.classes);
    RandomStream random(seed, "synthetic-classes", part_name(part), static_cast<std::uint64_t>(i));
    examples.labels.push_back(label);
    for (const double mean : means[static_cast<std::size_t>(label)]) {
      const double level = 128 + settings.contrast * mean + settings.noise * random.gaussian();
      examples.pixels.push_back(static_cast<std::uint8_t>(std::clamp(std::nearbyint(level), 0.0, 255.0)));
    }
  }
  return examples;
}

SparseExamples synthetic_logistic(std::int64_t rows, std::int64_t columns, SetPart part, std::uint64_t seed) {
  require(rows >= 1 && columns >= 1, "rows with columns");
  const std::vector<std::uint32_t> all = all_columns(columns);
  std::vector<double> truth(all.size());
  RandomStream of_truth(seed, "synthetic-logistic", "truth");
  for (double& value : truth) value = of_truth.gaussian();
  SparseExamples examples;
  examples.columns = columns;
  std::vector<float> row(all.size());
  for (std::int64_t i = 0; i < rows; ++i) {
    RandomStream random(seed, "synthetic-logistic", part_name(part), static_cast<std::uint64_t>(i));
    double margin = 0;
    for (std::size_t j = 0; j < row.size(); ++j) {
      row[j] = static_cast<float>(random.gaussian() / std::sqrt(1.0 + static_cast<double>(j)));
      margin += truth[j] * row[j];
    }
    const bool positive = random.uniform() < 1 / (1 + std::exp(-2 * margin));
    examples.append(positive ? 1.0f : -1.0f, all, row);
  }
  return examples;
}

SparseExamples synthetic_quadratic(std::int64_t rows, std::int64_t columns, double spread,
                                   std::uint64_t seed) {
  require(rows >= 1 && columns >= 1, "rows with columns");
  const std::vector<std::uint32_t> all = all_columns(columns);
  SparseExamples examples;
  examples.columns = columns;
  std::vector<double> direction(all.size());
  std::vector<float> row(all.size());
  for (std::int64_t i = 0; i < rows; ++i) {
    RandomStream random(seed, "synthetic-quadratic", "row", static_cast<std::uint64_t>(i));
    const double root = std::exp(0.5 * spread * random.gaussian());
    const double target = random.gaussian();
    double square = 0;
    for (double& value : direction) {
      value = random.gaussian();
      square += value * value;
    }
    const double scale = square > 0 ? root / std::sqrt(square) : 0;
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = static_cast<float>(scale * direction[j]);
    examples.append(static_cast<float>(root * target), all, row);
  }
  return examples;
}

}  // namespace laconic
