#include "methods/cache/cachegen/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "methods/cache/base_run.h"
#include "runtime/cache/run_rows.h"

namespace laconic {
namespace {

constexpr int profile_version = 1;

std::string tensor_of(int level, KvSide side, std::int64_t layer) {
  return fmt::format("level{}.{}.{}", level, side == KvSide::keys ? "keys" : "values", layer);
}

std::string_view name_of_choice(CodedRowForm::Reference reference) {
  switch (reference) {
    case CodedRowForm::Reference::automatic:
      return "auto";
    case CodedRowForm::Reference::yes:
      return "yes";
    case CodedRowForm::Reference::no:
      return "no";
  }
  return "";
}

CodedRowForm::Reference choice_named(const std::string& name) {
  return name == "auto"  ? CodedRowForm::Reference::automatic
         : name == "yes" ? CodedRowForm::Reference::yes
                         : CodedRowForm::Reference::no;
}

std::string settings_of(const CodedRowForm& form) {
  if (form.mode == CodedRowForm::Mode::direct) {
    return fmt::format("mode=direct,bins={},key_scale={}",
                       form.unscaled_bins                 ? "unscaled"
                       : form.bins == BinTable::layers_80 ? "70b"
                                                          : "7b",
                       form.channel_scale ? "channel" : "token");
  }
  return fmt::format("mode=delta,group={},delta_k={},delta_v={},turn={},steps={}", form.group,
                     name_of_choice(form.delta_keys), name_of_choice(form.delta_values), form.turned_mean,
                     form.layer_steps ? "layers" : "equal");
}

std::vector<float> rows_side_by_side(const HeadMatrices& heads) {
  const std::int64_t rows = heads.front().rows;
  std::int64_t columns = 0, at = 0;
  for (const HeadMatrix& head : heads) columns += head.width;
  std::vector<float> joint(static_cast<std::size_t>(rows * columns));
  for (const HeadMatrix& head : heads) {
    for (std::int64_t r = 0; r < rows; ++r)
      std::copy(head.row(r), head.row(r) + head.width, joint.data() + r * columns + at);
    at += head.width;
  }
  return joint;
}

// The numbers that all windows make of one side of a layer.
struct SeenNumbers {
  std::optional<RowSymbols::Form> form;
  std::vector<std::int32_t> numbers;
};

void see_window(const BaseRun& run, const CodedRowForm& form, std::span<const std::int32_t> window,
                std::vector<SeenNumbers>& seen) {
  const KvShape shape = run.shape();
  const auto tokens = static_cast<std::int64_t>(window.size());
  const auto cache = make_exact_cache(shape, DType::f16);
  run.model().forward(window, cache.get(), true);
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    if (cache->layer(layer).dropped) {
      fail(ErrorKind::unsupported, fmt::format("attention of layer {} was dropped", layer), "kv train",
           "use cachegen with tables=chunk");
    }
    const RunRows rows = run_rows(cache->layer(layer), 0, tokens);
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      SeenNumbers& to = seen[static_cast<std::size_t>(2 * layer + (side == KvSide::keys ? 0 : 1))];
      RowContext context;
      context.layer = layer;
      context.layers = shape.layers;
      context.side = side;
      KeyTurns turns;
      if (side == KvSide::keys && shape.rope != nullptr)
        turns = KeyTurns(*shape.rope, shape.head_dim, 0, tokens);
      const std::vector<float> x = rows_side_by_side(side == KvSide::keys ? rows.keys : rows.values);
      // The first window chooses the reference, so that all numbers of a table are of one kind.
      const RowSymbols symbols = row_symbols(x.data(), tokens, shape.kv_heads * shape.head_dim,
                                             to.form ? with_reference(form, *to.form) : form, context, turns);
      if (!to.form) to.form = symbols.form;
      if (symbols.form != *to.form) continue;
      to.numbers.insert(to.numbers.end(), symbols.numbers.begin(), symbols.numbers.end());
    }
  }
}

}  // namespace

CodingProfile::CodingProfile(const TrainedBase& base, const CodedRowForm& form, std::int64_t layers,
                             std::int64_t columns)
    : columns_(columns) {
  const std::string where = base.path().string();
  const std::string advice = "learn another one with laconic kv train -m cachegen, or use tables=chunk";
  if (base.fact("settings") != settings_of(form)) {
    fail(ErrorKind::input,
         fmt::format("was learnt with {}, not with {}", base.fact("settings"), settings_of(form)), where,
         advice);
  }
  if (base.fact("columns") != std::to_string(columns) || base.fact("layers") != std::to_string(layers)) {
    fail(ErrorKind::input,
         fmt::format("is of {} layers with {} numbers in a row, not of {} with {}", base.fact("layers"),
                     base.fact("columns"), layers, columns),
         where, advice);
  }
  identity_ = xxh3_64(fmt::format("{} {}", base.identity(), form.level));
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      const std::string name = tensor_of(form.level, side, layer);
      const TensorView tensor = base.tensor(name);
      ByteReader reader(tensor.span(), where + " " + name);
      ColumnTables tables = ColumnTables::read(reader, columns);
      const std::uint8_t kind = reader.u8();
      if (kind > static_cast<std::uint8_t>(RowSymbols::Form::channel_bins))
        reader.corrupt("numbers in an unknown form");
      sides_.push_back({static_cast<RowSymbols::Form>(kind), std::move(tables)});
      reader.expect_end();
    }
  }
}

