#include "methods/cache/base_run.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/cache/trained_base.h"
#include "runtime/calibration/calibration.h"
#include "runtime/fingerprint.h"

namespace laconic {
namespace {

std::vector<std::vector<std::int32_t>> base_windows(const CacheBaseRequest& request,
                                                    const ModelConfig& config) {
  if (request.text.empty())
    fail(ErrorKind::usage, "no text to calibrate on", "--text",
         "pass a text file like the one the model will see");
  CalibrationOptions options;
  options.sequences = request.parameters.integer("calibration-sequences");
  options.window_tokens = request.parameters.integer("calibration-window");
  if (options.window_tokens == 0) options.window_tokens = std::min<std::int64_t>(config.max_positions, 1024);
  if (options.window_tokens > config.max_positions) {
    fail(ErrorKind::usage,
         fmt::format("windows of {} tokens, the model has {} positions", options.window_tokens,
                     config.max_positions),
         "calibration-window");
  }
  options.seed = request.seed;
  const auto tokenizer = Tokenizer::load(request.model);
  return draw_calibration_windows(*tokenizer, config, request.text, options);
}

}  // namespace

std::vector<ParameterSpec> base_run_parameters() {
  return {{"calibration-sequences",
           ParameterSpec::Type::integer,
           "64",
           1,
           1 << 20,
           {},
           "windows drawn from the text"},
          {"calibration-window",
           ParameterSpec::Type::integer,
           "0",
           0,
           1 << 20,
           {},
           "tokens of a window; 0: the model's context, at most 1024"}};
}

BaseRun::BaseRun(const CacheBaseRequest& request, std::string_view slug, int version)
    : model_(Transformer::load(request.model)),
      windows_(base_windows(request, model_.config())),
      fingerprint_(to_hex(laconic::fingerprint(request.model))),
      made_(request.parameters.canonical(std::string(slug))),
      file_(base_file(request.directory, request.name.empty() ? slug : std::string_view(request.name))) {
  if (!request.replace && std::filesystem::exists(file_))
    fail(ErrorKind::usage, "is there already", file_.string(), "--force replaces it, --name keeps both");
  folder_ = file_;
  folder_.replace_extension(".partial");
  StreamingHash128 hash;
  for (const auto& window : windows_) hash.update(std::as_bytes(std::span(window)));
  const std::string key = fmt::format("{} version {} seed {}\nmodel {}\nwindows {}\n", made_, version,
                                      request.seed, fingerprint_, to_hex(hash.digest()));
  const std::filesystem::path settings = folder_ / "settings.txt";
  if (std::filesystem::exists(folder_)) {
    const bool same = std::filesystem::exists(settings) && read_text_file(settings) == key;
    if (!same && !request.replace) {
      fail(ErrorKind::usage, "an unfinished base with other settings is here", folder_.string(),
           "--force starts anew; or use the settings it was started with");
    }
    if (!same) std::filesystem::remove_all(folder_);
  }
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) fail(ErrorKind::io, "cannot be created: " + error.message(), folder_.string());
  write_file(settings, key);
}

std::int64_t BaseRun::tokens() const {
  std::int64_t sum = 0;
  for (const auto& window : windows_) sum += static_cast<std::int64_t>(window.size());
  return sum;
}

std::filesystem::path BaseRun::folder() const { return folder_; }

std::optional<BaseRun::Arrays> BaseRun::finished(std::string_view part) const {
  const std::filesystem::path file = folder_ / fmt::format("{}.safetensors", part);
  if (!std::filesystem::exists(file)) return std::nullopt;
  const SafetensorsFile stored(file);
  Arrays arrays;
  for (std::size_t i = 0; stored.find(std::to_string(i)) != nullptr; ++i)
    arrays.push_back(stored.tensor(std::to_string(i)).to_f32());
  return arrays;
}

void BaseRun::finish(std::string_view part, const Arrays& arrays) const {
  std::vector<SafetensorsItem> items;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    items.push_back({std::to_string(i), TensorView{DType::f32,
                                                   {static_cast<std::int64_t>(arrays[i].size())},
                                                   reinterpret_cast<const std::byte*>(arrays[i].data())}});
  }
  write_safetensors(folder_ / fmt::format("{}.safetensors", part), items);
}

void BaseRun::done() const {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::vector<float> finite_weight(const Transformer& model, std::int64_t layer, LinearSlot slot) {
  const Tensor weight = model.block(layer).linear[static_cast<std::size_t>(slot)]->expand();
  require_finite(weight.view(), linear_name(layer, slot));
  return weight.view().to_f32();
}

}  // namespace laconic
