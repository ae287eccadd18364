#include "runtime/calibration/calibration.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "../reference_model.h"
#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "runtime/calibration/calibration_store.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

fs::path fresh_directory(const std::string& name) {
  const fs::path path =
      fs::path(testing::TempDir()) / ("laconic_calibration_" + std::to_string(::getpid()) + "_" + name);
  fs::remove_all(path);
  return path;
}

std::vector<float> gaussian_rows(std::int64_t rows, std::int64_t size, std::string_view name) {
  const RandomStream random(4, "rows", name);
  std::vector<float> x(static_cast<std::size_t>(rows * size));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = random.gaussian_at(i) + 0.3f;
  return x;
}

struct Dense {
  Dense() {
    description.layers = 4;
    const auto weights = reference::random_weights(description, 5, DType::f32);
    directory = fresh_directory("model");
    reference::write_model(directory, description, weights, DType::f32, "");
    model = std::make_unique<Transformer>(Transformer::load(directory));
    RandomStream random(6, "tokens", "windows");
    for (int w = 0; w < 5; ++w) {
      auto& window = windows.emplace_back(1, 1);
      for (int t = 1; t < 12 + 3 * w; ++t) window.push_back(static_cast<std::int32_t>(random.below(61)));
    }
  }
  reference::Description description;
  fs::path directory;
  std::unique_ptr<Transformer> model;
  std::vector<std::vector<std::int32_t>> windows;
};

TEST(SecondMoment, IsTheMeanOfOuterProducts) {
  for (const std::int64_t size : {1, 7, 256, 300}) {
    const std::int64_t rows = 531;
    const std::vector<float> x = gaussian_rows(rows, size, "a");
    SecondMoment moment(size);
    moment.add(x.data(), 17);
    moment.add(x.data() + 17 * size, rows - 17);
    EXPECT_EQ(moment.count(), rows);
    for (std::int64_t i = 0; i < size; i += 13) {
      for (std::int64_t j = 0; j < size; j += 11) {
        double sum = 0;
        for (std::int64_t r = 0; r < rows; ++r) sum += static_cast<double>(x[r * size + i]) * x[r * size + j];
        ASSERT_NEAR(moment.mean()[i * size + j], sum / rows, 1e-5);
        ASSERT_EQ(moment.mean()[i * size + j], moment.mean()[j * size + i]);
      }
    }
  }
}

TEST(SecondMoment, ShardsMergeByTheirWeight) {
  const std::int64_t size = 33;
  const std::vector<float> a = gaussian_rows(40, size, "a"), b = gaussian_rows(7, size, "b");
  SecondMoment whole(size), first(size), second(size);
  whole.add(a.data(), 40);
  whole.add(b.data(), 7);
  first.add(a.data(), 40);
  second.add(b.data(), 7);
  SecondMoment empty(size);
  first.merge(empty);
  first.merge(second);
  EXPECT_EQ(first.count(), 47);
  for (std::int64_t i = 0; i < size * size; ++i) ASSERT_NEAR(first.mean()[i], whole.mean()[i], 1e-12);
}

TEST(SecondMoment, BitsDoNotDependOnTheThreadCount) {
  const std::int64_t size = 600;
  const std::vector<float> x = gaussian_rows(300, size, "a");
  SecondMoment one(size), four(size);
  set_thread_count(1);
  one.add(x.data(), 300);
  set_thread_count(4);
  four.add(x.data(), 300);
  set_thread_count(0);
  EXPECT_TRUE(std::equal(one.mean(), one.mean() + size * size, four.mean()));
}

