#include "apps/transfer/context_server.h"

#include <fmt/format.h>
#include <httplib.h>

#include <atomic>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

constexpr std::string_view context_magic = "LKVC";
constexpr std::size_t piece_sent = std::size_t{1} << 16;  // bytes between looks at the client
constexpr int stalled_seconds = 10;                       // after which a client is given up
constexpr std::size_t most_connections = 64;

bool is_inside(const std::filesystem::path& folder, const std::filesystem::path& path) {
  const auto [end, ignored] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end();
}

}  // namespace

std::filesystem::path served_file(const std::filesystem::path& folder, const std::string& request_path) {
  if (request_path.empty() || request_path.front() != '/' || request_path.find('\0') != std::string::npos)
    return {};
  const std::filesystem::path asked = std::filesystem::path(request_path.substr(1)).lexically_normal();
  if (asked.empty() || asked.is_absolute() || *asked.begin() == "..") return {};
  std::error_code failed;
  // Links count by what they point to.
  const std::filesystem::path root = std::filesystem::canonical(folder, failed);
  if (failed) return {};
  const std::filesystem::path path = std::filesystem::canonical(root / asked, failed);
  if (failed || !is_inside(root, path) || !std::filesystem::is_regular_file(path, failed) || failed)
    return {};
  if (std::filesystem::file_size(path, failed) < context_magic.size() || failed) return {};
  try {
    const MappedFile file(path);
    if (file.bytes().size() < context_magic.size() ||
        as_text(file.bytes().first(context_magic.size())) != context_magic)
      return {};
  } catch (const Error&) {
    return {};
  }
  return path;
}

struct ContextServer::State {
  std::filesystem::path folder;
  httplib::Server server;
  int port = 0;
  std::atomic<std::uint64_t> sent{0};
};

ContextServer::ContextServer(const std::filesystem::path& folder, const std::string& host, int port)
    : state_(std::make_unique<State>()) {
  if (!std::filesystem::is_directory(folder))
    fail(ErrorKind::input, "is no folder", folder.string(), "name the folder that holds the contexts");
  state_->folder = folder;
  httplib::Server& server = state_->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(most_connections); };
  server.set_read_timeout(stalled_seconds);
  server.set_write_timeout(stalled_seconds);
  server.set_keep_alive_max_count(100000);
  server.set_payload_max_length(0);
  server.set_tcp_nodelay(true);
  server.Get(".*", [this](const httplib::Request& request, httplib::Response& response) {
    const std::filesystem::path path = served_file(state_->folder, request.path);
    if (path.empty()) {
      response.status = 404;
      response.set_content("no such context\n", "text/plain");
      return;
    }
    const auto file = std::make_shared<const MappedFile>(path);
    const std::size_t size = file->bytes().size();
    const auto last = static_cast<ssize_t>(size) - 1;
    for (const auto& [first, end] : request.ranges) {
      if (request.ranges.size() == 1 && first >= 0 && first <= last && end <= last &&
          (end == -1 || first <= end))
        continue;
      response.status = 416;
      response.set_header("Content-Range", fmt::format("bytes */{}", size));
      response.set_content("one range inside the file, please\n", "text/plain");
      return;
    }
    response.set_header("Accept-Ranges", "bytes");
    response.set_content_provider(
        size, "application/octet-stream",
        [this, file](std::size_t offset, std::size_t length, httplib::DataSink& sink) {
          const ByteSpan all = file->bytes();
          if (offset >= all.size()) return false;
          const ByteSpan part = all.subspan(offset, std::min({length, piece_sent, all.size() - offset}));
          if (!sink.write(reinterpret_cast<const char*>(part.data()), part.size())) return false;
          state_->sent += part.size();
          return true;
        });
  });
  state_->port = port == 0 ? server.bind_to_any_port(host) : server.bind_to_port(host, port) ? port : -1;
  if (state_->port <= 0) {
    fail(ErrorKind::io, fmt::format("cannot listen on {} port {}", host, port), "kv serve",
         "another program may use the port; choose another one");
  }
}

ContextServer::~ContextServer() { stop(); }

int ContextServer::port() const { return state_->port; }

void ContextServer::run() { state_->server.listen_after_bind(); }

void ContextServer::stop() { state_->server.stop(); }

std::uint64_t ContextServer::bytes_sent() const { return state_->sent; }

}  // namespace laconic
