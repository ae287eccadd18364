#include "methods/cache/trial_bases.h"

#include <fmt/format.h>

#include "engine/base/hash.h"
#include "methods/cache/trained_base.h"
#include "methods/method.h"
#include "runtime/fingerprint.h"

namespace laconic {
namespace {

Parameters base_settings(std::string_view slug, const TrialBases::Settings& settings) {
  Parameters parameters(method_named(slug).cache->base_parameters);
  for (const auto& [name, value] : settings) parameters.set(name, value);
  return parameters;
}

}  // namespace

TrialBases::TrialBases(const ReproduceRequest& request, const TrialSubject& subject)
    : request_(request), subject_(subject) {
  StreamingHash128 hash;
  hash.update(to_hex(fingerprint(subject.model)));
  hash.update(subject.calibration);
  data_hash_ = to_hex(hash.digest());
}

std::string TrialBases::key(std::string_view slug, const Settings& settings, std::uint64_t seed) const {
  return fmt::format("base {} version {} {} seed {}", data_hash_, method_named(slug).cache->base_version,
                     settings_text(slug, base_settings(slug, settings)), seed);
}

std::filesystem::path TrialBases::directory(std::string_view slug, const Settings& settings,
                                            std::uint64_t seed) const {
  const std::filesystem::path directory =
      request_.cache / "kv-bases" / fmt::format("{:016x}", xxh3_64(key(slug, settings, seed)));
  if (std::filesystem::exists(base_file(directory, slug))) return directory;
  CacheBaseRequest making;
  making.model = subject_.model;
  making.directory = directory;
  making.parameters = base_settings(slug, settings);
  making.text = subject_.calibration;
  making.seed = seed;
  making.replace = true;
  making.progress = request_.progress;
  method_named(slug).cache->make_base(making);
  return directory;
}

ArmNumbers arm_with_base(CacheTrial& trial, const TrialBases& bases, std::string_view slug,
                         const TrialBases::Settings& settings, std::string_view pipeline, std::uint64_t seed,
                         std::optional<std::int64_t> exact_window) {
  const std::vector<CacheStageText> stages = parse_cache_pipeline(pipeline);
  std::string what =
      fmt::format("pipeline window {}\n{}", exact_window.value_or(trial.options().exact_window),
                  bases.key(slug, settings, seed));
  for (const CacheStageText& stage : stages)
    what += "\n" + settings_text(stage.method->slug, stage.parameters);
  const std::string made = base_settings(slug, settings).canonical(std::string(slug));
  return trial.other_arm(fmt::format("{} on {}", canonical_text(stages), made), what, seed, [&] {
    const CacheFactory factory =
        trial.factory(pipeline, seed, exact_window, bases.directory(slug, settings, seed));
    return trial.measure([&] { return factory.make(); }, seed);
  });
}

}  // namespace laconic
