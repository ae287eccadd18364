// CacheGen: a cache as a bitstream. Keys and values become whole numbers, finer in early layers, and go
// through an entropy coder with a distribution for every channel; contexts are cut into chunks that can each
// be decoded alone (methods/cache/context_store.h keeps them in files, controller.h chooses their levels).
#include <fmt/format.h>

#include "engine/base/error.h"
#include "methods/cache/cachegen/coded_rows.h"
#include "methods/cache/cachegen/profile.h"
#include "methods/cache/cachegen/profile_file.h"
#include "methods/cache/cachegen/reproduce.h"
#include "methods/method.h"

namespace laconic {
namespace {

// Rows that stay exact until so many have come together: a record pays for its tables once.
constexpr std::int64_t usual_flush = 64;

CodedRowForm::Reference reference_named(const std::string& name) {
  return name == "auto"  ? CodedRowForm::Reference::automatic
         : name == "yes" ? CodedRowForm::Reference::yes
                         : CodedRowForm::Reference::no;
}

[[noreturn]] void refuse_setting(std::string_view what, std::string_view advice) {
  fail(ErrorKind::usage, what, "cachegen", advice);
}

}  // namespace

CodedRowForm cachegen_form(const Parameters& p) {
  using Form = CodedRowForm;
  Form form;
  form.mode = p.text("mode") == "direct" ? Form::Mode::direct : Form::Mode::delta;
  form.level = static_cast<int>(p.integer("level"));
  const std::string& tables = p.text("tables");
  form.tables = tables == "profile"    ? Form::Tables::profile
                : tables == "adaptive" ? Form::Tables::adaptive
                : tables == "shared"   ? Form::Tables::shared
                : tables == "dense"    ? Form::Tables::dense
                                       : Form::Tables::chunk;
  form.group = p.integer("group");
  form.delta_keys = reference_named(p.text("delta_k"));
  form.delta_values = reference_named(p.text("delta_v"));
  form.turned_mean = p.boolean("turn");
  form.layer_steps = p.text("steps") == "layers";
  form.bins = p.text("bins") == "70b" ? BinTable::layers_80 : BinTable::layers_32;
  form.channel_scale = p.text("key_scale") == "channel";
  form.f32_parameters = p.text("scales") == "f32";
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
      {"mode",
       Type::choice,
       "delta",
       0,
       0,
       {"delta", "direct"},
       "delta: uniform steps on differences to a reference (the paper); direct: bins on the largest "
       "magnitude "
       "of a token (the released code)"},
      {"tables",
       Type::choice,
       "chunk",
       0,
       0,
       {"chunk", "profile", "adaptive", "shared", "dense"},
       "distributions: sent with every chunk, learnt before (laconic kv profile), learnt while coding, one "
       "for all channels, or the released code's"},
      {"group", Type::integer, "10", 2, 4096, {}, "mode=delta: tokens that share an anchor"},
      {"delta_k",
       Type::choice,
       "auto",
       0,
       0,
       {"auto", "yes", "no"},
       "mode=delta: code keys as differences to anchors; auto: where these vary less than 0.8 of the keys"},
      {"delta_v", Type::choice, "auto", 0, 0, {"auto", "yes", "no"}, "mode=delta: the same for values"},
      {"turn",
       Type::boolean,
       "true",
       0,
       0,
       {},
       "mode=delta: code keys about their mean before rotary turning, where that leaves less than anchors"},
      {"steps",
       Type::choice,
       "layers",
       0,
       0,
       {"layers", "equal"},
       "mode=delta: finer steps in early layers, or the same in all"},
      {"bins",
       Type::choice,
       "7b",
       0,
       0,
       {"7b", "70b"},
       "mode=direct: bins of the layers as released for a model of 32 or of 80 layers, scaled to the depth"},
      {"key_scale",
       Type::choice,
       "token",
       0,
       0,
       {"token", "channel"},
       "mode=direct: what shares a scale of keys"},
      {"scales", Type::choice, "f16", 0, 0, {"f16", "f32"}, "type of steps and scales"},
      {"fidelity",
       Type::choice,
       "corrected",
       0,
       0,
       {"corrected", "official"},
       "official: mode=direct, boundaries of 32 layers at any depth, f32 scales, dense tables, as the "
       "released "
       "code"}};
  method.cache = CacheMethod{{CacheAxis::bits},
                             false,
                             true,
                             false,
                             [](const Parameters& p, const CacheRequest& request) -> CacheStageMaker {
                               const CodedRowForm form = cachegen_form(p);
                               std::shared_ptr<const CodingProfile> profile;
                               if (form.tables == CodedRowForm::Tables::profile)
                                 profile = cachegen_profile(request.model, form);
                               const auto codec = coded_row_codec(p.canonical("cachegen"), form,
                                                                  request.shape.rope, profile);
                               return [codec](std::int64_t, KvStages& stages) {
                                 stages.bits = codec;
                                 stages.window.flush = usual_flush;
                               };
                             },
                             [](const Parameters& p) {
                               return sizes_by(p, "level", {"3", "2", "1"});
                             }};
  return method;
}

}  // namespace laconic
