// A LIBSVM set of the data directory as convex problems take it: all training rows, none held out.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "engine/dataset/libsvm.h"

namespace laconic {

struct ConvexSet {
  SparseExamples examples;
  std::filesystem::path path;
  std::string hash;  // of the file: part of what arms are kept under
};

// "a9a", "w8a", "mushrooms", "phishing", "ijcnn1"; nothing where the directory has no such file.
std::optional<ConvexSet> read_convex_set(const std::filesystem::path& data, std::string_view name);

}  // namespace laconic
