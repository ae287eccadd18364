#include "methods/weights/bitstack/stack_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "engine/base/hash.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/stack_artifact.h"
#include "runtime/resizable_model.h"

namespace laconic::bitstack {
namespace {

namespace fs = std::filesystem;

// What the payloads of a prefix cost, with all side information.
double linear_bytes(const StackArtifact& stack, std::size_t prefix) {
  double bytes = 0;
  for (const auto& [name, count] : stack.counts(prefix)) {
    bytes += static_cast<double>(to_frame(stack.payload(name, count)).size());
  }
  return bytes;
}

StackPoint measured(const Trial& trial, const fs::path& directory, const StackArtifact& stack,
                    std::size_t prefix) {
  StackPoint point;
  LoadOptions options;
  options.compressed =
      std::make_shared<CompressedModel>(directory, OpenOptions{false, stack.loaded_bytes(prefix)});
  point.numbers = trial.measure(Transformer::load(directory, options));
  double weights = 0;
  for (const auto& [name, count] : stack.counts(prefix)) {
    weights += static_cast<double>(element_count(stack.summary(name, count).shape));
  }
  const double bytes = linear_bytes(stack, prefix);
  point.numbers["linear_bytes"] = bytes;
  point.numbers["linear_bits"] = 8 * bytes / weights;
  point.numbers["stored_bytes"] = static_cast<double>(stack.loaded_bytes(prefix));
  point.numbers["blocks"] = static_cast<double>(prefix);
  return point;
}

std::size_t largest_prefix(const StackArtifact& stack, double bytes) {
  std::size_t low = stack.least_prefix(), high = stack.blocks().size();
  while (low < high) {
    const std::size_t middle = (low + high + 1) / 2;
    if (linear_bytes(stack, middle) <= bytes) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

// Alternates sizes between tokens; each step is compared with a fresh load that goes on from the same cache.
double resize_difference(const Trial& trial, const fs::path& directory, std::uint64_t seed) {
  ResizableModel model(directory);
  const std::uint64_t small = model.smallest_bytes(), large = model.largest_bytes(),
                      middle = (small + large) / 2;
  const std::vector<std::int32_t> tokens = trial.calibration_windows(seed).front();
  std::unique_ptr<KvCache> cache = model.model().make_cache();
  const std::size_t prompt = std::min<std::size_t>(16, tokens.size() / 2);
  model.model().forward(std::span(tokens).first(prompt), cache.get(), true);
  double largest = 0;
  const std::uint64_t sizes[] = {small, large, middle, small, middle, large};
  for (std::size_t i = 0; i < std::size(sizes) && prompt + i < tokens.size(); ++i) {
    const auto next = std::span(tokens).subspan(prompt + i, 1);
    const std::unique_ptr<KvCache> snapshot = cache->snapshot();
    LoadOptions options;
    options.size = sizes[i];
    const std::vector<float> fresh = Transformer::load(directory, options).forward(next, snapshot.get());
    model.resize(sizes[i]);
    const std::vector<float> live = model.model().forward(next, cache.get());
    for (std::size_t j = 0; j < live.size(); ++j) {
      largest = std::max(largest, std::abs(static_cast<double>(live[j]) - static_cast<double>(fresh[j])));
    }
  }
  return largest;
}

void put(ArmNumbers& numbers, const std::string& prefix, const StackPoint& point) {
  for (const auto& [name, value] : point.numbers) numbers[prefix + name] = value;
}
StackPoint taken(const ArmNumbers& numbers, const std::string& prefix) {
  StackPoint point;
  for (auto at = numbers.lower_bound(prefix); at != numbers.end() && at->first.starts_with(prefix); ++at) {
    point.numbers[at->first.substr(prefix.size())] = at->second;
  }
  return point;
}

}  // namespace

StackArm measure_stack(Trial& trial, ArmCache& cache, const StackRequest& wanted, std::uint64_t seed,
                       const ProgressListener& progress) {
  const MethodDescription& method = method_named("bitstack");
  CompressionRequest request;
  request.model = trial.subject().model;
  request.parameters = Parameters(method.parameters);
  request.parameters.set("calibration-sequences", std::to_string(trial.options().calibration_sequences));
  request.parameters.set("calibration-window", std::to_string(trial.options().calibration_window));
  std::string shown;
  for (const auto& [name, value] : wanted.parameters) {
    request.parameters.set(name, value);
    shown += ' ' + name + '=' + value;
  }
  request.target = wanted.target;
  request.seed = seed;
  request.replace = true;
  request.progress = progress;
  std::string what =
      fmt::format("stack of bitstack version {}\n{}\nseed {} curve {} resize {}\n", method.version,
                  request.parameters.canonical("bitstack"), seed, wanted.curve_points, wanted.resize);
  if (wanted.target.bits) what += fmt::format("bits {}\n", *wanted.target.bits);
  for (const double bytes : wanted.linear_bytes) what += fmt::format("at {}\n", bytes);
  const std::string name = fmt::format("stack{} seed {}", shown, seed);

  const ArmNumbers numbers = trial.arm(name, what, [&] {
    request.calibration_text = trial.subject().calibration;
    request.output = cache.work_directory(trial.subject().name + '\n' + what) / "model";
    fs::create_directories(request.output.parent_path());
    const auto start = std::chrono::steady_clock::now();
    method.compress(request);
    ArmNumbers result;
    result["compress_seconds"] =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const CompressedModel stored(request.output);
    const StackArtifact& stack = *stored.stack();
    const std::size_t least = stack.least_prefix(), all = stack.blocks().size();
    result["level_two_bytes"] = all >= 2 * least ? linear_bytes(stack, 2 * least) : 0;
    std::set<std::size_t> curve;
    for (std::int64_t i = 0; i < wanted.curve_points; ++i) {
      curve.insert(least + (all - least) * static_cast<std::size_t>(i) /
                               static_cast<std::size_t>(wanted.curve_points - 1));
    }
    Progress sizes(progress, "measuring sizes",
                   static_cast<std::int64_t>(curve.size() + wanted.linear_bytes.size()));
    std::size_t i = 0;
    for (const std::size_t prefix : curve) {
      put(result, fmt::format("curve{:03}.", i++), measured(trial, request.output, stack, prefix));
      sizes.advance();
    }
    i = 0;
    for (const double bytes : wanted.linear_bytes) {
      put(result, fmt::format("at{:03}.", i++),
          measured(trial, request.output, stack, largest_prefix(stack, bytes)));
      sizes.advance();
    }
    if (wanted.resize) result["resize_difference"] = resize_difference(trial, request.output, seed);
    return result;
  });

  StackArm arm;
  arm.compress_seconds = numbers.at("compress_seconds");
  arm.level_two_bytes = numbers.at("level_two_bytes");
  if (wanted.resize) arm.resize_difference = numbers.at("resize_difference");
  for (std::size_t i = 0; i < wanted.linear_bytes.size(); ++i)
    arm.at_bytes.push_back(taken(numbers, fmt::format("at{:03}.", i)));
  for (std::size_t i = 0;; ++i) {
    StackPoint point = taken(numbers, fmt::format("curve{:03}.", i));
    if (point.numbers.empty()) break;
    arm.curve.push_back(std::move(point));
  }
  return arm;
}

}  // namespace laconic::bitstack
