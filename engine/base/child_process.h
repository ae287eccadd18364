// A program that runs beside this one. It is in whatever network the starting thread is in.
#pragma once

#include <string>
#include <vector>

namespace laconic {

struct ProcessResult {
  int code = -1;  // of exit; 1000 + signal when it was killed
  std::string out, err;
};

class ChildProcess {
 public:
  // words[0] is searched for like a shell does. Its standard input is empty. Error(unsupported) where it is
  // not there.
  explicit ChildProcess(const std::vector<std::string>& words);
  ~ChildProcess();  // asks it to end, and waits for that
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // The next line of what it prints, without its end; empty when it prints no more.
  std::string read_line();
  // Waits for its end; what it printed since the last line that was read.
  ProcessResult finish();
  // Ends it at once, as nothing it does can hinder (SIGKILL).
  void kill() const;
  bool ended() const;
  int id() const { return process_; }  // -1 once it has been waited for

 private:
  void close_output();

  int process_ = -1, output_ = -1, faults_ = -1;
  std::string unread_;
};

// The result of a program, which must end with 0: Error(io) with what it said otherwise.
std::string output_of(const std::vector<std::string>& words);

}  // namespace laconic
