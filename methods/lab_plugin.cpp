#include "methods/lab_plugin.h"

#include <dlfcn.h>

#include <cstdlib>
#include <mutex>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr const char* library_name = "liblaconic_lab.so";
constexpr std::string_view build_advice =
    "build it with ./laconic lab (it needs LibTorch: package libtorch-dev)";

std::vector<std::filesystem::path> candidates() {
  if (const char* chosen = std::getenv("LACONIC_LAB"); chosen != nullptr && *chosen != '\0') return {chosen};
  std::vector<std::filesystem::path> paths;
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  std::vector<std::filesystem::path> folders;
  if (!program.empty()) folders.push_back(program.parent_path());
  Dl_info library;
  if (dladdr(reinterpret_cast<const void*>(&load_lab), &library) != 0 && library.dli_fname != nullptr) {
    folders.push_back(std::filesystem::absolute(library.dli_fname, ignored).parent_path());
  }
  for (const std::filesystem::path& folder : folders) {
    // In a build tree the CLI, the library and the lab have folders of their own.
    for (const char* relative : {".", "lab", "../lab", "../../lab", "../lib"}) {
      paths.push_back((folder / relative / library_name).lexically_normal());
    }
  }
  return paths;
}

LabPlugin& open_lab() {
  void* library = nullptr;
  std::string where;
  for (const std::filesystem::path& path : candidates()) {
    if (!std::filesystem::exists(path)) continue;
    where = path.string();
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
      fail(ErrorKind::unsupported, std::string("the lab cannot be opened: ") + dlerror(), where,
           build_advice);
    break;
  }
  if (library == nullptr && std::getenv("LACONIC_LAB") == nullptr) {
    where = library_name;
    library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
  }
  if (library == nullptr) {
    fail(ErrorKind::unsupported, "this needs the training plug-in, which is not here", library_name,
         build_advice);
  }
  const auto version = reinterpret_cast<laconic_lab_version_function>(dlsym(library, "laconic_lab_version"));
  const auto open = reinterpret_cast<laconic_lab_function>(dlsym(library, "laconic_lab"));
  if (version == nullptr || open == nullptr || version() != lab_plugin_version) {
    fail(ErrorKind::unsupported, "the lab belongs to another version of Laconic", where, build_advice);
  }
  return *open();
}

}  // namespace

LabPlugin& load_lab() {
  static std::mutex mutex;
  static LabPlugin* plugin = nullptr;  // stays open: LibTorch cannot be unloaded
  const std::lock_guard lock(mutex);
  if (plugin == nullptr) plugin = &open_lab();
  return *plugin;
}

}  // namespace laconic
