// The rate audit: every codec of the registry, in every variant of its parameters, and several compositions,
// on tensors of every awkward kind. What an encoder claims is what was written, read back and decoded.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"

namespace laconic {
namespace {

struct Subject {
  std::string name;
  Tensor tensor;
};

std::vector<Subject> subjects() {
  std::vector<Subject> list;
  RandomStream random(9, "test", "rate audit");
  const auto add = [&](std::string name, Shape shape, auto value, DType dtype = DType::f32) {
    std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = value(i);
    list.push_back({std::move(name), Tensor::from_f32(std::move(shape), values, dtype)});
  };
  const auto gaussian = [&](std::size_t) { return random.gaussian(); };
  const auto heavy = [&](std::size_t) {
    const float value = random.gaussian();
    return value * value * value * value * value;
  };
  const auto huge = [&](std::size_t i) {
    return std::ldexp(random.gaussian(), static_cast<int>(i * 37 % 200) - 100);
  };
  for (Shape shape : {Shape{33, 70}, Shape{129}, Shape{16, 64}}) {
    const std::string size = " " + to_string(shape);
    add("gaussian" + size, shape, gaussian);
    add("heavy tails" + size, shape, heavy);
    add("zero" + size, shape, [](std::size_t) { return 0.0f; });
    add("constant" + size, shape, [](std::size_t) { return -1.75f; });
    add("one spike" + size, shape, [](std::size_t i) { return i == 5 ? 1e4f : 0.0f; });
    add("huge range" + size, shape, huge);
    add("large" + size, shape, [&](std::size_t) { return 1e34f * random.gaussian(); });
    add("denormal" + size, shape, [&](std::size_t) { return 1e-42f * random.gaussian(); });
    add("alternating" + size, shape, [](std::size_t i) { return i % 2 == 0 ? 1.0f : -1.0f; });
    add("half zeros" + size, shape, [&](std::size_t i) { return i % 2 == 0 ? random.gaussian() : 0.0f; });
    add("negative zeros" + size, shape, [](std::size_t i) { return i % 3 == 0 ? -0.0f : 2.0f; });
  }
  add("bf16", {24, 40}, gaussian, DType::bf16);
  add("f16", {24, 40}, gaussian, DType::f16);
  add("one element", {1}, gaussian);
  add("one by one", {1, 1}, gaussian);
  add("one row", {1, 65}, gaussian);
  add("one column", {65, 1}, gaussian);
  add("scalar", {}, gaussian);
  add("empty", {0}, gaussian);
  add("no rows", {0, 7}, gaussian);
  add("no columns", {7, 0}, gaussian);
  add("cube", {4, 5, 6}, gaussian);
  return list;
}

// Values to try for a parameter besides its default.
std::vector<std::string> variants(const ParameterSpec& spec) {
  switch (spec.type) {
    case ParameterSpec::Type::choice:
      return spec.choices;
    case ParameterSpec::Type::boolean:
      return {"true", "false"};
    case ParameterSpec::Type::integer: {
      std::vector<std::string> values;
      for (double value : {spec.low, spec.low + 1, spec.low + 2, 5.0, 16.0, 63.0, spec.high}) {
        if (value >= spec.low && value <= spec.high)
          values.push_back(std::to_string(static_cast<std::int64_t>(value)));
      }
      return values;
    }
    case ParameterSpec::Type::number: {
      std::vector<std::string> values;
      for (double value :
           {spec.low, spec.low + (spec.high - spec.low) / 64, (spec.low + spec.high) / 2, spec.high}) {
        values.push_back(std::to_string(value));
      }
      return values;
    }
    case ParameterSpec::Type::text:
    case ParameterSpec::Type::list:
    case ParameterSpec::Type::codec:
      return {};
  }
  return {};
}

// Every codec at its defaults, with each parameter changed alone, and compositions. Combinations that a codec
// refuses as senseless are left out here; the composition tests hold those.
std::vector<std::string> texts() {
  std::vector<std::string> list;
  for (const CodecDescription& description : codec_registry()) {
    list.push_back(description.name);
    for (const char* coder : {"|rans", "|huffman", "|zstd", "|best"})
      list.push_back(description.name + coder);
    for (const ParameterSpec& spec : description.parameters) {
      for (const std::string& value : variants(spec)) {
        const std::string text = description.name + "(" + spec.name + "=" + value + ")";
        try {
          parse_codec(text);
          list.push_back(text);
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
        }
      }
    }
  }
  for (const char* text :
       {"sign(rank=1)+sign(rank=1)+sign(rank=1)", "lowrank(rank=2)+outliers(fraction=0.05)", "sparse|zstd",
        "(sparse|zstd)+sign|best", "raw(dtype=f16)+raw(dtype=f16)", "raw(dtype=bf16)|zstd",
        "lowrank(energy=0.5)+(sign+outliers|best)", "outliers+outliers+outliers|best"}) {
    list.push_back(text);
  }
  return list;
}

class RateAudit : public testing::Test {
 protected:
  // Identity second moments and unit norms, so that codecs that need calibration have some.
  EncodeContext context_for(const Tensor& tensor, std::string_view name) {
    const std::int64_t columns = tensor.shape().size() == 2 ? tensor.shape()[1] : tensor.elements();
    moment_.assign(static_cast<std::size_t>(columns * columns), 0.0);
    for (std::int64_t i = 0; i < columns; ++i)
      moment_[static_cast<std::size_t>(i * (columns + 1))] = 1 + i % 3;
    norm_.assign(static_cast<std::size_t>(columns), 0.5f);
    importance_.assign(tensor.shape().size() == 2 ? static_cast<std::size_t>(tensor.shape()[0]) : 1, 1.0f);
    EncodeContext context;
    context.seed = 17;
    context.tensor_name = name;
    context.second_moment = moment_.data();
    context.second_moment_size = columns;
    context.channel_norm = norm_.data();
    context.row_importance = importance_.data();
    return context;
  }

