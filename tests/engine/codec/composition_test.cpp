#include "engine/codec/composition.h"
#include "engine/coding/bit_packing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/absolute_value_decomposition.h"
#include "engine/coding/rans_bytes.h"

namespace laconic {
namespace {

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing thrown";
  return "";
}

std::string refusal(const std::string& text) {
  return message_of([&] { parse_codec(text); });
}

std::string canonical(const std::string& text) { return parse_codec(text)->canonical(); }

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Tensor gaussian(Shape shape, std::string_view name) {
  RandomStream random(3, "test", name);
  Tensor tensor(DType::f32, std::move(shape));
  for (float& value : tensor.f32()) value = random.gaussian();
  return tensor;
}

double squared_distance(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.f32().size(); ++i) {
    sum += (double{a.f32()[i]} - b.f32()[i]) * (double{a.f32()[i]} - b.f32()[i]);
  }
  return sum;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

TEST(Composition, CanonicalText) {
  EXPECT_EQ(canonical("raw"), "raw");
  EXPECT_EQ(canonical(" raw ( ) "), "raw");
  EXPECT_EQ(canonical("raw(dtype=same)"), "raw");
  EXPECT_EQ(canonical("lowrank ( split = left , rank = 08 )"), "lowrank(rank=8,split=left)");
  EXPECT_EQ(canonical("outliers(fraction=2e-2)+lowrank"), "outliers(fraction=0.02)+lowrank");
  EXPECT_EQ(canonical("outliers(fraction=1e-05)"), "outliers(fraction=1e-05)");
  EXPECT_EQ(canonical("sign|zstd"), "sign|zstd");
  EXPECT_EQ(canonical("(sign|zstd)"), "sign|zstd");
  EXPECT_EQ(canonical("((sign)+(sign))|best"), "sign+sign|best");
  EXPECT_EQ(canonical("(sign|zstd) + lowrank"), "(sign|zstd)+lowrank");
  EXPECT_EQ(canonical("lowrank + ((sign + sparse) | best)"), "lowrank+(sign+sparse|best)");
  EXPECT_EQ(canonical("lowrank + (sign + (sparse | zstd) | best) | zstd"),
            "lowrank+(sign+(sparse|zstd)|best)|zstd");
}

// Random compositions: printing is a fixed point of parsing, and means the same.
TEST(Composition, PrintingIsAFixedPointOfParsing) {
  RandomStream random(11, "test", "compositions");
  const char* leaves[] = {"raw",    "raw(dtype=f16)",           "lowrank(rank=2)", "outliers(fraction=0.125)",
                          "sparse", "sign(rank=1,scaled=false)"};
  const std::function<std::string(int)> chain = [&](int depth) {
    std::string text;
    const std::uint32_t stages = 1 + random.below(3);
    for (std::uint32_t i = 0; i < stages; ++i) {
      if (i > 0) text += random.below(2) ? "+" : "  + ";
      text += depth > 0 && random.below(3) == 0 ? "(" + chain(depth - 1) + ")" : leaves[random.below(6)];
    }
    if (random.below(3) == 0) text += random.below(2) ? "|zstd" : " | best";
    return text;
  };
  const Tensor tensor = gaussian({6, 10}, "fixed point");
  int parsed = 0;
  for (int i = 0; i < 300; ++i) {
    const std::string text = chain(3);
    std::unique_ptr<TensorCodec> codec;
    try {
      codec = parse_codec(text);
    } catch (const Error& error) {
      EXPECT_TRUE(contains(error.what(), "coded already") || contains(error.what(), "stages"))
          << error.what();
      continue;
    }
    ++parsed;
    const std::string once = codec->canonical();
    const auto again = parse_codec(once);
    EXPECT_EQ(again->canonical(), once) << text;
    EXPECT_EQ(to_frame(again->encode(tensor.view(), {})), to_frame(codec->encode(tensor.view(), {}))) << text;
  }
  EXPECT_GT(parsed, 150);
}

TEST(Composition, RefusalsNameThePlaceAndTheNearestName) {
  const std::string codec = refusal("raw + lowrnak(rank=2)");
  EXPECT_TRUE(contains(codec, "unknown codec \"lowrnak\"")) << codec;
  EXPECT_TRUE(contains(codec, "did you mean \"lowrank\"?")) << codec;
  EXPECT_TRUE(contains(codec, "character 7")) << codec;
  const std::string parameter = refusal("lowrank(rank=2, splt=left)");
  EXPECT_TRUE(contains(parameter, "unknown parameter \"splt\"")) << parameter;
  EXPECT_TRUE(contains(parameter, "did you mean \"split\"?")) << parameter;
  EXPECT_TRUE(contains(parameter, "character 17")) << parameter;
  EXPECT_TRUE(contains(refusal("lowrank(rank=2,rank=3)"), "stands twice"));
  EXPECT_TRUE(contains(refusal("lowrank(rank=2,rank=2)"), "stands twice"));
  EXPECT_TRUE(contains(refusal("lowrank(rank=0)"), "from 1 to 65536"));
  EXPECT_TRUE(contains(refusal("lowrank(rank=x)"), "not an integer"));
  EXPECT_TRUE(contains(refusal("lowrank(rank=99999999999999999999)"), "not an integer"));
  EXPECT_TRUE(contains(refusal("outliers(fraction=nan)"), "not a number"));
  EXPECT_TRUE(contains(refusal("outliers(fraction=1.5)"), "from 0 to 1"));
  EXPECT_TRUE(contains(refusal("lowrank(split=lefft)"), "did you mean \"left\"?"));
  EXPECT_TRUE(contains(refusal("lowrank(rank=2,fraction=0.5)"),
                       "one of rank, fraction, energy, value and relative_error"));
  EXPECT_TRUE(contains(refusal("sign|zsdt"), "did you mean \"zstd\"?"));
  EXPECT_TRUE(contains(refusal("sign|zstd|zstd"), "second coder"));
  EXPECT_TRUE(contains(refusal("((sign|zstd)+(sign|best))|zstd"), "coded already"));
  for (const char* text :
       {"", " ", "+", "raw+", "+raw", "raw raw", "raw(", "raw(dtype", "raw(dtype=", "raw(dtype=f16",
        "raw(dtype=f16,)", "(raw", "raw)", "()", "raw|", "|zstd", "raw;raw", "[attn] raw", "raw\x01"}) {
    refusal(text);
  }
  refusal(std::string(100, '(') + "raw" + std::string(100, ')'));
  refusal(std::string(100000, '('));
  std::string many = "raw";
  for (int i = 0; i < 40; ++i) many += "+raw";
  EXPECT_TRUE(contains(refusal(many), "more than 32 stages"));
}

TEST(Composition, StagesCodeTheResidualOfTheDecodedStagesBefore) {
  const Tensor tensor = gaussian({32, 48}, "residual");
  EncodeContext context;
  const auto first = parse_codec("lowrank(rank=2)");
  const Payload part = first->encode(tensor.view(), context);
  const Tensor low = first->decode(part);
  Tensor rest(DType::f32, tensor.shape());
  for (std::size_t i = 0; i < rest.f32().size(); ++i) rest.f32()[i] = tensor.f32()[i] - low.f32()[i];
  const auto second = parse_codec("outliers(fraction=0.1)");
  const Tensor top = second->decode(second->encode(rest.view(), context));

  const Payload both = parse_codec("lowrank(rank=2)+outliers(fraction=0.1)")->encode(tensor.view(), context);
  const Tensor decoded = decode_payload(both);
  for (std::size_t i = 0; i < rest.f32().size(); ++i) {
    EXPECT_EQ(decoded.f32()[i], low.f32()[i] + top.f32()[i]);
  }
  EXPECT_NE(both.find("0.left"), nullptr);
  EXPECT_NE(both.find("1.indices"), nullptr);
  EXPECT_LT(squared_distance(decoded, tensor), squared_distance(low, tensor));

  const std::vector<Payload> stages = stage_payloads(both);
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0].codec, "lowrank(rank=2)");
  EXPECT_TRUE(same_bits(decode_payload(stages[0]), low));
  EXPECT_TRUE(same_bits(decode_payload(stages[1]), top));
}

