#pragma once

#include <memory>

#include "methods/gradients/tasks/task_data.h"

namespace laconic::lab {

// A Llama-type language model over windows of text ("lm"): the lab's own, on bytes, or on a byte-level BPE of
// `vocabulary` pieces trained on the training part. Options: layers, width, heads, mlp, context, vocabulary
// (0: bytes), examples and test-examples (windows that are kept).
std::unique_ptr<TrainingTask> make_language_task(const TaskData& data, TaskOptions& options);

}  // namespace laconic::lab
