// CSKV (card 20): old tokens are kept as a low-rank latent of the layer's input, made by trained projections;
// the newest tokens stay exact, with their latents beside them until they leave the window.
//
// Departures: values are expanded once per query instead of once per token (the same algebra), and keys a
// tile at a time, so that the shrunk cache is never rebuilt as a whole; biases are folded exactly;
// training for grids lets gradients reach their ends (held constant, what rounding costs hardly falls).
#include "methods/cache/cskv/latent_base.h"
#include "methods/cache/cskv/latent_map.h"
#include "methods/cache/cskv/reproduce.h"
#include "methods/cache/uniform_rows.h"
#include "methods/method.h"

#include "engine/base/error.h"

namespace laconic {
namespace {

CacheStageMaker cskv_stages(const Parameters& p, const CacheRequest& request) {
  const TrainedBase base(request, "cskv", p.text("base"));
  const double rank = p.number("rank"), keys = p.number("key-rank"), values = p.number("value-rank");
  const auto map = cskv::latent_map(request.shape, base, keys > 0 ? keys : rank, values > 0 ? values : rank);
  const std::int64_t window = p.integer("window");
  std::shared_ptr<const RowCodec> bits;
  const int width = static_cast<int>(p.integer("bits"));
  if (width < 16 && window < 1) {
    fail(ErrorKind::usage, "keys have grids over groups of window tokens, and there is no window", "cskv",
         "set window to 1 or more, or bits to 16");
  }
  return [=](std::int64_t layer, KvStages& stages) {
    stages.features = map;
    if (stages.split == nullptr) {
      // The window fills to `window` tokens and is then compressed as a whole.
      const std::int64_t whole = std::max<std::int64_t>(1, window);
      stages.window = {0, whole, whole, DType::f16};
    }
    if (width == 16) return;
    UniformRowForm key_form, value_form;
    key_form.bits = value_form.bits = width;
    key_form.kind = value_form.kind =
        p.text("grid") == "zero_clamped" ? GridKind::affine_zero : GridKind::affine_min;
    key_form.axis = UniformRowForm::Axis::channel;
    key_form.group = window;
    value_form.group = map->widths(layer, KvSide::values).front() / request.shape.kv_heads;
    stages.bits = uniform_row_codec(p.canonical("cskv"), key_form, value_form);
  };
}

}  // namespace

MethodDescription describe_cskv() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "cskv";
  method.card = 20;
  method.title = "CSKV: Training-Efficient Channel Shrinking for KV Cache in Long-Context Scenarios";
  method.paper = "Wang, Li, Ning, Yuan, Yan, Dai, Wang, NeurIPS 2024 ENLSP workshop, arXiv 2409.10593";
  method.subject = "cache";
  method.summary = "old tokens as a trained low-rank latent of the layer's input, new ones exact";
  method.parameters = {
      {"rank", Type::number, "0", 0, 1, {}, "share of a head's numbers that is kept; 0: as the base has it"},
      {"key-rank", Type::number, "0", 0, 1, {}, "the same for keys; 0: as rank"},
      {"value-rank", Type::number, "0", 0, 1, {}, "the same for values; 0: as rank"},
      {"window", Type::integer, "32", 0, 4096, {}, "exact tokens until they are compressed together"},
      {"bits",
       Type::integer,
       "16",
       2,
       16,
       {},
       "of the latents: keys per channel over window tokens, values per token and head; 16: f16"},
      {"grid", Type::choice, "minmax", 0, 0, {"minmax", "zero_clamped"}, "whether grids must contain 0"},
      {"base", Type::text, "cskv", 0, 0, {}, "name of the trained base, kv/NAME.safetensors"}};
  CacheMethod cache;
  cache.axes = {CacheAxis::features};
  cache.make = cskv_stages;
  cache.axes_with = [](const Parameters& p) {
    std::vector<CacheAxis> axes = {CacheAxis::features};
    if (p.integer("bits") < 16) axes.push_back(CacheAxis::bits);
    return axes;
  };
  cache.base_parameters = cskv::latent_base_parameters();
  cache.make_base = cskv::make_latent_base;
  cache.base_version = cskv::base_version;
  method.cache = std::move(cache);
  method.reproduce = cskv::reproduce;
  return method;
}

}  // namespace laconic
