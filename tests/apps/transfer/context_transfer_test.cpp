#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "apps/transfer/context_server.h"
#include "apps/transfer/http_source.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "runtime/cache/context_file.h"

namespace laconic {
namespace {

// A context of pieces without meaning, about 300 KB.
void write_context(const std::filesystem::path& path, int seed = 0) {
  ContextIndex about;
  about.layers = 1;
  about.kv_heads = about.head_dim = 1;
  about.forms = {"fine", "coarse"};
  about.rest = {1};
  ContextWriter writer(about);
  for (int chunk = 0; chunk < 3; ++chunk) {
    Bytes fine(80000), coarse(20000);
    for (std::size_t i = 0; i < fine.size(); ++i)
      fine[i] = static_cast<std::byte>(i * 31 + i / 256 + static_cast<std::size_t>(chunk + seed));
    for (std::size_t i = 0; i < coarse.size(); ++i) coarse[i] = static_cast<std::byte>(i * 7);
    writer.add_chunk(2, std::vector<std::int32_t>{chunk, 5}, {std::move(fine), std::move(coarse)});
  }
  writer.write(path);
}

// A TCP socket on the loopback that hands each connection to `serve`, one after the other.
class RawServer {
 public:
  explicit RawServer(std::function<void(int socket, int connection)> serve) : serve_(std::move(serve)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, 16);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int connection = 0;; ++connection) {
        const int socket = ::accept(listener_, nullptr, nullptr);
        if (socket < 0) return;
        serve_(socket, connection);
        ::close(socket);
      }
    });
  }
  ~RawServer() {
    ::shutdown(listener_, SHUT_RDWR);
    ::close(listener_);
    thread_.join();
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/a.kv"; }
  // The request up to its empty line.
  static std::string request(int socket) {
    std::string text;
    char byte = 0;
    while (text.find("\r\n\r\n") == std::string::npos && ::recv(socket, &byte, 1, 0) == 1) text += byte;
    return text;
  }
  static void send(int socket, std::string_view text) {
    while (!text.empty()) {
      const ssize_t count = ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(count));
    }
  }

 private:
  std::function<void(int, int)> serve_;
  int listener_ = -1, port_ = 0;
  std::thread thread_;
};

// First and last byte that a request asks for.
std::pair<std::size_t, std::size_t> asked_range(const std::string& request) {
  const std::size_t at = request.find("bytes=");
  const std::string range = request.substr(at + 6);
  return {std::stoul(range), std::stoul(range.substr(range.find('-') + 1))};
}

class ContextTransfer : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("transfer-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_ / "served" / "deep");
    write_context(folder_ / "served" / "a.kv");
    write_context(folder_ / "served" / "deep" / "b.kv", 1);
    write_context(folder_ / "secret.kv");
    write_file(folder_ / "served" / "notes.txt", std::string_view("no context"));
    std::filesystem::create_symlink(folder_ / "secret.kv", folder_ / "served" / "link.kv");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

class Serving {
 public:
  explicit Serving(const std::filesystem::path& folder)
      : server_(folder), thread_([this] { server_.run(); }) {}
  ~Serving() {
    server_.stop();
    thread_.join();
  }
  std::string url(const std::string& name) const {
    return "http://127.0.0.1:" + std::to_string(server_.port()) + "/" + name;
  }

 private:
  ContextServer server_;
  std::thread thread_;
};

ErrorKind kind_of_failure(const std::string& url, std::uint64_t offset = 0, std::uint64_t size = 4) {
  try {
    open_context_url(url)->read(offset, size);
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::internal;
}

TEST_F(ContextTransfer, PartsAreThoseOfTheFile) {
  const Serving serving(folder_ / "served");
  const Bytes whole = read_file(folder_ / "served" / "a.kv");
  const auto source = open_context_url(serving.url("a.kv"));
  EXPECT_EQ(source->read(0, whole.size()), whole);
  for (const auto& [offset, size] : std::vector<std::pair<std::size_t, std::size_t>>{
           {0, 1}, {5, 70000}, {whole.size() - 1, 1}, {100, 0}, {whole.size() - 200, 200}}) {
    const Bytes part = source->read(offset, size);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(offset)));
    EXPECT_EQ(part.size(), size);
  }
  EXPECT_EQ(kind_of_failure(serving.url("a.kv"), whole.size() - 2, 3), ErrorKind::corrupt);
  EXPECT_EQ(read_context_index(*source).bytes(), whole.size());
  EXPECT_EQ(read_context_index(*open_context_url(serving.url("deep/b.kv"))).chunks.size(), 3u);
}

TEST_F(ContextTransfer, NothingElseIsServed) {
  const std::filesystem::path served = folder_ / "served";
  EXPECT_EQ(served_file(served, "/a.kv"), std::filesystem::canonical(served / "a.kv"));
  EXPECT_EQ(served_file(served, "/deep/../a.kv"), std::filesystem::canonical(served / "a.kv"));
  for (const std::string path : {"", "/", "a.kv", "/../secret.kv", "/deep/../../secret.kv", "//secret.kv",
                                 "/link.kv", "/notes.txt", "/deep", "/none.kv", "/./../secret.kv"})
    EXPECT_EQ(served_file(served, path), "") << path;
  EXPECT_EQ(served_file(served, std::string("/a.kv\0x", 7)), "");
  EXPECT_EQ(served_file(served, folder_.string() + "/secret.kv"), "");
  const Serving serving(served);
  for (const std::string path : {"../secret.kv", "%2e%2e/secret.kv", "deep/%2e%2e/%2e%2e/secret.kv",
                                 "..%2fsecret.kv", "link.kv", "notes.txt", "none.kv"})
    EXPECT_EQ(kind_of_failure(serving.url(path)), ErrorKind::input) << path;
  EXPECT_THROW(ContextServer(folder_ / "nowhere"), Error);
}

