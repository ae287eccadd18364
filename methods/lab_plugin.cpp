#include "methods/lab_plugin.h"

#include <mutex>

#include "engine/base/plugin.h"

namespace laconic {

LabPlugin& load_lab() {
  static std::mutex mutex;
  static LabPlugin* lab = nullptr;  // stays open: LibTorch cannot be unloaded
  const std::lock_guard lock(mutex);
  if (lab == nullptr) {
    const Plugin plugin({"liblaconic_lab.so", "LACONIC_LAB", "lab", "this needs the training plug-in",
                         "build it with ./laconic lab (it needs LibTorch: package libtorch-dev)"},
                        "laconic_lab_version", lab_plugin_version);
    lab = reinterpret_cast<laconic_lab_function>(plugin.symbol("laconic_lab"))();
  }
  return *lab;
}

}  // namespace laconic
