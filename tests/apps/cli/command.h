// Runs the built command line as a user would.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/files.h"

namespace laconic {

struct CommandResult {
  int code = -1;  // of exit; 1000 + signal when it was killed
  std::string out, err;
};

class Command {
 public:
  // `in_child` runs between fork and exec; when it returns false the child exits with 99.
  Command(const std::filesystem::path& scratch, const std::vector<std::string>& arguments,
          const std::function<bool()>& in_child = {})
      : out_(scratch / "stdout"), err_(scratch / "stderr") {
    std::vector<std::string> words = {LACONIC_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    child_ = ::fork();
    if (child_ != 0) return;
    const auto redirect = [](const std::filesystem::path& path, int descriptor) {
      const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      ::dup2(file, descriptor);
    };
    redirect(out_, STDOUT_FILENO);
    redirect(err_, STDERR_FILENO);
    if (in_child && !in_child()) ::_exit(99);
    ::execv(pointers[0], pointers.data());
    ::_exit(98);
  }

  pid_t pid() const { return child_; }
  // True while it runs; afterwards `finish` returns at once.
  bool running() {
    if (!ended_ && ::waitpid(child_, &status_, WNOHANG) == child_) ended_ = true;
    return !ended_;
  }
  CommandResult finish() {
    if (!ended_) ::waitpid(child_, &status_, 0);
    ended_ = true;
    return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 1000 + WTERMSIG(status_), read_text_file(out_),
            read_text_file(err_)};
  }

 private:
  std::filesystem::path out_, err_;
  pid_t child_ = -1;
  bool ended_ = false;
  int status_ = 0;
};

}  // namespace laconic