TEST_F(ContextTransfer, ManyClientsAtOnce) {
  const Serving serving(folder_ / "served");
  const Bytes whole = read_file(folder_ / "served" / "a.kv");
  std::atomic<int> right{0};
  std::vector<std::thread> clients;
  for (int client = 0; client < 8; ++client) {
    clients.emplace_back([&, client] {
      const auto source = open_context_url(serving.url("a.kv"));
      for (int round = 0; round < 10; ++round) {
        const auto offset = static_cast<std::size_t>(1000 * client + 777 * round);
        const Bytes part = source->read(offset, 50000);
        if (std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(offset)))
          ++right;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 80);
}

TEST_F(ContextTransfer, SeveralRangesAtOnceAreRefused) {
  const Serving serving(folder_ / "served");
  const std::string url = serving.url("a.kv");
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(17))));
  ASSERT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  RawServer::send(socket, "GET /a.kv HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9,20-29\r\n\r\n");
  EXPECT_EQ(RawServer::request(socket).substr(0, 12), "HTTP/1.1 416");
  ::close(socket);
}

// Each connection breaks after some bytes; the next one goes on there.
TEST_F(ContextTransfer, ABrokenConnectionIsTakenUpAgain) {
  const Bytes file = read_file(folder_ / "served" / "a.kv");
  std::atomic<int> connections{0};
  const RawServer server([&](int socket, int) {
    const std::string request = RawServer::request(socket);
    if (request.empty()) return;
    ++connections;
    const auto [first, last] = asked_range(request);
    RawServer::send(
        socket, "HTTP/1.1 206 Partial Content\r\nContent-Length: " + std::to_string(last - first + 1) +
                    "\r\nContent-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" +
                    std::to_string(file.size()) + "\r\n\r\n");
    const std::size_t now = std::min<std::size_t>(last - first + 1, 30000);
    RawServer::send(socket, as_text(ByteSpan(file).subspan(first, now)));
  });
  const Bytes part = open_context_url(server.url())->read(10, 100000);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), file.begin() + 10));
  EXPECT_EQ(part.size(), 100000u);
  EXPECT_EQ(connections, 4);
}

TEST_F(ContextTransfer, AStallIsGivenUpWithAClearMessage) {
  const RawServer server([&](int socket, int connection) {
    const std::string request = RawServer::request(socket);
    if (request.empty()) return;
    const auto [first, last] = asked_range(request);
    RawServer::send(socket,
                    "HTTP/1.1 206 Partial Content\r\nContent-Length: " + std::to_string(last - first + 1) +
                        "\r\nContent-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) +
                        "/1000\r\n\r\n" + (connection == 0 ? "abc" : ""));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  });
  HttpSourceOptions options;
  options.stall_seconds = 0.1;
  options.attempts = 2;
  const auto start = std::chrono::steady_clock::now();
  try {
    open_context_url(server.url(), options)->read(0, 100);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_NE(std::string(error.what()).find("after byte 3 of 0 to 99"), std::string::npos) << error.what();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST_F(ContextTransfer, AnswersThatAreNotThePartAreRefused) {
  const auto with = [&](const std::string& answer) {
    const RawServer server([&](int socket, int) {
      if (!RawServer::request(socket).empty()) RawServer::send(socket, answer);
    });
    return kind_of_failure(server.url());
  };
  EXPECT_EQ(with("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"), ErrorKind::io);
  EXPECT_EQ(
      with("HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes 4-7/9\r\n\r\nabcd"),
      ErrorKind::io);
  EXPECT_EQ(
      with(
          "HTTP/1.1 206 Partial Content\r\nContent-Length: 9\r\nContent-Range: bytes 0-3/9\r\n\r\nabcdefghi"),
      ErrorKind::io);
  EXPECT_EQ(with("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), ErrorKind::input);
  EXPECT_EQ(with("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), ErrorKind::io);
  EXPECT_EQ(with("nonsense\r\n\r\n"), ErrorKind::io);
  EXPECT_EQ(kind_of_failure("http://127.0.0.1:1/a.kv"), ErrorKind::io) << "nobody listens there";
  for (const std::string url : {"http://", "http:///a.kv", "http://host", "http://host/", "ftp://host/a"})
    EXPECT_EQ(kind_of_failure(url), ErrorKind::usage) << url;
}

TEST_F(ContextTransfer, AFetchedContextIsTheFile) {
  const Serving serving(folder_ / "served");
  const auto source = open_context_url(serving.url("a.kv"));
  ContextCopyOptions options;
  options.wanted = {true, true};
  copy_context(*source, read_context_index(*source), folder_ / "fetched.kv", options);
  EXPECT_EQ(read_file(folder_ / "fetched.kv"), read_file(folder_ / "served" / "a.kv"));
}

}  // namespace
}  // namespace laconic
