#include "methods/gradients/problems/convex_set.h"

#include <array>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/hash.h"

namespace laconic {

std::optional<ConvexSet> read_convex_set(const std::filesystem::path& data, std::string_view name) {
  // Where the file's name is not the set's.
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> files{
      {{"mushrooms", "agaricus.txt.train"},
       {"phishing", "phishing_first8404"},
       {"ijcnn1", "ijcnn1.train20k"}}};
  std::string_view file = name;
  for (const auto& [set, named] : files) {
    if (set == name) file = named;
  }
  const std::filesystem::path path = data / "convex" / name / file;
  if (data.empty() || !std::filesystem::exists(path)) return std::nullopt;
  const std::string text = read_text_file(path, std::size_t{1} << 30);
  return ConvexSet{read_libsvm(path), path, to_hex(xxh3_128(as_byte_span(text)))};
}

}  // namespace laconic
