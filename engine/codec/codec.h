// TensorCodec: tensor -> Payload and back. Every codec of the engine stands behind this interface, is listed
// once in the registry, and can be composed (composition.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "engine/codec/payload.h"

namespace laconic {

// What an encoder may use besides the tensor itself. Pointers are borrowed for the call and may be null.
struct EncodeContext {
  std::uint64_t seed = 0;
  std::string_view tensor_name = "tensor";  // keys the random stream and names the tensor in errors
  std::uint64_t step = 0;                   // of training, and
  std::uint16_t peer = 0;                   // the sender: further keys of the random stream
  const double* second_moment = nullptr;    // [in, in] mean of x x^T over calibration tokens (row-major)
  std::int64_t second_moment_size = 0;      // in
  const float* row_importance = nullptr;    // [out], weights of output rows
  const float* channel_norm = nullptr;      // [in], mean over sequences of per-sequence l2 norm (bitstack)
  ProgressListener progress;
};

struct CodecProperties {
  bool lossless = false;
  bool positively_homogeneous = false;  // C(a x) = a C(x) for a > 0
  bool unbiased = false;                // E C(x) = x
  std::optional<double> delta;          // E|C(z) - z|^2 <= (1 - delta) |z|^2
  std::optional<double> omega;          // unbiased with E|Q(z) - z|^2 <= omega |z|^2
};

class TensorCodec {
 public:
  virtual ~TensorCodec() = default;
  // Canonical text, a fixed point of parsing: "uniform(bits=2,group=64)".
  virtual std::string canonical() const = 0;
  // Refuses non-finite input with tensor name and flat index. Result decodes to the tensor's shape.
  virtual Payload encode(const TensorView& tensor, const EncodeContext& context) const = 0;
  // To f32, bit-exact on every machine. Throws Error(corrupt) on a payload it did not write.
  virtual Tensor decode(const Payload& payload) const = 0;
  // sum += decode(payload), number by number; `sum` has the tensor's length. Codecs of few numbers touch only
  // those.
  virtual void add_decoded(const Payload& payload, std::span<float> sum) const;
  // The positions that the payload carries, ascending; none where it carries all of them.
  virtual std::optional<std::vector<std::int64_t>> positions(const Payload& /*payload*/) const {
    return std::nullopt;
  }
  virtual CodecProperties properties(const Shape& /*shape*/) const { return {}; }
};

// The tensor as f32, row-major. Refuses dtypes that are not real, and NaN and infinity, naming the tensor.
std::vector<float> finite_values(const TensorView& tensor, std::string_view name);
// The same without a copy where the tensor is f32 already; else `storage` holds them.
std::span<const float> finite_floats(const TensorView& tensor, std::string_view name,
                                     std::vector<float>& storage);
// Without a look at whether they are finite.
std::span<const float> real_floats(const TensorView& tensor, std::string_view name,
                                   std::vector<float>& storage);

// A typed, documented, ranged parameter: what `laconic info` prints and the parser checks.
struct ParameterSpec {
  // codec: layer rules, or "none"; list: numbers separated by commas, each in the range
  enum class Type { integer, number, boolean, text, choice, codec, list };
  std::string name;
  Type type = Type::integer;
  std::string default_value;
  double low = 0, high = 0;          // inclusive range for integer, number and list
  std::vector<std::string> choices;  // for choice
  std::string help;                  // one line

  std::string range() const;  // "1 to 8", "true, false", "text": the values it takes
};

// The name of `known` that needs the fewest edits to become `name` (ties: first); empty when none is near.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

// Checked values of a set of ParameterSpec; refuses unknown or repeated names with the nearest known one.
// Values are kept in one spelling (integers and numbers shortest, booleans true or false), so canonical text
// is a fixed point of parsing. Text holds letters, digits and _ . - only.
class Parameters {
 public:
  Parameters() = default;
  explicit Parameters(const std::vector<ParameterSpec>& specs);
  void set(std::string_view name, std::string_view value);  // throws Error(usage)
  bool is_set(std::string_view name) const;                 // by set(), not by default
  std::int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  bool boolean(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  std::vector<double> list(std::string_view name) const;
  const std::vector<ParameterSpec>& specs() const { return specs_; }
  // "name(a=1,b=2)" with the parameters that differ from their defaults, in the order of the specs.
  std::string canonical(std::string_view codec_name) const;

 private:
  std::size_t index_of(std::string_view name) const;
  std::vector<ParameterSpec> specs_;
  std::vector<std::string> values_;
  std::vector<bool> set_;
};

struct CodecDescription {
  std::string name;
  std::string summary;  // one line
  std::vector<ParameterSpec> parameters;
  std::function<std::unique_ptr<TensorCodec>(const Parameters&)> create;
};

// All codecs of the engine, by name. Filled by registry.cpp; there are no static initialisers.
const std::vector<CodecDescription>& codec_registry();
const CodecDescription& codec_named(std::string_view name);  // Error(usage) with the nearest name

}  // namespace laconic
