#include "methods/cache/cachegen/profile_file.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "runtime/cache/run_rows.h"

namespace laconic {
namespace {

// One matrix [rows, columns] over all heads.
std::vector<float> joint_rows(const HeadMatrices& heads) {
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

}  // namespace

std::filesystem::path cachegen_profile_path(const std::filesystem::path& model, const CodedRowForm& form) {
  return model / "kv" /
         fmt::format("cachegen-{}-{}.profile", form.mode == CodedRowForm::Mode::direct ? "direct" : "delta",
                     form.level);
}

std::shared_ptr<const CodingProfile> cachegen_profile(const std::filesystem::path& model,
                                                      const CodedRowForm& form) {
  const std::filesystem::path path = cachegen_profile_path(model, form);
  const std::string advice = "learn one with laconic kv profile, or use tables=chunk";
  if (model.empty() || !std::filesystem::exists(path))
    fail(ErrorKind::input, "there is no profile of these settings", path.string(), advice);
  auto profile = std::make_shared<const CodingProfile>(CodingProfile::load(path));
  if (profile->settings() != profile_settings(form)) {
    fail(ErrorKind::input,
         fmt::format("the profile was learnt with other settings: {}, not {}", profile->settings(),
                     profile_settings(form)),
         path.string(), advice);
  }
  return profile;
}

CodingProfile learn_profile(const Transformer& model, const Hash128& fingerprint, const CodedRowForm& form,
                            std::span<const std::vector<std::int32_t>> windows,
                            const ProgressListener& listener) {
  require(!windows.empty() && !windows.front().empty(), "a profile is learnt from tokens");
  const KvShape shape = model.kv_shape();
  const std::int64_t columns = shape.kv_heads * shape.head_dim;
  struct Seen {
    std::optional<RowSymbols::Form> form;
    std::vector<std::int32_t> numbers;
  };
  std::vector<Seen> seen(static_cast<std::size_t>(2 * shape.layers));
  Progress progress(listener, "profile", static_cast<std::int64_t>(windows.size()));
  for (const std::vector<std::int32_t>& window : windows) {
    const auto tokens = static_cast<std::int64_t>(window.size());
    const auto cache = make_exact_cache(shape, DType::f16);
    model.forward(window, cache.get(), true);
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      if (cache->layer(layer).dropped)
        fail(ErrorKind::unsupported, fmt::format("attention of layer {} was dropped", layer), "kv profile",
             "use tables=chunk");
      const RunRows run = run_rows(cache->layer(layer), 0, tokens);
      for (const KvSide side : {KvSide::keys, KvSide::values}) {
        Seen& to = seen[static_cast<std::size_t>(2 * layer + (side == KvSide::keys ? 0 : 1))];
        RowContext context;
        context.layer = layer;
        context.layers = shape.layers;
        context.side = side;
        KeyTurns turns;
        if (side == KvSide::keys && shape.rope != nullptr)
          turns = KeyTurns(*shape.rope, shape.head_dim, 0, tokens);
        const std::vector<float> x = joint_rows(side == KvSide::keys ? run.keys : run.values);
        // The first window chooses the reference, so that all numbers of a table are of one kind.
        CodedRowForm used = form;
        if (to.form && form.mode == CodedRowForm::Mode::delta) used = with_reference(form, *to.form);
        const RowSymbols symbols = row_symbols(x.data(), tokens, columns, used, context, turns);
        to.form = symbols.form;
        to.numbers.insert(to.numbers.end(), symbols.numbers.begin(), symbols.numbers.end());
      }
    }
    progress.advance();
  }
  std::vector<CodingProfile::Side> sides;
  for (const Seen& side : seen) {
    const auto rows = static_cast<std::int64_t>(side.numbers.size()) / columns;
    sides.push_back({*side.form, ColumnTables::fit(side.numbers.data(), rows, columns, columns,
                                                   ColumnTables::Choice::smallest, true)});
  }
  return CodingProfile(profile_settings(form), fingerprint, shape.layers, columns, std::move(sides));
}

}  // namespace laconic
