#include "lab/training/checkpoint.h"

#include <charconv>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/tensor/safetensors.h"

namespace laconic::lab {
namespace {

struct NamedState {
  const char* name;
  at::Tensor* tensor;
};

std::array<NamedState, 3> state_of(AdamW& optimizer) {
  return {{{"values", &optimizer.values()},
           {"first_moment", &optimizer.first_moment()},
           {"second_moment", &optimizer.second_moment()}}};
}

}  // namespace

void save_checkpoint(const std::filesystem::path& file, const std::string& run, AdamW& optimizer) {
  std::vector<SafetensorsItem> items;
  for (const NamedState& state : state_of(optimizer)) {
    items.push_back(
        {state.name, TensorView{DType::f32,
                                {state.tensor->numel()},
                                reinterpret_cast<const std::byte*>(state.tensor->data_ptr<float>())}});
  }
  write_safetensors(file, items, {{"run", run}, {"step", std::to_string(optimizer.steps())}});
}

std::int64_t load_checkpoint(const std::filesystem::path& file, const std::string& run, AdamW& optimizer) {
  if (!std::filesystem::exists(file)) return 0;
  const SafetensorsFile stored(file);
  const auto& metadata = stored.header().metadata;
  const auto described = metadata.find("run"), counted = metadata.find("step");
  if (described == metadata.end() || counted == metadata.end()) {
    fail(ErrorKind::input, "not a checkpoint of a training run", file.string(), "remove it to start again");
  }
  if (described->second != run) {
    fail(ErrorKind::usage, "an unfinished run with other settings is here", file.string(),
         "remove its directory, or use the settings it was started with");
  }
  std::int64_t step = 0;
  const std::string& digits = counted->second;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() || step < 0) {
    fail(ErrorKind::input, "the step of the checkpoint is no number", file.string(),
         "remove it to start again");
  }
  for (const NamedState& state : state_of(optimizer)) {
    const TensorView view = stored.tensor(state.name);
    if (view.dtype != DType::f32 || view.elements() != state.tensor->numel()) {
      fail(ErrorKind::input, "the checkpoint has another number of parameters", file.string(),
           "remove it to start again");
    }
    std::memcpy(state.tensor->data_ptr<float>(), view.data, view.bytes());
  }
  optimizer.set_steps(step);
  return step;
}

}  // namespace laconic::lab
