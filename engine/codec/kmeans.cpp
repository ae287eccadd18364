// kmeans: the entries of largest magnitude, the rest set to zero, and all of them replaced by a few centres
// found by k-means on a line over the whole pruned tensor, zeros included (FedZip, Malekijoo et al. 2021,
// arXiv 2102.01593; card 06). The labels travel in the smallest of five forms (label_stream.h). No
// contraction constant: what is pruned and what the centres move is not bounded by a share of the tensor.
// Fields: centroids (f32 [clusters]), data (u8). Attributes: none.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/label_stream.h"
#include "engine/codec/registry.h"
#include "engine/math/scalar_k_means.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

constexpr const char* start_names[] = {"line", "quantiles", "spread"};
constexpr const char* form_names[] = {"huffman", "positions", "gaps", "rice", "rans"};

// All positions whose magnitude is at least the least one of `chosen`.
std::vector<std::int64_t> as_large_as_any_of(const std::vector<std::int64_t>& chosen,
                                             const std::vector<float>& values) {
  float least = std::numeric_limits<float>::infinity();
  for (const std::int64_t position : chosen)
    least = std::min(least, std::abs(values[static_cast<std::size_t>(position)]));
  std::vector<std::int64_t> positions;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::abs(values[i]) >= least) positions.push_back(static_cast<std::int64_t>(i));
  }
  return positions;
}

class KMeansCodec : public TensorCodec {
 public:
  explicit KMeansCodec(const Parameters& parameters)
      : text_(parameters.canonical("kmeans")),
        prune_(parameters.number("prune")),
        clusters_(static_cast<int>(parameters.integer("clusters"))),
        iterations_(static_cast<int>(parameters.integer("iterations"))),
        pin_(parameters.boolean("pin")),
        keep_ties_(parameters.boolean("keep-ties")) {
    const auto index_in = [](const std::string& name, const auto& names) {
      return static_cast<int>(std::find(std::begin(names), std::end(names), name) - std::begin(names));
    };
    start_ = static_cast<CentreStart>(index_in(parameters.text("start"), start_names));
    if (parameters.text("form") != "smallest")
      form_ = static_cast<LabelForm>(index_in(parameters.text("form"), form_names));
    if (prune_ >= 1) fail(ErrorKind::usage, "a pruned share is below 1", "kmeans(prune=1)");
  }

  std::string canonical() const override { return text_; }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    const auto length = static_cast<std::int64_t>(values.size());
    // The pruned are counted, to nearest, and at least one entry is kept.
    const std::int64_t pruned = length == 0 ? 0 : count_of(length, prune_, CountRule::nearest, 0);
    std::int64_t kept = length == 0 ? 0 : std::max<std::int64_t>(1, length - pruned);
    std::vector<std::int64_t> positions = top_k(values, kept);
    if (keep_ties_ && length > 0) {
      positions = as_large_as_any_of(positions, values);
      kept = static_cast<std::int64_t>(positions.size());
    }
    std::vector<float> kept_values;
    kept_values.reserve(positions.size());
    for (const std::int64_t position : positions)
      kept_values.push_back(values[static_cast<std::size_t>(position)]);
    const ScalarSet set{kept_values, length - kept};

    std::vector<float> centres(static_cast<std::size_t>(clusters_), 0.0f);
    std::vector<std::uint8_t> labels(values.size());
    if (length > 0) {
      RandomStream random(context.seed, "kmeans", context.tensor_name, context.step, context.peer);
      centres = start_centres(set, clusters_, start_, random);
      // The middle one, which holds the zeros of a tensor with both signs; an even number has none.
      lloyd_iterations(set, centres, iterations_, pin_ && clusters_ % 2 == 1 ? clusters_ / 2 : -1);
      std::fill(labels.begin(), labels.end(), static_cast<std::uint8_t>(nearest_centre(0, centres)));
      for (std::size_t i = 0; i < positions.size(); ++i) {
        labels[static_cast<std::size_t>(positions[i])] =
            static_cast<std::uint8_t>(nearest_centre(kept_values[i], centres));
      }
    }
    const Bytes stream = form_ ? encode_labels(labels, clusters_, *form_) : encode_labels(labels, clusters_);
    Payload payload;
    payload.codec = text_;
    payload.dtype = tensor.dtype;
    payload.shape = tensor.shape;
    payload.add("centroids", Tensor::from_f32({clusters_}, centres));
    Tensor data(DType::u8, {static_cast<std::int64_t>(stream.size())});
    std::copy(stream.begin(), stream.end(), data.data());
    payload.add("data", std::move(data));
    return payload;
  }

  Tensor decode(const Payload& payload) const override {
    require_decodable(payload);
    const Field* field = payload.find("centroids");
    if (field == nullptr || field->data.dtype() != DType::f32 || field->data.elements() < 1 ||
        field->data.elements() > most_labels) {
      fail(ErrorKind::corrupt, "has no centroids, or too many", payload.codec);
    }
    const std::span<const float> centres = field->data.f32();
    for (const float centre : centres) {
      if (!std::isfinite(centre)) fail(ErrorKind::corrupt, "a centroid is not finite", payload.codec);
    }
    const Field* data = payload.find("data");
    if (data == nullptr || data->data.dtype() != DType::u8)
      fail(ErrorKind::corrupt, "has no labels", payload.codec);
    const std::vector<std::uint8_t> labels =
        decode_labels(data->data.span(), static_cast<std::size_t>(element_count(payload.shape)),
                      static_cast<int>(centres.size()), payload.codec);
    Tensor tensor(DType::f32, payload.shape);
    for (std::size_t i = 0; i < labels.size(); ++i) tensor.f32()[i] = centres[labels[i]];
    return tensor;
  }

 private:
  std::string text_;
  double prune_;
  int clusters_, iterations_;
  bool pin_, keep_ties_;
  CentreStart start_ = CentreStart::line;
  std::optional<LabelForm> form_;
};

}  // namespace

CodecDescription describe_kmeans() {
  using Type = ParameterSpec::Type;
  CodecDescription description;
  description.name = "kmeans";
  description.summary = "the largest entries, and zero for the rest, as labels of a few centres";
  description.parameters = {
      {"prune", Type::number, "0.8", 0, 1, {}, "share of the entries that is set to zero; below 1"},
      {"clusters", Type::integer, "3", 1, most_labels, {}, "centres, zero's included"},
      {"iterations", Type::integer, "4", 0, 1000, {}, "of Lloyd's algorithm"},
      {"start",
       Type::choice,
       "line",
       0,
       0,
       {"line", "quantiles", "spread"},
       "first centres: evenly from least to largest, at quantiles, or by k-means++"},
      {"pin", Type::boolean, "true", 0, 0, {}, "the middle centre of an odd number is exactly 0"},
      {"keep-ties", Type::boolean, "false", 0, 0, {}, "all entries as large as the least one kept are kept"},
      {"form",
       Type::choice,
       "smallest",
       0,
       0,
       {"smallest", "huffman", "positions", "gaps", "rice", "rans"},
       "how the labels travel"}};
  description.create = [](const Parameters& parameters) { return std::make_unique<KMeansCodec>(parameters); };
  return description;
}

}  // namespace laconic