  std::vector<double> moment_;
  std::vector<float> norm_, importance_;
};

void expect_same_bits(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  ASSERT_EQ(a.dtype(), b.dtype());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.bytes()), 0);
}

TEST_F(RateAudit, EveryEncodingIsWrittenReadBackAndDecoded) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() /
                                     ("laconic_rate_audit_" + std::to_string(::getpid()) + ".frame");
  const std::vector<Subject> all = subjects();
  for (const std::string& text : texts()) {
    const auto codec = parse_codec(text);
    EXPECT_EQ(parse_codec(codec->canonical())->canonical(), codec->canonical());
    for (const Subject& subject : all) {
      SCOPED_TRACE(text + " on " + subject.name);
      const TensorView view = subject.tensor.view();
      const EncodeContext context = context_for(subject.tensor, subject.name);
      const Payload payload = codec->encode(view, context);
      EXPECT_EQ(payload.codec, codec->canonical());
      EXPECT_EQ(payload.shape, subject.tensor.shape());
      EXPECT_EQ(payload.dtype, subject.tensor.dtype());
      const Tensor direct = codec->decode(payload);
      ASSERT_EQ(direct.dtype(), DType::f32);
      ASSERT_EQ(direct.shape(), subject.tensor.shape());
      EXPECT_NO_THROW(require_finite(direct.view(), "decoded"));

      const Bytes frame = to_frame(payload);
      std::ofstream(file, std::ios::binary)
          .write(as_text(frame).data(), static_cast<std::streamsize>(frame.size()));
      EXPECT_EQ(std::filesystem::file_size(file), frame.size());
      const Payload back = parse_frame(read_file(file), "frame");
      EXPECT_EQ(back.field_bytes(), payload.field_bytes());
      expect_same_bits(decode_payload(back), direct);
      expect_same_bits(decode_payload(expand_entropy(back)), direct);
      if (codec->properties(subject.tensor.shape()).lossless) {
        const std::vector<float> values = view.to_f32();
        for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(direct.f32()[i], values[i]) << i;
      }
    }
  }
  std::filesystem::remove(file);
}

TEST_F(RateAudit, SameBytesAtAnyThreadCount) {
  for (const std::string& text : texts()) {
    const auto codec = parse_codec(text);
    for (const Subject& subject : subjects()) {
      if (subject.name != "gaussian [33, 70]" && subject.name != "huge range [33, 70]") continue;
      const EncodeContext context = context_for(subject.tensor, subject.name);
      const int before = thread_count();
      set_thread_count(1);
      const Bytes one = to_frame(codec->encode(subject.tensor.view(), context));
      set_thread_count(3);
      const Bytes three = to_frame(codec->encode(subject.tensor.view(), context));
      set_thread_count(before);
      EXPECT_EQ(one, three) << text << " on " << subject.name;
    }
  }
}

TEST_F(RateAudit, NonFiniteInputIsRefusedWithNameAndIndex) {
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity()};
  for (const std::string& text : texts()) {
    const auto codec = parse_codec(text);
    for (const float value : bad) {
      Tensor tensor(DType::f32, {8, 9});
      for (std::size_t i = 0; i < 72; ++i) tensor.f32()[i] = static_cast<float>(i);
      tensor.f32()[47] = value;
      try {
        codec->encode(tensor.view(), context_for(tensor, "model.layers.3.weight"));
        ADD_FAILURE() << text << " took " << value;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::input) << text;
        const std::string what = error.what();
        EXPECT_NE(what.find("model.layers.3.weight"), std::string::npos) << text << ": " << what;
        EXPECT_NE(what.find("index 47"), std::string::npos) << text << ": " << what;
      }
    }
  }
}

// E|C(z) - z|^2 <= (1 - delta) |z|^2 on everything that is not so small that f32 itself runs out of digits.
TEST_F(RateAudit, DeclaredContractionHolds) {
  int declared = 0;
  for (const std::string& text : texts()) {
    if (text.find("randk") == 0) continue;  // holds on average only: declared_constants_test.cpp
    const auto codec = parse_codec(text);
    for (const Subject& subject : subjects()) {
      const CodecProperties properties = codec->properties(subject.tensor.shape());
      if (!properties.delta || subject.name.find("denormal") == 0) continue;
      ++declared;
      EXPECT_GT(*properties.delta, 0) << text;
      EXPECT_LE(*properties.delta, 1) << text;
      const std::vector<float> values = subject.tensor.view().to_f32();
      const EncodeContext context = context_for(subject.tensor, subject.name);
      const Tensor decoded = codec->decode(codec->encode(subject.tensor.view(), context));
      double error = 0, norm = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double value = values[i];
        error += (decoded.f32()[i] - value) * (decoded.f32()[i] - value);
        norm += value * value;
      }
      EXPECT_LE(error, (1 - *properties.delta) * norm * (1 + 1e-9)) << text << " on " << subject.name;
    }
  }
  EXPECT_GT(declared, 500);
}

TEST_F(RateAudit, IntegerTensorsAreRefused) {
  const Tensor tensor(DType::i32, {4, 4});
  for (const CodecDescription& description : codec_registry()) {
    try {
      parse_codec(description.name)->encode(tensor.view(), context_for(tensor, "ids"));
      ADD_FAILURE() << description.name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input) << description.name << ": " << error.what();
    }
  }
}

}  // namespace
}  // namespace laconic
