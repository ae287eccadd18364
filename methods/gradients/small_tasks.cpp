#include "methods/gradients/small_tasks.h"

#include <utility>

#include "engine/base/error.h"

namespace laconic {

SmallTask picture_task(const ReproduceRequest& request, const std::string& model, std::int64_t examples,
                       std::int64_t test_examples, int layers,
                       const std::map<std::string, double>& of_model) {
  TaskRequest wish;
  wish.data = request.data;
  wish.seed = request.seed;
  wish.options = {{"examples", static_cast<double>(examples)},
                  {"test-examples", static_cast<double>(test_examples)}};
  const auto made = [&](const std::string& dataset, const std::string& name, const std::string& note) {
    wish.dataset = dataset;
    wish.model = name;
    TaskRequest full = wish;
    if (name == "mlp") full.options["layers"] = layers;
    if (name == model) full.options.insert(of_model.begin(), of_model.end());
    return SmallTask{make_training_task(full), dataset + " " + name, note};
  };
  if (request.data.empty()) return made("synthetic-classes", "mlp", "no data directory: generated classes");
  try {
    return made("mnist", model, "");
  } catch (const Error& error) {
    // No lab in this build; anything else is told.
    if (error.kind() != ErrorKind::unsupported && error.kind() != ErrorKind::usage) throw;
    return made("mnist", "mlp",
                "mlp instead of " + model + ", which the lab would bring: " + std::string(error.what()));
  }
}

SmallTask text_task(const ReproduceRequest& request, std::map<std::string, double> options) {
  if (request.data.empty()) return {nullptr, "", "no data directory: nothing was trained on text"};
  TaskRequest wish;
  wish.data = request.data;
  wish.seed = request.seed;
  wish.dataset = "tinyshakespeare";
  wish.model = "lm";
  wish.options = std::move(options);
  try {
    return {make_training_task(wish), "tinyshakespeare lm", ""};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::unsupported && error.kind() != ErrorKind::usage) throw;
    return {nullptr, "", "nothing was trained on text: " + std::string(error.what())};
  }
}

std::map<std::string, double> small_text_options(std::int64_t examples) {
  return {{"layers", 2}, {"width", 64},   {"heads", 2},
          {"mlp", 192},  {"context", 64}, {"examples", static_cast<double>(examples)}};
}

std::vector<std::uint64_t> training_seeds(const ReproduceRequest& request) {
  std::vector<std::uint64_t> seeds = {request.seed};
  if (request.scale != ReproduceRequest::Scale::quick)
    seeds.insert(seeds.end(), {request.seed + 1, request.seed + 2});
  return seeds;
}

}  // namespace laconic