// A chain of sign stages is a prefix of the bitstack, bit for bit.
TEST(Composition, SignStagesAreTheIterativeAbsoluteValueDecomposition) {
  const Tensor tensor = gaussian({24, 40}, "stack");
  std::vector<float> norms(40);
  for (std::size_t j = 0; j < 40; ++j) norms[j] = 0.5f + 0.1f * static_cast<float>(j);
  EncodeContext context;
  context.channel_norm = norms.data();
  DecompositionOptions options;
  options.blocks = 3;
  options.rank = 1;
  const std::vector<float> scale = channel_scale(norms);
  options.channel_scale = scale.data();
  const Decomposition stack =
      absolute_value_decomposition(tensor.f32().data(), 24, 40, options, context.seed, context.tensor_name);
  Tensor sum(DType::f32, tensor.shape());
  for (const SignBlock& block : stack.blocks) add_block(block, sum.f32().data());
  const Payload payload =
      parse_codec("sign(rank=1)+sign(rank=1)+sign(rank=1)")->encode(tensor.view(), context);
  EXPECT_TRUE(same_bits(decode_payload(payload), sum));
  const std::vector<Payload> stages = stage_payloads(payload);
  for (std::size_t i = 0; i < 3; ++i) {
    const SignBlock block = parse_sign(stages[i]);
    EXPECT_EQ(block.signs, stack.blocks[i].signs) << i;
    EXPECT_EQ(block.a, stack.blocks[i].a) << i;
    EXPECT_EQ(block.b, stack.blocks[i].b) << i;
  }
}

