#include "engine/codec/payload.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/base/hash.h"
#include "engine/base/json.h"
#include "engine/codec/payload_json.h"

namespace laconic {
namespace {

Payload sample() {
  Payload payload;
  payload.codec = "uniform(bits=2)";
  payload.dtype = DType::bf16;
  payload.shape = {3, 5};
  payload.attributes.set("bits", std::int64_t{2});
  payload.attributes.set("scale", 0.1);
  payload.attributes.set("whole", 2.0);
  payload.attributes.set("flag", true);
  payload.attributes.set("note", std::string("two \"words\""));
  payload.attributes.set("ranks", std::vector<std::int64_t>{1, -7, INT64_MAX, INT64_MIN});
  payload.attributes.set("costs", std::vector<double>{1.0, 1e-300});
  payload.attributes.set("empty", std::vector<double>{});
  Tensor codes(DType::u8, {7});
  for (int i = 0; i < 7; ++i) codes.as<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * 37);
  payload.add("codes", std::move(codes));
  payload.add("scale", Tensor::from_f32({3, 1}, std::vector<float>{1, -2, 0.5f}, DType::f16));
  payload.add("none", Tensor(DType::i32, {0}));
  return payload;
}

void expect_equal(const Payload& a, const Payload& b) {
  EXPECT_EQ(a.codec, b.codec);
  EXPECT_EQ(a.dtype, b.dtype);
  EXPECT_EQ(a.shape, b.shape);
  EXPECT_EQ(a.attributes, b.attributes);
  ASSERT_EQ(a.fields.size(), b.fields.size());
  for (std::size_t i = 0; i < a.fields.size(); ++i) {
    EXPECT_EQ(a.fields[i].name, b.fields[i].name);
    EXPECT_EQ(a.fields[i].data.dtype(), b.fields[i].data.dtype());
    EXPECT_EQ(a.fields[i].data.shape(), b.fields[i].data.shape());
    ASSERT_EQ(a.fields[i].data.bytes(), b.fields[i].data.bytes());
    EXPECT_EQ(as_text(a.fields[i].data.span()), as_text(b.fields[i].data.span()));
  }
}

template <class Call>
ErrorKind kind_thrown(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "nothing thrown";
  return ErrorKind::internal;
}

TEST(Payload, FrameRoundTrip) {
  const Payload payload = sample();
  const Bytes frame = to_frame(payload);
  expect_equal(parse_frame(frame, "frame"), payload);
  expect_equal(payload.copy(), payload);
  EXPECT_EQ(to_frame(parse_frame(frame, "frame")), frame);
}

TEST(Payload, FrameCostsFiveBytesBeyondFieldsAndDescription) {
  Payload payload;
  payload.codec = "raw";
  payload.shape = {100};
  payload.add("values", Tensor(DType::f32, {100}));
  // schema 1, checksum 4; text 1+3; dtype, rank, side 3; no attributes 1; one field 1 + (1+6) + 3.
  EXPECT_EQ(to_frame(payload).size(), 400u + 5 + 4 + 3 + 1 + 1 + 10);
}

TEST(Payload, EveryFlippedBitOfAFrameIsFound) {
  const Bytes frame = to_frame(sample());
  for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
    Bytes damaged = frame;
    damaged[bit / 8] ^= std::byte(1u << (bit % 8));
    EXPECT_EQ(kind_thrown([&] { parse_frame(damaged, "frame"); }), ErrorKind::corrupt);
  }
}

TEST(Payload, EveryTruncationOfAFrameIsFound) {
  const Bytes frame = to_frame(sample());
  for (std::size_t size = 0; size < frame.size(); ++size) {
    EXPECT_EQ(kind_thrown([&] { parse_frame(ByteSpan(frame).first(size), "frame"); }), ErrorKind::corrupt);
  }
}