TEST(CrossMoment, IsTheMeanOfOuterProductsAtAnyThreadCount) {
  const std::int64_t outer = 300, inner = 270, rows = 531;
  const std::vector<float> a = gaussian_rows(rows, outer, "a"), b = gaussian_rows(rows, inner, "b");
  CrossMoment one(outer, inner), four(outer, inner);
  for (CrossMoment* moment : {&one, &four}) {
    set_thread_count(moment == &one ? 1 : 4);
    moment->add(a.data(), b.data(), 17);
    moment->add(a.data() + 17 * outer, b.data() + 17 * inner, rows - 17);
  }
  set_thread_count(0);
  EXPECT_EQ(one.count(), rows);
  EXPECT_TRUE(std::equal(one.mean(), one.mean() + outer * inner, four.mean()));
  for (std::int64_t i = 0; i < outer; i += 13) {
    for (std::int64_t j = 0; j < inner; j += 11) {
      double sum = 0;
      for (std::int64_t r = 0; r < rows; ++r) sum += static_cast<double>(a[r * outer + i]) * b[r * inner + j];
      ASSERT_NEAR(one.mean()[i * inner + j], sum / rows, 1e-5);
    }
  }
}

TEST(CalibrationWalk, SeesTheInputsOfEveryLinearLayer) {
  const Dense dense;
  CalibrationWalk walk(*dense.model, dense.windows);
  for (std::int64_t layer = 0; layer < 4; ++layer) {
    // What a forward pass of each window by itself shows the observer.
    std::map<LinearSlot, SecondMoment> wanted;
    std::map<LinearSlot, std::vector<double>> norms;
    for (const auto& window : dense.windows) {
      std::vector<float> hidden = dense.model->embed(window);
      const auto rows = static_cast<std::int64_t>(window.size());
      const LinearObserver observer = [&](std::int64_t, LinearSlot slot, const float* x, std::int64_t count,
                                          std::int64_t in) {
        wanted.emplace(slot, SecondMoment(in)).first->second.add(x, count);
        auto& norm =
            norms.emplace(slot, std::vector<double>(static_cast<std::size_t>(in), 0.0)).first->second;
        for (std::int64_t j = 0; j < in; ++j) {
          double squares = 0;
          for (std::int64_t r = 0; r < count; ++r)
            squares += static_cast<double>(x[r * in + j]) * x[r * in + j];
          norm[static_cast<std::size_t>(j)] += std::sqrt(squares) / 5;
        }
      };
      for (std::int64_t before = 0; before < layer; ++before) {
        dense.model->run_block(before, hidden.data(), rows, nullptr);
      }
      dense.model->run_block(layer, hidden.data(), rows, nullptr, &observer);
    }
    ASSERT_EQ(wanted.size(), 4u);
    const BlockStatistics observed = walk.observe(*dense.model, layer);
    const BlockStatistics only = walk.observe(*dense.model, layer, {LinearSlot::down});
    ASSERT_EQ(only.size(), 1u);
    EXPECT_EQ(only[0].first, LinearSlot::down);
    ASSERT_EQ(observed.size(), 4u);
    for (const auto& [slot, statistics] : observed) {
      const SecondMoment& moment = wanted.at(slot);
      ASSERT_EQ(statistics.moment.count(), moment.count());
      for (std::int64_t i = 0; i < moment.size() * moment.size(); ++i) {
        ASSERT_NEAR(statistics.moment.mean()[i], moment.mean()[i], 1e-5 * (1 + std::abs(moment.mean()[i])));
      }
      for (std::size_t j = 0; j < statistics.channel_norm.size(); ++j) {
        ASSERT_NEAR(statistics.channel_norm[j], norms.at(slot)[j], 1e-4 * norms.at(slot)[j]);
      }
    }
    walk.advance(*dense.model, layer);
  }
}

TEST(CalibrationWalk, LeavesOutDroppedHalves) {
  const Dense dense;
  Transformer pruned = *dense.model;
  pruned.set_dropped(1, true, false);
  CalibrationWalk walk(pruned, dense.windows);
  const BlockStatistics statistics = walk.observe(pruned, 1);
  ASSERT_EQ(statistics.size(), 2u);
  EXPECT_EQ(statistics[0].first, LinearSlot::gate);
}