TEST(Composition, CodersChangeBytesAndNothingElse) {
  Tensor tensor(DType::f32, {64, 64});
  for (std::size_t i = 0; i < tensor.f32().size(); i += 9) tensor.f32()[i] = static_cast<float>(i % 5);
  const std::string plain = "sparse+lowrank(rank=2)";
  const Payload packed = parse_codec(plain)->encode(tensor.view(), {});
  for (const char* coder : {"rans", "huffman", "zstd", "best"}) {
    for (const std::string& text :
         {plain + "|" + coder, "(sparse|" + std::string(coder) + ")+lowrank(rank=2)"}) {
      const Payload coded = parse_codec(text)->encode(tensor.view(), {});
      EXPECT_EQ(coded.codec, text);
      EXPECT_NE(coded.find("0.indices.coded"), nullptr);
      EXPECT_LT(to_frame(coded).size(), to_frame(packed).size());
      EXPECT_TRUE(same_bits(decode_payload(coded), decode_payload(packed)));
      EXPECT_EQ(to_frame(expand_entropy(coded)), to_frame(packed));
    }
  }
  EXPECT_EQ(to_frame(expand_entropy(packed)), to_frame(packed));
  // Only the stage in parentheses is coded.
  const Payload one = parse_codec("sparse+(raw(dtype=f32)|zstd)")->encode(tensor.view(), {});
  EXPECT_NE(one.find("0.indices"), nullptr);
  EXPECT_NE(one.find("1.values.coded"), nullptr);
}

