// CacheGen: a cache as a bitstream. Keys and values become whole numbers, finer in early layers, and go
// through an entropy coder with a distribution for every channel; contexts are cut into chunks that can each
// be decoded alone (methods/cache/context_store.h keeps them in files, controller.h chooses their levels).
#include <fmt/format.h>

#include "engine/base/error.h"
#include "methods/cache/cachegen/profile.h"
#include "methods/cache/cachegen/reproduce.h"
#include "methods/cache/cachegen/settings.h"
#include "methods/method.h"

namespace laconic {
namespace {

// Rows that stay exact until so many have come together: a record pays for its tables once.
constexpr std::int64_t usual_flush = 64;

[[noreturn]] void refuse_setting(std::string_view what, std::string_view advice) {
  fail(ErrorKind::usage, what, "cachegen", advice);
}

CacheStageMaker make_cachegen(const Parameters& p, const CacheRequest& request) {
  const CodedRowForm form = cachegen_form(p);
  std::shared_ptr<const CodingProfile> profile;
  if (form.tables == CodedRowForm::Tables::profile) {
    const TrainedBase base(request, "cachegen", p.text("base"));
    profile = std::make_shared<const CodingProfile>(base, form, request.shape.layers,
                                                    request.shape.kv_heads * request.shape.head_dim);
  }
  const auto codec = coded_row_codec(p.canonical("cachegen"), form, request.shape.rope, profile);
  return [codec](std::int64_t, KvStages& stages) {
    stages.bits = codec;
    stages.window.flush = usual_flush;
  };
}

}  // namespace

CodedRowForm cachegen_form(const Parameters& p) {
  using Form = CodedRowForm;
  Form form = coding_form(p);
  form.level = static_cast<int>(p.integer("level"));
  const std::string& tables = p.text("tables");
  form.tables = tables == "profile"    ? Form::Tables::profile
                : tables == "adaptive" ? Form::Tables::adaptive
                : tables == "shared"   ? Form::Tables::shared
                : tables == "dense"    ? Form::Tables::dense
                                       : Form::Tables::chunk;
  if (p.text("fidelity") == "official") {
    if (p.is_set("mode") && form.mode != Form::Mode::direct)
      refuse_setting("the released code has only mode=direct", "leave out mode or fidelity");
    form.mode = Form::Mode::direct;
    if (!p.is_set("tables")) form.tables = Form::Tables::dense;
    form.unscaled_bins = form.bins == BinTable::layers_32;
    form.f32_parameters = true;
  }
  if (form.tables == Form::Tables::dense && form.mode != Form::Mode::direct)
    refuse_setting("dense tables are of bins", "use mode=direct or tables=chunk");
  if (form.bins == BinTable::layers_80 && form.level != 2)
    refuse_setting("the bins of the 70b model were published for one level", "use level=2");
  return form;
}

MethodDescription describe_cachegen() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "cachegen";
  method.card = 31;
  method.title = "CacheGen: KV Cache Compression and Streaming for Fast Large Language Model Serving";
  method.paper =
      "Liu, Li, Cheng, Ray, Huang, Zhang, Du, Yao, Lu, Ananthanarayanan, Maire, Hoffmann, Holtzman, Jiang, "
      "SIGCOMM 2024, arXiv 2310.07240";
  method.subject = "cache";
  method.summary = "rows as an entropy-coded bitstream with a distribution for every channel, in levels";
  method.parameters = {
      {"level", Type::integer, "2", coarsest_level, finest_level, {}, "3 finest, 1 coarsest"},
      {"tables",
       Type::choice,
       "chunk",
       0,
       0,
       {"chunk", "profile", "adaptive", "shared", "dense"},
       "distributions: sent with every chunk, learnt before (laconic kv train -m cachegen), learnt while "
       "coding, one for all channels, or the released code's"},
      {"base", Type::text, "cachegen", 0, 0, {}, "tables=profile: their name, kv/NAME.safetensors"},
      {"fidelity",
       Type::choice,
       "corrected",
       0,
       0,
       {"corrected", "official"},
       "official: mode=direct, boundaries of 32 layers at any depth, f32 scales, dense tables, as the "
       "released code"}};
  for (ParameterSpec& spec : coding_parameters()) method.parameters.push_back(std::move(spec));
  CacheMethod cache{{CacheAxis::bits}, false, true, false, make_cachegen, [](const Parameters& p) {
                      return sizes_by(p, "level", {"3", "2", "1"});
                    }};
  cache.base_parameters = profile_parameters();
  cache.make_base = learn_profile;
  method.cache = std::move(cache);
  method.reproduce = cachegen::reproduce;
  return method;
}

}  // namespace laconic
