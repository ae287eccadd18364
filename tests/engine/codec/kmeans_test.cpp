// The codebook of a pruned tensor: the card's worked example, every form of the labels, degenerate tensors,
// and k-means on a line against a plain loop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/composition.h"
#include "engine/codec/label_stream.h"
#include "engine/coding/integer_codes.h"
#include "engine/math/scalar_k_means.h"

namespace laconic {
namespace {

Payload encoded(const std::string& text, const std::vector<float>& values) {
  EncodeContext context;
  context.tensor_name = "layer";
  const Tensor tensor = Tensor::from_f32({static_cast<std::int64_t>(values.size())}, values);
  return parse_codec(text)->encode(tensor.view(), context);
}

std::vector<float> there_and_back(const std::string& text, const std::vector<float>& values) {
  const Tensor decoded = decode_payload(parse_frame(to_frame(encoded(text, values)), "frame"));
  return {decoded.f32().begin(), decoded.f32().end()};
}

std::vector<float> heavy_tails(std::size_t count) {
  RandomStream random(5, "test", "heavy tails");
  std::vector<float> values(count);
  for (float& value : values) {
    const float u = random.uniform() - 0.5f;
    value = (u < 0 ? 1.0f : -1.0f) * std::log(1 - 2 * std::abs(u) + 1e-7f) * 0.01f;
  }
  return values;
}

const std::vector<float> card = {.9f, -.8f, .05f, .02f, -.03f, .85f, -.75f, .01f};

TEST(KMeansCodec, TheCardsExample) {
  const std::vector<float> kept = {.9f, -.8f, .85f, -.75f};
  RandomStream random(0, "test", "unused");
  std::vector<float> centres = start_centres({kept, 4}, 3, CentreStart::line, random);
  EXPECT_THAT(centres, testing::Pointwise(testing::FloatNear(1e-6f), {-.8f, .05f, .9f}));
  lloyd_iterations({kept, 4}, centres, 4, 1);
  EXPECT_THAT(centres, testing::Pointwise(testing::FloatNear(1e-6f), {-.775f, 0.0f, .875f}));
  for (const char* form : {"smallest", "huffman", "positions", "gaps", "rice", "rans"}) {
    const std::vector<float> decoded =
        there_and_back(std::string("kmeans(prune=0.5,form=") + form + ")", card);
    EXPECT_THAT(decoded, testing::Pointwise(testing::FloatNear(1e-6f),
                                            {.875f, -.775f, 0.0f, 0.0f, 0.0f, .875f, -.775f, 0.0f}));
    EXPECT_EQ(decoded[2], 0.0f) << "the middle centre is exactly 0";
  }
  const std::vector<std::uint8_t> labels = {2, 0, 1, 1, 1, 2, 0, 1};
  EXPECT_EQ(paper_label_bits(labels, 3).huffman, 12u);
  EXPECT_EQ(paper_label_bits(labels, 3).positions, 4 * 27u);
}

TEST(KMeansCodec, TiesInMagnitudeKeepTheLowerIndex) {
  EXPECT_THAT(there_and_back("kmeans(prune=0.5)", {1, 1, 1, 1}), testing::ElementsAre(1, 1, 0, 0));
}

TEST(KMeansCodec, TheReferenceCodeKeepsAllTies) {
  EXPECT_THAT(there_and_back("kmeans(prune=0.5,keep-ties=true)", {1, -1, 1, 1}),
              testing::ElementsAre(1, -1, 1, 1));
  // Two of four, of which the lesser has a twin; the third is pruned.
  EXPECT_THAT(there_and_back("kmeans(prune=0.5,keep-ties=true,clusters=2)", {3, 1, 0.5f, 1}),
              testing::ElementsAre(3, testing::FloatNear(2.0f / 3, 1e-6f),
                                   testing::FloatNear(2.0f / 3, 1e-6f), testing::FloatNear(2.0f / 3, 1e-6f)));
  EXPECT_EQ(there_and_back("kmeans(keep-ties=true)", {}), std::vector<float>());
  const std::vector<float> distinct = heavy_tails(3000);
  EXPECT_EQ(there_and_back("kmeans(keep-ties=true)", distinct), there_and_back("kmeans()", distinct));
}

TEST(KMeansCodec, DegenerateTensors) {
  for (const char* form : {"smallest", "huffman", "positions", "gaps", "rice", "rans"}) {
    const auto text = [&](const std::string& more) {
      return "kmeans(" + more + (more.empty() ? "" : ",") + "form=" + form + ")";
    };
    EXPECT_EQ(there_and_back(text(""), {}), std::vector<float>());
    EXPECT_EQ(there_and_back(text(""), {-2.5f}), std::vector<float>{-2.5f}) << form;
    EXPECT_EQ(there_and_back(text(""), std::vector<float>(100, 0.0f)), std::vector<float>(100, 0.0f));
    EXPECT_EQ(there_and_back(text("prune=0"), std::vector<float>(50, 3.0f)), std::vector<float>(50, 3.0f))
        << form;
    EXPECT_EQ(there_and_back(text("prune=0,clusters=1,pin=false"), {1, 2, 3, 6}),
              (std::vector<float>{3, 3, 3, 3}));
    EXPECT_EQ(there_and_back(text("clusters=2"), {1, 0, 0, 0, 0}), (std::vector<float>{1, 0, 0, 0, 0}))
        << form;
    EXPECT_EQ(there_and_back(text("clusters=16,prune=0.9"), heavy_tails(3000)).size(), 3000u);
  }
  EXPECT_THROW(parse_codec("kmeans(prune=1)"), Error);
  EXPECT_THROW(parse_codec("kmeans(clusters=0)"), Error);
  EXPECT_THROW(parse_codec("kmeans(prune=-0.1)"), Error);
}

TEST(KMeansCodec, EveryFormDecodesToTheSameAndTheSmallestIsKept) {
  for (const char* prune : {"0", "0.5", "0.8", "0.99"}) {
    const std::string base = std::string("kmeans(prune=") + prune;
    const std::vector<float> values = heavy_tails(5000);
    const std::vector<float> kept = there_and_back(base + ")", values);
    std::size_t least = SIZE_MAX;
    for (const char* form : {"huffman", "positions", "gaps", "rice", "rans"}) {
      const std::string text = base + ",form=" + form + ")";
      EXPECT_EQ(there_and_back(text, values), kept) << text;
      least = std::min<std::size_t>(least, encoded(text, values).field_bytes());
    }
    EXPECT_EQ(encoded(base + ")", values).field_bytes(), least);
  }
}

TEST(KMeansCodec, HuffmanStopsAtOneBitAndRiceDoesNot) {
  const std::vector<float> values = heavy_tails(100'000);
  const auto bits = [&](const std::string& form) {
    return 8.0 * static_cast<double>(encoded("kmeans(prune=0.99,form=" + form + ")", values).field_bytes()) /
           1e5;
  };
  EXPECT_GE(bits("huffman"), 1.0);
  EXPECT_LT(bits("rice"), 0.15);
  EXPECT_LT(bits("rice"), bits("gaps"));
}

TEST(LabelStream, HostileStreamsAreRefusedOrDecodeToLabels) {
  RandomStream random(9, "test", "labels");
  std::vector<std::uint8_t> labels(300);
  for (std::uint8_t& label : labels)
    label = static_cast<std::uint8_t>(random.below(10) < 8 ? 1 : random.below(3));
  for (std::size_t form = 0; form < label_forms; ++form) {
    const Bytes stream = encode_labels(labels, 3, static_cast<LabelForm>(form));
    EXPECT_EQ(decode_labels(stream, labels.size(), 3, "stream"), labels);
    int refused = 0;
    for (std::size_t i = 0; i < stream.size(); ++i) {
      for (int variant = 0; variant < 3; ++variant) {
        Bytes hostile = stream;
        if (variant == 0) hostile.resize(i);
        if (variant == 1) hostile[i] ^= std::byte{0x81};
        if (variant == 2) hostile[i] = std::byte{0xFF};
        try {
          for (const std::uint8_t label : decode_labels(hostile, labels.size(), 3, "stream"))
            ASSERT_LT(label, 3);
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
          ++refused;
        }
      }
    }
    EXPECT_GE(refused, static_cast<int>(stream.size()) / 2) << "every cut at least";
    EXPECT_THROW(decode_labels(stream, labels.size() - 40, 3, "stream"), Error);
  }
}

TEST(LabelStream, RiceTakesTheBitsThatItsParameterPromises) {
  std::vector<std::uint8_t> labels(4000, 1);
  RandomStream random(2, "test", "positions");
  std::uint64_t least = UINT64_MAX, count = 0;
  std::vector<std::uint64_t> gaps;
  std::uint64_t gap = 0;
  for (std::uint8_t& label : labels) {
    if (random.below(40) == 0) {
      label = random.below(2) == 0 ? 0 : 2;
      gaps.push_back(gap);
      gap = 0;
      ++count;
    } else {
      ++gap;
    }
  }
  for (int parameter = 0; parameter <= 24; ++parameter) {
    std::uint64_t bits = 0;
    for (const std::uint64_t value : gaps) bits += golomb_rice_bits(value, parameter);
    least = std::min(least, bits);
  }
  const std::uint64_t bits = elias_gamma_bits(count + 1) + 5 + least + count;
  EXPECT_EQ(encode_labels(labels, 3, LabelForm::rice).size(), 2 + (bits + 7) / 8);
}

TEST(ScalarKMeans, BulkZerosAreZerosAndTheObjectiveFalls) {
  const std::vector<float> values = heavy_tails(500);
  std::vector<float> with_zeros = values;
  with_zeros.resize(1500, 0.0f);
  RandomStream random(1, "test", "start");
  for (const CentreStart start : {CentreStart::line, CentreStart::quantiles}) {
    for (const int k : {2, 3, 5, 9}) {
      std::vector<float> bulk = start_centres({values, 1000}, k, start, random);
      std::vector<float> plain = start_centres({with_zeros, 0}, k, start, random);
      EXPECT_EQ(bulk, plain);
      double before = k_means_objective({values, 1000}, bulk);
      for (int iteration = 0; iteration < 25; ++iteration) {
        lloyd_iterations({values, 1000}, bulk, 1);
        lloyd_iterations({with_zeros, 0}, plain, 1);
        EXPECT_EQ(bulk, plain);
        const double now = k_means_objective({values, 1000}, bulk);
        EXPECT_LE(now, before * (1 + 1e-6));
        before = now;
      }
    }
  }
}

TEST(ScalarKMeans, SpreadDrawsDistinctCentresWhereThereAre) {
  const std::vector<float> values = {1, 1, 1, 5, 5, -3};
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RandomStream random(seed, "test", "spread");
    const std::vector<float> centres = start_centres({values, 10}, 4, CentreStart::spread, random);
    EXPECT_THAT(centres, testing::ElementsAre(-3, 0, 1, 5));
  }
  RandomStream random(0, "test", "spread");
  EXPECT_EQ(start_centres({values, 0}, 5, CentreStart::spread, random).size(), 5u) << "more than there are";
}

TEST(ScalarKMeans, AnEmptyClusterKeepsItsCentre) {
  std::vector<float> centres = {0, 10, 20};
  const std::vector<float> values = {1, 2, 19};
  lloyd_iterations({values, 0}, centres, 4);
  EXPECT_THAT(centres, testing::ElementsAre(1.5f, 10, 19));
}

}  // namespace
}  // namespace laconic