// Codes of 3, 5, 6 and 7 bits straddle bytes; one model per place in the row comes near the codes' own
// entropy.
TEST(Composition, CodesThatStraddleBytesAreCodedPhaseByPhase) {
  for (const std::int64_t columns : {256, 250}) {  // rows of whole periods, and not
    const Tensor tensor = gaussian({512, columns}, "straddle");
    for (const int bits : {3, 5, 6, 7}) {
      const std::string plain = "uniform(bits=" + std::to_string(bits) + ",group=0)";
      const Payload packed = parse_codec(plain)->encode(tensor.view(), {});
      const Tensor& rows = packed.find("codes")->data;
      std::vector<double> counts(std::size_t{1} << bits, 0.0);
      std::vector<std::uint8_t> codes(static_cast<std::size_t>(columns));
      const auto row_bytes = static_cast<std::size_t>(rows.shape()[1]);
      for (std::size_t row = 0; row < 512; ++row) {
        unpack_bits(rows.as<std::uint8_t>().subspan(row * row_bytes, row_bytes), bits, codes);
        for (const std::uint8_t code : codes) ++counts[code];
      }
      double entropy = 0;
      const double total = 512.0 * static_cast<double>(columns);
      for (const double count : counts) {
        if (count > 0) entropy += count / 8 * std::log2(total / count);
      }
      for (const char* coder : {"|rans", "|best"}) {
        const Payload coded = parse_codec(plain + coder)->encode(tensor.view(), {});
        ASSERT_NE(coded.find("codes.coded"), nullptr);
        const auto size = static_cast<double>(coded.find("codes.coded")->data.bytes());
        EXPECT_LE(size, 1.03 * entropy + 2200) << bits << coder;  // up to 7 tables of 300 bytes
        if (bits < 6) {
          EXPECT_LT(size, 0.97 * static_cast<double>(rans_compress(rows.span()).size())) << bits << coder;
        }
        EXPECT_EQ(to_frame(expand_entropy(coded)), to_frame(packed)) << bits << coder;
        RandomStream random(3, "test", "flip");
        for (int round = 0; round < 40; ++round) {  // damage is refused, or decodes to the same shape
          Payload bad = coded.copy();
          Tensor& bytes = bad.fields.front().data;
          const auto most = static_cast<std::uint32_t>(round < 20 ? 24 : bytes.bytes());
          bytes.data()[random.below(most)] ^= std::byte{5};
          try {
            EXPECT_EQ(decode_payload(bad).shape(), tensor.shape());
          } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
          }
        }
      }
    }
  }
}

TEST(Composition, NoiseIsLeftUncoded) {
  Tensor tensor(DType::f32, {512});
  RandomStream random(5, "test", "noise");
  for (float& value : tensor.f32()) {
    const std::uint32_t bits =
        (random.bits() & 0x807FFFFFu) | ((random.bits() & 0x7F000000u) >> 1) | 0x20000000u;
    std::memcpy(&value, &bits, 4);
  }
  const Payload payload = parse_codec("raw|best")->encode(tensor.view(), {});
  ASSERT_EQ(payload.fields.size(), 1u);
  EXPECT_LE(payload.field_bytes(), 4u * 512u);
  EXPECT_TRUE(same_bits(decode_payload(payload), tensor));
}

TEST(Composition, DamagedPayloadsAreRefused) {
  const Tensor tensor = gaussian({8, 16}, "damage");
  const Payload good = parse_codec("sign+sparse|zstd")->encode(tensor.view(), {});
  const auto refused = [&](const std::function<void(Payload&)>& change) {
    Payload bad = good.copy();
    change(bad);
    try {
      decode_payload(bad);
      ADD_FAILURE() << "decoded " << bad.codec;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
    }
  };
  EXPECT_NO_THROW(decode_payload(good));
  refused([](Payload& p) { p.codec = "nothing"; });
  refused([](Payload& p) { p.codec = "sign"; });
  refused([](Payload& p) { p.codec = "sign+sign+sparse"; });
  refused([](Payload& p) { p.shape = {8, 17}; });
  refused([](Payload& p) { p.shape = {1 << 20, 1 << 20}; });
  refused([](Payload& p) { p.fields.pop_back(); });
  refused([](Payload& p) { p.fields[0].name = "2.signs"; });
  refused([](Payload& p) { p.fields[0].name = "0."; });
  refused([](Payload& p) { p.attributes.set("extra", true); });
}