TEST(HiddenStates, LieInAFileBeyondTheLimit) {
  HiddenStates small({3, 4}), large({1000, 2000}, 4096);
  EXPECT_FALSE(small.in_file());
  EXPECT_TRUE(large.in_file());
  large[1][1999] = 5;
  EXPECT_EQ(large[0].size(), 1000u);
  const HiddenStates moved = std::move(large);
  EXPECT_EQ(moved[1][1999], 5);
  EXPECT_EQ(moved[0][7], 0);
}

struct Visit {
  std::vector<std::vector<double>> moments;
  std::vector<std::vector<float>> norms;
  bool operator==(const Visit&) const = default;
};

Visit visited(const Dense& dense, CalibrationStore* store, std::int64_t first = 0) {
  Visit all;
  std::int64_t expected = first;
  for_each_dense_block(
      *dense.model, dense.windows, store,
      [&](std::int64_t layer, const BlockStatistics& statistics) {
        EXPECT_EQ(layer, expected++);
        for (const auto& [slot, linear] : statistics) {
          const std::int64_t size = linear.moment.size();
          all.moments.emplace_back(linear.moment.mean(), linear.moment.mean() + size * size);
          all.moments.back().push_back(static_cast<double>(linear.moment.count()));
          all.norms.push_back(linear.channel_norm);
        }
      },
      {}, first);
  EXPECT_EQ(expected, dense.description.layers);
  return all;
}

TEST(CalibrationStore, GivesTheSameNumbersStoredOrNotAndAfterAKill) {
  const Dense dense;
  const Visit plain = visited(dense, nullptr);
  ASSERT_EQ(plain.moments.size(), 16u);
  for (const CalibrationKeep keep :
       {CalibrationKeep::none, CalibrationKeep::statistics, CalibrationKeep::hidden}) {
    const fs::path root = fresh_directory("store");
    const std::string key = calibration_key(dense.directory, dense.windows);
    const auto open = [&] { return CalibrationStore(root, key, keep, dense.model->config(), dense.windows); };
    CalibrationStore store = open();
    EXPECT_EQ(visited(dense, &store), plain);
    EXPECT_EQ(store.bytes_stored(), CalibrationStore::disk_need(dense.model->config(), dense.windows, keep));
    EXPECT_EQ(fs::exists(root), keep != CalibrationKeep::none);
    CalibrationStore again = open();
    EXPECT_EQ(visited(dense, &again), plain);
    if (keep == CalibrationKeep::none) continue;
    // A kill leaves some files out, and perhaps a temporary one behind.
    for (const auto& item : fs::directory_iterator(store.directory())) {
      const std::string name = item.path().filename().string();
      if (name == "block-0002.safetensors" || name == "hidden-0002.safetensors") fs::remove(item.path());
    }
    CalibrationStore resumed = open();
    EXPECT_FALSE(resumed.has_statistics(2));
    EXPECT_EQ(visited(dense, &resumed), plain);
    EXPECT_TRUE(resumed.has_statistics(2));
    const Visit tail = visited(dense, nullptr, 3);
    EXPECT_TRUE(std::equal(tail.moments.begin(), tail.moments.end(), plain.moments.begin() + 12));
  }
}

TEST(CalibrationStore, NoticesDamage) {
  const Dense dense;
  const fs::path root = fresh_directory("damage");
  CalibrationStore store(root, "key", CalibrationKeep::statistics, dense.model->config(), dense.windows);
  visited(dense, &store);
  const fs::path path = store.directory() / "block-0001.safetensors";
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-9, std::ios::end);
  file.write("\x55", 1);
  file.close();
  try {
    store.statistics(1);
    FAIL() << "damage went unnoticed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  }
}

TEST(CalibrationStore, KeysTellModelsConfigurationsAndWindowsApart) {
  const Dense dense;
  std::set<std::string> keys = {calibration_key(dense.directory, dense.windows)};
  EXPECT_EQ(keys.count(calibration_key(dense.directory, dense.windows)), 1u);
  auto other = dense.windows;
  other[2][3] ^= 1;
  keys.insert(calibration_key(dense.directory, other));
  std::swap(other[0], other[1]);
  keys.insert(calibration_key(dense.directory, other));
  reference::write_model(dense.directory, dense.description,
                         reference::random_weights(dense.description, 5, DType::f32), DType::f32,
                         "\"rope_theta\": 20000.0");
  keys.insert(calibration_key(dense.directory, dense.windows));
  reference::write_model(dense.directory, dense.description,
                         reference::random_weights(dense.description, 6, DType::f32), DType::f32, "");
  keys.insert(calibration_key(dense.directory, dense.windows));
  EXPECT_EQ(keys.size(), 5u);
}

