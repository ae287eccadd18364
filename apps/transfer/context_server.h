// Serves the stored contexts of a folder, read only, whole or in parts (RFC 7233, one range per request), to
// any number of clients. Nothing else in the folder is served, and nothing outside of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace laconic {

class ContextServer {
 public:
  // Binds at once; port 0 takes a free one. Error(io) where that is not possible, Error(input) without the
  // folder.
  ContextServer(const std::filesystem::path& folder, const std::string& host = "127.0.0.1", int port = 0);
  ~ContextServer();  // stops
  ContextServer(const ContextServer&) = delete;
  ContextServer& operator=(const ContextServer&) = delete;

  int port() const;
  void run();   // serves until stop() is called
  void stop();  // from any thread
  std::uint64_t bytes_sent() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The file of the folder that a request path names; empty where there is none, where it is no stored context,
// or where it lies outside of the folder.
std::filesystem::path served_file(const std::filesystem::path& folder, const std::string& request_path);

}  // namespace laconic