CodingProfile::CodingProfile(std::uint64_t identity, std::int64_t columns, std::vector<Side> sides)
    : identity_(identity), columns_(columns), sides_(std::move(sides)) {
  require(sides_.size() % 2 == 0, "a profile has two sides per layer");
}

const CodingProfile::Side& CodingProfile::side(std::int64_t layer, KvSide side) const {
  return sides_.at(static_cast<std::size_t>(2 * layer + (side == KvSide::keys ? 0 : 1)));
}

std::vector<ParameterSpec> coding_parameters() {
  using Type = ParameterSpec::Type;
  return {
      {"mode",
       Type::choice,
       "delta",
       0,
       0,
       {"delta", "direct"},
       "delta: uniform steps on differences to a reference (the paper); direct: bins on the largest "
       "magnitude of a token (the released code)"},
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
      {"scales", Type::choice, "f16", 0, 0, {"f16", "f32"}, "type of steps and scales"}};
}

CodedRowForm coding_form(const Parameters& p) {
  CodedRowForm form;
  form.mode = p.text("mode") == "direct" ? CodedRowForm::Mode::direct : CodedRowForm::Mode::delta;
  form.group = p.integer("group");
  form.delta_keys = choice_named(p.text("delta_k"));
  form.delta_values = choice_named(p.text("delta_v"));
  form.turned_mean = p.boolean("turn");
  form.layer_steps = p.text("steps") == "layers";
  form.bins = p.text("bins") == "70b" ? BinTable::layers_80 : BinTable::layers_32;
  form.channel_scale = p.text("key_scale") == "channel";
  form.f32_parameters = p.text("scales") == "f32";
  return form;
}

std::vector<ParameterSpec> profile_parameters() {
  std::vector<ParameterSpec> parameters = base_run_parameters();
  for (ParameterSpec& spec : coding_parameters()) parameters.push_back(std::move(spec));
  return parameters;
}

CacheBaseResult learn_profile(const CacheBaseRequest& request) {
  const BaseRun run(request, "cachegen", profile_version);
  const KvShape shape = run.shape();
  const std::int64_t columns = shape.kv_heads * shape.head_dim;
  CodedRowForm form = coding_form(request.parameters);
  BaseWriter writer;
  writer.fact("settings", settings_of(form));
  writer.fact("layers", std::to_string(shape.layers));
  writer.fact("columns", std::to_string(columns));
  const int levels = finest_level - coarsest_level + 1;
  Progress progress(request.progress, "distributions",
                    levels * static_cast<std::int64_t>(run.windows().size()));
  for (form.level = finest_level; form.level >= coarsest_level; --form.level) {
    if (form.mode == CodedRowForm::Mode::direct && form.bins == BinTable::layers_80 && form.level != 2)
      continue;  // published for one level
    std::vector<SeenNumbers> seen(static_cast<std::size_t>(2 * shape.layers));
    for (const std::vector<std::int32_t>& window : run.windows()) {
      see_window(run, form, window, seen);
      progress.advance();
    }
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      for (const KvSide side : {KvSide::keys, KvSide::values}) {
        const SeenNumbers& of = seen[static_cast<std::size_t>(2 * layer + (side == KvSide::keys ? 0 : 1))];
        const auto rows = static_cast<std::int64_t>(of.numbers.size()) / columns;
        ByteWriter bytes;
        ColumnTables::fit(of.numbers.data(), rows, columns, columns, ColumnTables::Choice::smallest, true)
            .write(bytes);
        bytes.u8(static_cast<std::uint8_t>(*of.form));
        writer.add_bytes(tensor_of(form.level, side, layer), bytes.span());
      }
    }
  }
  CacheBaseResult result;
  result.file = run.file();
  result.bytes = writer.write(run.file(), "cachegen", run.fingerprint(), run.made(), request.replace);
  run.done();
  result.notes.emplace_back("tokens", std::to_string(run.tokens()));
  result.notes.emplace_back("settings", settings_of(form));
  return result;
}

}  // namespace laconic
