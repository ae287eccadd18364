#include "engine/base/plugin.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "engine/base/error.h"

namespace laconic {
namespace {

const char here = 0;  // an address inside liblaconic

std::vector<std::filesystem::path> places_of(const PluginPlace& place) {
  if (const char* chosen = std::getenv(place.environment); chosen != nullptr && *chosen != '\0')
    return {chosen};
  std::vector<std::filesystem::path> folders, paths;
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  if (!program.empty()) folders.push_back(program.parent_path());
  Dl_info library;
  if (dladdr(&here, &library) != 0 && library.dli_fname != nullptr) {
    folders.push_back(std::filesystem::absolute(library.dli_fname, ignored).parent_path());
  }
  const std::filesystem::path own = place.folder;
  for (const std::filesystem::path& folder : folders) {
    // In a build tree the programs, the library and the plug-ins have folders of their own.
    for (const std::filesystem::path& relative :
         {std::filesystem::path("."), own, std::filesystem::path("..") / own,
          std::filesystem::path("../..") / own, std::filesystem::path("../lib")}) {
      paths.push_back((folder / relative / place.library).lexically_normal());
    }
  }
  return paths;
}

}  // namespace

Plugin::Plugin(const PluginPlace& place, const char* version_symbol, int version) : advice_(place.advice) {
  for (const std::filesystem::path& path : places_of(place)) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) continue;
    where_ = path.string();
    library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr)
      fail(ErrorKind::unsupported, std::string("cannot be opened: ") + dlerror(), where_, advice_);
    break;
  }
  const char* chosen = std::getenv(place.environment);
  if (library_ == nullptr && (chosen == nullptr || *chosen == '\0')) {
    where_ = place.library;
    library_ = dlopen(place.library, RTLD_NOW | RTLD_LOCAL);
  }
  if (library_ == nullptr) {
    fail(ErrorKind::unsupported, std::string(place.what) + ", which is not here", place.library, advice_);
  }
  const auto version_of = reinterpret_cast<int (*)()>(dlsym(library_, version_symbol));
  if (version_of == nullptr || version_of() != version)
    fail(ErrorKind::unsupported, "belongs to another version of Laconic", where_, advice_);
}

void* Plugin::symbol(const char* name) const {
  void* found = dlsym(library_, name);
  if (found == nullptr) fail(ErrorKind::unsupported, std::string("has no ") + name, where_, advice_);
  return found;
}

}  // namespace laconic
