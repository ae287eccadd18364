// The tasks that reproductions of gradient methods train: small enough for two cores, real where there is
// data.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "methods/gradients/training/training_task.h"
#include "methods/reproduce.h"

namespace laconic {

struct SmallTask {
  std::unique_ptr<TrainingTask> task;
  std::string name;  // "mnist cnn"
  std::string note;  // what a reader must know: what stands in for what
};

// Pictures: mnist with a network of the lab (`model`), or the library's mlp where there is no lab; generated
// classes where there is no data. `layers`: hidden ones of an mlp. `of_model`: further options of the
// network, which an mlp in its place does not take.
SmallTask picture_task(const ReproduceRequest& request, const std::string& model, std::int64_t examples,
                       std::int64_t test_examples, int layers = 1,
                       const std::map<std::string, double>& of_model = {});
// Text: tinyshakespeare with the lab's language model; null `task` where data or lab are missing, and a note
// that says so. `options` as those of TaskRequest.
SmallTask text_task(const ReproduceRequest& request, std::map<std::string, double> options = {});
// Those of a model of 0.12 M parameters on 64 bytes of context: an arm of a thousand steps is half a minute
// on one core. `examples`: windows that are kept, 0: all.
std::map<std::string, double> small_text_options(std::int64_t examples);

// Three, request.seed first; one when quick.
std::vector<std::uint64_t> training_seeds(const ReproduceRequest& request);

}  // namespace laconic