// Damage behind a valid checksum must be refused or yield a valid payload, never crash or allocate without
// bound.
TEST(Payload, DamageWithAFreshChecksumIsRefusedOrHarmless) {
  const Bytes frame = to_frame(sample());
  int refused = 0;
  for (std::size_t at = 0; at + 4 < frame.size(); ++at) {
    for (int value : {0, 1, 0x7F, 0x80, 0xFF}) {
      Bytes damaged = frame;
      damaged[at] = std::byte(value);
      const auto sum = static_cast<std::uint32_t>(xxh3_64(ByteSpan(damaged).first(damaged.size() - 4)));
      std::memcpy(damaged.data() + damaged.size() - 4, &sum, 4);
      try {
        const Payload payload = parse_frame(damaged, "frame");
        EXPECT_EQ(to_frame(payload), damaged) << "a frame has one form only, byte " << at;
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(Payload, JsonDescriptionRoundTripThroughTextWithPadding) {
  const Payload payload = sample();
  std::map<std::string, Bytes> stored;
  for (const Field& field : payload.fields) {
    Bytes bytes(field.data.span().begin(), field.data.span().end());
    bytes.resize((bytes.size() + 63) / 64 * 64);
    stored[field.name] = bytes;
  }
  const std::string text = describe(payload).dump();
  const auto lookup = [&](std::string_view name) { return ByteSpan(stored.at(std::string(name))); };
  expect_equal(parse_description(parse_json(text, "text"), lookup, "w"), payload);

  stored["codes"][20] = std::byte{1};
  EXPECT_EQ(kind_thrown([&] { parse_description(parse_json(text, "text"), lookup, "w"); }),
            ErrorKind::corrupt);
  stored["codes"].resize(6);
  EXPECT_EQ(kind_thrown([&] { parse_description(parse_json(text, "text"), lookup, "w"); }),
            ErrorKind::corrupt);
}

TEST(Payload, JsonDescriptionRefusesWhatItDoesNotWrite) {
  const Bytes zeros(64);
  const auto lookup = [&](std::string_view) { return ByteSpan(zeros); };
  const nlohmann::json good = {{"codec", "raw"},
                               {"dtype", "F32"},
                               {"shape", {4}},
                               {"attributes", nlohmann::json::object()},
                               {"fields", {{{"name", "values"}, {"dtype", "F32"}, {"shape", {4}}}}}};
  EXPECT_NO_THROW(parse_description(good, lookup, "w"));
  const auto refuses = [&](auto change) {
    nlohmann::json bad = good;
    change(bad);
    EXPECT_EQ(kind_thrown([&] { parse_description(bad, lookup, "w"); }), ErrorKind::corrupt) << bad.dump();
  };
  refuses([](auto& j) { j.erase("codec"); });
  refuses([](auto& j) { j["codec"] = ""; });
  refuses([](auto& j) { j["dtype"] = "U8"; });
  refuses([](auto& j) { j["dtype"] = "F33"; });
  refuses([](auto& j) { j["shape"] = {-1}; });
  refuses([](auto& j) { j["shape"] = {1ull << 40, 1ull << 40}; });
  refuses([](auto& j) { j["shape"] = {1, 1, 1, 1, 1, 1, 1, 1, 1}; });
  refuses([](auto& j) { j["attributes"] = {{"a", nullptr}}; });
  refuses([](auto& j) { j["attributes"] = {{"a", {1, 2.5}}}; });
  refuses([](auto& j) { j["attributes"] = {{"a", UINT64_MAX}}; });
  refuses([](auto& j) { j["fields"][0]["name"] = "Values"; });
  refuses([](auto& j) { j["fields"][0]["dtype"] = "F64"; });
  refuses([](auto& j) { j["fields"][0]["shape"] = {400}; });
  refuses([](auto& j) { j["fields"].push_back(j["fields"][0]); });
  refuses([](auto& j) { j["fields"] = 3; });
}

TEST(Payload, FieldChecksNameDtypeAndCount) {
  const Payload payload = sample();
  EXPECT_EQ(payload.field("codes", DType::u8, 7).elements(), 7);
  EXPECT_EQ(kind_thrown([&] { payload.field("code", DType::u8, 7); }), ErrorKind::corrupt);
  EXPECT_EQ(kind_thrown([&] { payload.field("codes", DType::i32, 7); }), ErrorKind::corrupt);
  EXPECT_EQ(kind_thrown([&] { payload.field("codes", DType::u8, 8); }), ErrorKind::corrupt);
  EXPECT_EQ(payload.field_bytes(), 7u + 6u);
}

TEST(Payload, AbsurdDecodedSizeIsRefused) {
  Payload payload;
  payload.codec = "sparse";
  payload.shape = {std::int64_t{1} << 30, 2};
  EXPECT_EQ(kind_thrown([&] { require_decodable(payload); }), ErrorKind::corrupt);
  payload.shape = {1000, 1000};
  EXPECT_NO_THROW(require_decodable(payload));
  const std::int64_t former = set_decode_limit(1000);
  EXPECT_EQ(kind_thrown([&] { require_decodable(payload); }), ErrorKind::corrupt);
  set_decode_limit(former);
}

TEST(Attributes, TypedAccess) {
  const Attributes attributes = sample().attributes;
  EXPECT_EQ(attributes.integer("bits", 1, 8), 2);
  EXPECT_EQ(attributes.number("bits"), 2.0);
  EXPECT_TRUE(attributes.boolean("flag"));
  EXPECT_EQ(attributes.numbers("ranks")[1], -7.0);
  EXPECT_EQ(kind_thrown([&] { attributes.integer("bits", 3, 8); }), ErrorKind::corrupt);
  EXPECT_EQ(kind_thrown([&] { attributes.integer("scale", 0, 8); }), ErrorKind::corrupt);
  EXPECT_EQ(kind_thrown([&] { attributes.text("bits"); }), ErrorKind::corrupt);
  EXPECT_EQ(kind_thrown([&] { attributes.boolean("missing"); }), ErrorKind::corrupt);
}

}  // namespace
}  // namespace laconic
