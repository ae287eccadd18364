#include "methods/gradients/l-greco/plan_file.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/json.h"

namespace laconic::l_greco {

std::string plan_text(const std::vector<PlannedLayer>& layers) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const PlannedLayer& layer : layers) {
    all.push_back(
        {{"name", layer.name}, {"level", layer.level}, {"bytes", layer.bytes}, {"error", layer.error}});
  }
  return nlohmann::ordered_json{{"layers", std::move(all)}}.dump(2) + "\n";
}

std::vector<PlannedLayer> parse_plan(std::string_view text, std::string_view where) {
  const nlohmann::json plan = parse_json(text, where);
  const auto refuse = [&](std::string_view what) {
    fail(ErrorKind::input, what, where, "use a file that l-greco wrote with write_plan");
  };
  if (!plan.is_object() || !plan.contains("layers") || !plan["layers"].is_array())
    refuse("is not a plan of layers");
  std::vector<PlannedLayer> layers;
  for (const nlohmann::json& entry : plan["layers"]) {
    const auto text_of = [&](const char* key) -> std::string {
      if (!entry.is_object() || !entry.contains(key) || !entry[key].is_string())
        refuse("has a layer without a name or a level");
      return entry[key].get<std::string>();
    };
    PlannedLayer layer;
    layer.name = text_of("name");
    layer.level = text_of("level");
    if (!entry.contains("bytes") || !entry["bytes"].is_number_unsigned() || !entry.contains("error") ||
        !entry["error"].is_number()) {
      refuse("has a layer without its bytes or its error");
    }
    layer.bytes = entry["bytes"].get<std::uint64_t>();
    layer.error = entry["error"].get<double>();
    if (!std::isfinite(layer.error)) refuse("has an error that is not finite");
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace laconic::l_greco
