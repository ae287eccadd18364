// A log of JSON objects, one a line, flushed as they are written. A run that is resumed goes on in its file
// without the lines that lie beyond where it resumes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace laconic {

class JsonLines {
 public:
  // `counter`: the member that says how far a line is ("step", "round").
  JsonLines(std::filesystem::path path, std::string counter);

  // A new file; or, after some step, the old one without later lines and without its end ({"event": "end"}).
  void begin(std::int64_t after);
  void line(const nlohmann::json& value);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  [[noreturn]] void refused(int error) const;

  std::filesystem::path path_;
  std::string counter_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace laconic