TEST(LayerRules, FirstMatchingRuleWins) {
  const LayerRules rules = LayerRules::parse(
      "[lm_head, *.layers.0.*] keep ; [attn] sign|zstd; [*.down_proj] raw ;[mlp]sparse; lowrank");
  const auto codec = [&](const char* name) {
    const TensorCodec* found = rules.codec_for(name);
    return found == nullptr ? std::string("none") : found->canonical();
  };
  EXPECT_EQ(codec("lm_head.weight"), "none");
  EXPECT_EQ(codec("model.layers.0.mlp.down_proj.weight"), "none");
  EXPECT_EQ(codec("model.layers.1.self_attn.q_proj.weight"), "sign|zstd");
  EXPECT_EQ(codec("model.layers.1.mlp.down_proj.weight"), "raw");
  EXPECT_EQ(codec("model.layers.1.mlp.up_proj.weight"), "sparse");
  EXPECT_EQ(codec("model.embed_tokens.weight"), "lowrank");
  EXPECT_EQ(rules.canonical(),
            "[lm_head,*.layers.0.*] keep ; [attn] sign|zstd ; [*.down_proj] raw ; [mlp] sparse ; lowrank");
  EXPECT_EQ(LayerRules::parse(rules.canonical()).canonical(), rules.canonical());
  EXPECT_EQ(LayerRules::parse("[attn] raw").codec_for("model.norm.weight"), nullptr);
  EXPECT_NE(LayerRules::parse("raw").codec_for("x"), nullptr);
}

TEST(LayerRules, Globs) {
  const auto matches = [](const std::string& selector, const char* name) {
    return LayerRules::parse("[" + selector + "] raw").codec_for(name) != nullptr;
  };
  EXPECT_TRUE(matches("*", "anything"));
  EXPECT_TRUE(matches("a*b*c", "axxbyybzzc"));
  EXPECT_FALSE(matches("a*b*c", "axxbyybzz"));
  EXPECT_TRUE(matches("layer.?.w", "layer.3.w"));
  EXPECT_FALSE(matches("layer.?.w", "layer.13.w"));
  EXPECT_TRUE(matches("x.weight", "x.weight"));
  EXPECT_TRUE(matches("x", "x.weight"));
  EXPECT_FALSE(matches("x", "x.bias"));
  EXPECT_FALSE(matches("**************b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

TEST(LayerRules, Refusals) {
  for (const char* text : {"", ";", "raw;", "raw;raw", "[attn] raw;[attn] sign", "[a,a] raw", "[] raw",
                           "[a raw", "[a]", "[a,] raw", "[a b] raw", "[a\"] raw", "[a] kep", "attn] raw"}) {
    message_of([&] { LayerRules::parse(text); });
  }
  EXPECT_TRUE(contains(message_of([] { LayerRules::parse("raw ; [attn] sign"); }), "never reached"));
}

TEST(Composition, ContractionOfAChainHolds) {
  const std::string text = "sign(rank=2,scaled=false)+outliers(fraction=0.1)";
  const auto codec = parse_codec(text);
  const Tensor tensor = gaussian({32, 32}, "contraction"), zero(DType::f32, {32, 32});
  const CodecProperties properties = codec->properties(tensor.shape());
  ASSERT_TRUE(properties.delta.has_value());
  const double error = squared_distance(decode_payload(codec->encode(tensor.view(), {})), tensor);
  EXPECT_LE(error, (1 - *properties.delta) * squared_distance(zero, tensor));
  EXPECT_FALSE(parse_codec("sign+outliers")->properties(tensor.shape()).delta.has_value());
}

}  // namespace
}  // namespace laconic