class CountingTokenizer final : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view text, bool) const override {
    std::vector<std::int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c) % 61);
    return ids;
  }
  std::string decode(std::span<const std::int32_t>, bool) const override { return {}; }
  std::string token_bytes(std::int32_t) const override { return {}; }
  std::int32_t size() const override { return 61; }
  std::optional<std::int32_t> bos() const override { return std::nullopt; }
  std::optional<std::int32_t> eos() const override { return std::nullopt; }
  bool is_special(std::int32_t) const override { return false; }
  std::optional<std::int32_t> id_of(std::string_view) const override { return std::nullopt; }
};

TEST(CalibrationWindows, AreDistinctDrawnBySeedAndPacked) {
  const Dense dense;
  std::string text;
  for (int i = 0; i < 3000; ++i) text += static_cast<char>('a' + i * i % 26 + i % 3);
  const CountingTokenizer tokenizer;
  const auto draw = [&](std::uint64_t seed, std::int64_t sequences) {
    return draw_calibration_windows(tokenizer, dense.model->config(), text, {sequences, 16, seed});
  };
  const auto windows = draw(3, 40);
  ASSERT_EQ(windows.size(), 40u);
  for (const auto& window : windows) {
    EXPECT_EQ(window.size(), 16u);
    EXPECT_EQ(window[0], 1);
  }
  EXPECT_EQ(draw(3, 40), windows);
  EXPECT_NE(draw(4, 40), windows);
  EXPECT_EQ(draw(3, 100000).size(), 200u);  // all the text has: 3000 tokens in pieces of 15, from start 0
  EXPECT_THROW(draw_calibration_windows(tokenizer, dense.model->config(), "short", {4, 16, 0}), Error);
  EXPECT_THROW(draw(3, 0), Error);
}

TEST(CalibrationWalk, TheInputsOneAfterAnotherAreThoseOfTheWholeBlock) {
  Dense dense;
  for (const int dropped : {0, 1, 2}) {
    Transformer model = *dense.model;
    model.set_dropped(1, dropped == 1, dropped == 2);
    CalibrationWalk whole(model, dense.windows), steps(model, dense.windows);
    for (std::int64_t layer = 0; layer < 3; ++layer) {
      const BlockStatistics wanted = whole.observe_and_advance(model, layer);
      std::size_t next = 0;
      for (const LinearSlot lead : {LinearSlot::q, LinearSlot::o, LinearSlot::gate, LinearSlot::down}) {
        const bool gather = layer != 2 || lead != LinearSlot::o;
        const BlockStatistics seen = steps.observe_next(model, layer, lead, gather);
        if (!gather) {
          EXPECT_TRUE(seen.empty());
        }
        if (next < wanted.size() && wanted[next].first == lead) {
          if (gather) {
            ASSERT_EQ(seen.size(), 1u);
            const SecondMoment &a = wanted[next].second.moment, &b = seen[0].second.moment;
            EXPECT_EQ(a.count(), b.count());
            EXPECT_TRUE(std::equal(a.mean(), a.mean() + a.size() * a.size(), b.mean()));
            EXPECT_EQ(wanted[next].second.channel_norm, seen[0].second.channel_norm);
          }
          ++next;
        } else {
          EXPECT_TRUE(seen.empty());
        }
      }
      EXPECT_EQ(next, wanted.size());
      steps.finish_block(model, layer);
      for (std::size_t i = 0; i < dense.windows.size(); ++i) {
        const auto a = whole.hidden()[i], b = steps.hidden()[i];
        EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
      }
    }
  }
}

}  // namespace
}  // namespace laconic
