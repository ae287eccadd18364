#include "engine/base/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/base/error.h"

namespace laconic {
namespace {

std::string joined_words(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// What the descriptor still gives, appended; false at its end.
bool read_more(int descriptor, std::string& text) {
  char piece[4096];
  for (;;) {
    const ssize_t count = ::read(descriptor, piece, sizeof piece);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    text.append(piece, static_cast<std::size_t>(count));
    return true;
  }
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& words) {
  require(!words.empty(), "a program has a name");
  int ends[2] = {-1, -1};
  // Faults go to memory: nobody reads them while the program runs.
  faults_ = ::memfd_create("faults", MFD_CLOEXEC);
  if (faults_ < 0 || ::pipe2(ends, O_CLOEXEC) != 0) {
    const int reason = errno;
    if (faults_ >= 0) ::close(faults_);
    fail(ErrorKind::io, std::string("cannot be started: ") + std::strerror(reason), words.front());
  }
  output_ = ends[0];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, faults_, STDERR_FILENO);
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  const int fault = ::posix_spawnp(&process_, pointers.front(), &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (fault == 0) return;
  process_ = -1;
  close_output();
  fail(ErrorKind::unsupported, std::string("cannot be started: ") + std::strerror(fault), words.front());
}

ChildProcess::~ChildProcess() {
  if (process_ > 0) {
    ::kill(process_, SIGTERM);
    // It may wait for someone to read what it prints.
    ::close(output_);
    output_ = -1;
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  close_output();
}

void ChildProcess::close_output() {
  if (output_ >= 0) ::close(output_);
  if (faults_ >= 0) ::close(faults_);
  output_ = faults_ = -1;
}

std::string ChildProcess::read_line() {
  std::size_t end = unread_.find('\n');
  while (end == std::string::npos && read_more(output_, unread_)) end = unread_.find('\n');
  std::string line = unread_.substr(0, end);
  unread_.erase(0, end == std::string::npos ? end : end + 1);
  return line;
}

ProcessResult ChildProcess::finish() {
  require(process_ > 0, "a program ends once");
  ProcessResult result;
  while (read_more(output_, unread_)) {
  }
  result.out = std::move(unread_);
  int status = 0;
  while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
  process_ = -1;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  ::lseek(faults_, 0, SEEK_SET);
  while (read_more(faults_, result.err)) {
  }
  close_output();
  return result;
}

void ChildProcess::kill() const {
  if (process_ > 0) ::kill(process_, SIGKILL);
}

bool ChildProcess::ended() const {
  if (process_ < 0) return true;
  // Looked at, not waited for: finish() still has its result.
  siginfo_t what{};
  return ::waitid(P_PID, static_cast<id_t>(process_), &what, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         what.si_pid == process_;
}

std::string output_of(const std::vector<std::string>& words) {
  ProcessResult result = ChildProcess(words).finish();
  if (result.code != 0) {
    while (!result.err.empty() && result.err.back() == '\n') result.err.pop_back();
    fail(ErrorKind::io, fmt::format("ended with {}: {}", result.code, result.err), joined_words(words));
  }
  return std::move(result.out);
}

}  // namespace laconic
