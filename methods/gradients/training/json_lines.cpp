#include "methods/gradients/training/json_lines.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {

JsonLines::JsonLines(std::filesystem::path path, std::string counter)
    : path_(std::move(path)), counter_(std::move(counter)) {}

void JsonLines::refused(int error) const {
  fail(ErrorKind::io, std::string("cannot be written: ") + std::strerror(error), path_.string());
}

void JsonLines::begin(std::int64_t after) {
  std::string kept;
  if (after > 0 && std::filesystem::exists(path_)) {
    const std::string text = read_text_file(path_);
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = text.find('\n', begin);
      if (end == std::string::npos) break;  // a line that a kill cut short
      const auto json = nlohmann::json::parse(text.substr(begin, end - begin), nullptr, false);
      const bool ends = json.is_object() && json.value("event", "") == "end";
      const bool later = json.is_object() && json.contains(counter_) && json[counter_].is_number_integer() &&
                         json[counter_].get<std::int64_t>() > after;
      if (json.is_object() && !ends && !later) kept += text.substr(begin, end - begin + 1);
      begin = end + 1;
    }
  }
  write_file(path_, std::string_view(kept));
  file_.reset(std::fopen(path_.c_str(), "ab"));
  if (file_ == nullptr) refused(errno);
}

void JsonLines::line(const nlohmann::json& value) {
  require(file_ != nullptr, "a log is begun before its first line");
  const std::string text = value.dump() + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() || std::fflush(file_.get()) != 0)
    refused(errno);
}

}  // namespace laconic
