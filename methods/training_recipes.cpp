#include "engine/base/error.h"
#include "methods/lab_plugin.h"

namespace laconic {

TrainLanguageModelRequest training_recipe(std::string_view name) {
  TrainLanguageModelRequest request;
  if (name == "stories") return request;
  if (name != "long") fail(ErrorKind::usage, "no such recipe", name, "there are \"stories\" and \"long\"");
  request.layers = 5;
  request.hidden = 256;
  request.heads = 4;
  request.kv_heads = 2;
  request.head_dim = 64;
  request.mlp = 512;
  request.vocabulary = 1536;
  request.context = 1024;
  request.split_digits = true;
  request.stories = 12000;
  request.steps = 5000;
  request.batch_tokens = 2048;
  request.learning_rate = 2e-3;
  request.final_learning_rate = 0.05;
  request.warmup_steps = 100;
  request.weight_decay = 0.05;
  request.induction_start = true;
  // Short windows first: a question that stands near its fact is how looking up is learned.
  request.curriculum = {
      {128, 0.2, 0.2, 0.1}, {256, 0.2, 0.35, 0.3}, {512, 0.25, 0.45, 0.35}, {1024, 0.35, 0.45, 0.35}};
  request.answer_weight = 2;
  request.given_weight = 0.1;
  return request;
}

}  // namespace laconic
