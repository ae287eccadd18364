// randk: k positions that do not depend on the values, so that whoever knows the random stream needs only the
// values. With scaled=true they are multiplied by n / k when decoded: unbiased, E|Q(z) - z|^2 = (n / k - 1)
// |z|^2; without, a contraction by k / n on average (cards 01, 03, 08). Fields: values. Attributes: count,
// key, step, peer (the stream, random.h), scaled.
#include <algorithm>
#include <unordered_set>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/registry.h"
#include "engine/codec/stored_values.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

// k distinct positions below n, ascending (Floyd's sampling: every set is as likely).
std::vector<std::int64_t> drawn_positions(RandomStream random, std::int64_t n, std::int64_t k) {
  std::vector<std::int64_t> positions;
  positions.reserve(static_cast<std::size_t>(k));
  std::unordered_set<std::int64_t> chosen;
  chosen.reserve(static_cast<std::size_t>(k));
  for (std::int64_t j = n - k; j < n; ++j) {
    const std::int64_t drawn = random.below(static_cast<std::uint32_t>(j) + 1);
    const std::int64_t position = chosen.insert(drawn).second ? drawn : j;
    if (position == j) chosen.insert(j);
    positions.push_back(position);
  }
  std::sort(positions.begin(), positions.end());
  return positions;
}

constexpr std::int64_t most_elements = (std::int64_t{1} << 32) - 1;

class RandK : public TensorCodec {
 public:
  explicit RandK(const Parameters& parameters) : parameters_(parameters) {}

  std::string canonical() const override { return parameters_.canonical("randk"); }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    const auto length = static_cast<std::int64_t>(values.size());
    if (length > most_elements) fail(ErrorKind::unsupported, "over 2^32 elements", context.tensor_name);
    const std::int64_t k = length == 0 ? 0 : count_of(length, parameters_.number("fraction"));
    // Peers draw the same positions unless they are told to differ.
    const std::uint16_t peer = parameters_.boolean("shared") ? std::uint16_t{0} : context.peer;
    const RandomStream random(context.seed, "randk", context.tensor_name, context.step, peer);
    std::vector<float> kept;
    for (const std::int64_t position : drawn_positions(random, length, k)) {
      kept.push_back(values[static_cast<std::size_t>(position)]);
    }
    Payload payload;
    payload.codec = canonical();
    payload.dtype = tensor.dtype;
    payload.shape = tensor.shape;
    payload.attributes.set("count", k);
    payload.attributes.set("key", static_cast<std::int64_t>(random.key()));
    payload.attributes.set("step", static_cast<std::int64_t>(context.step));
    payload.attributes.set("peer", std::int64_t{peer});
    payload.attributes.set("scaled", parameters_.boolean("scaled"));
    payload.add("values", store_values(kept, {k}, dtype_parameter(parameters_.text("dtype"))));
    return payload;
  }

  Tensor decode(const Payload& payload) const override {
    require_decodable(payload);
    const std::int64_t length = element_count(payload.shape);
    if (length > most_elements) fail(ErrorKind::corrupt, "over 2^32 elements", payload.codec);
    const std::int64_t k = payload.attributes.integer("count", 0, length);
    const RandomStream random(
        static_cast<std::uint64_t>(payload.attributes.integer("key", INT64_MIN, INT64_MAX)),
        static_cast<std::uint64_t>(payload.attributes.integer("step", INT64_MIN, INT64_MAX)),
        static_cast<std::uint16_t>(payload.attributes.integer("peer", 0, 65535)));
    const std::vector<float> values = load_values(payload, "values", k);
    const float scale = payload.attributes.boolean("scaled") && k > 0
                            ? static_cast<float>(static_cast<double>(length) / static_cast<double>(k))
                            : 1.0f;
    Tensor tensor(DType::f32, payload.shape);
    std::size_t next = 0;
    for (const std::int64_t position : drawn_positions(random, length, k)) {
      tensor.f32()[static_cast<std::size_t>(position)] = scale * values[next++];
    }
    return tensor;
  }

  CodecProperties properties(const Shape& shape) const override {
    CodecProperties properties;
    const std::int64_t length = element_count(shape);
    if (length == 0) return properties;
    const double precision = stored_precision(dtype_parameter(parameters_.text("dtype")));
    const double share =
        static_cast<double>(count_of(length, parameters_.number("fraction"))) / static_cast<double>(length);
    properties.positively_homogeneous = precision == 0;
    if (!parameters_.boolean("scaled")) {
      properties.delta = share * (1 - precision * precision);
    } else if (precision == 0) {
      properties.unbiased = true;
      properties.omega = (1 / share - 1) * (1 + 1e-6);
    }
    return properties;
  }

 private:
  Parameters parameters_;
};

}  // namespace

CodecDescription describe_rand_k() {
  CodecDescription description;
  using Type = ParameterSpec::Type;
  description.name = "randk";
  description.summary = "k entries at random positions that the receiver knows; the rest is zero";
  description.parameters = {
      {"fraction", Type::number, "0.1", 0, 1, {}, "share of the entries to keep (k is at least 1)"},
      {"scaled", Type::boolean, "true", 0, 0, {}, "multiply by n / k, which makes it unbiased"},
      {"shared", Type::boolean, "false", 0, 0, {}, "all peers keep the same positions"},
      {"dtype", Type::choice, "f32", 0, 0, {"f16", "bf16", "f32"}, "type of the values"}};
  description.create = [](const Parameters& parameters) { return std::make_unique<RandK>(parameters); };
  return description;
}

}  // namespace laconic
