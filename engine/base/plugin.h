// Libraries that belong to Laconic but are not linked: they need what not every machine has (LibTorch, MPI)
// and are opened on first need.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace laconic {

struct PluginPlace {
  const char* library;      // "liblaconic_lab.so"
  const char* environment;  // the variable that may name the file instead
  const char* folder;       // of the build tree, "lab": looked into beside the program and liblaconic
  std::string_view what;    // "this needs the training plug-in"
  std::string_view advice;  // how to build it
};

class Plugin {
 public:
  // Looks where the environment says, else beside the program and liblaconic, else on the system's path.
  // Throws Error(unsupported) with the advice when it is missing, broken, or `version_symbol`, an
  // int (*)(), does not return `version`. Stays open until the process ends.
  Plugin(const PluginPlace& place, const char* version_symbol, int version);
  // Throws Error(unsupported) when it is missing.
  void* symbol(const char* name) const;

 private:
  void* library_ = nullptr;
  std::string where_;
  std::string advice_;
};

}  // namespace laconic
