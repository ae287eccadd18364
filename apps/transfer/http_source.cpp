#include "apps/transfer/http_source.h"

#include <fmt/format.h>
#include <httplib.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/progress.h"

namespace laconic {
namespace {

class HttpSource final : public ContextSource {
 public:
  HttpSource(const std::string& url, const HttpSourceOptions& options) : url_(url), options_(options) {
    const std::size_t host = url.find("://") + 3;
    const std::size_t slash = std::min(url.find('/', host), url.size());
    if (host >= slash || slash + 1 >= url.size())
      fail(ErrorKind::usage, "is not the address of a file", url, "write http://HOST:PORT/NAME");
    path_ = url.substr(slash);
    client_ = std::make_unique<httplib::Client>(url.substr(0, slash));
    if (!client_->is_valid()) fail(ErrorKind::usage, "is not an address", url, "write http://HOST:PORT/NAME");
    const auto whole = static_cast<time_t>(options.stall_seconds);
    const auto rest = static_cast<time_t>(1e6 * (options.stall_seconds - std::floor(options.stall_seconds)));
    client_->set_connection_timeout(whole, rest);
    client_->set_read_timeout(whole, rest);
    client_->set_write_timeout(whole, rest);
    client_->set_keep_alive(true);
    client_->set_tcp_nodelay(true);
    client_->set_follow_location(false);
  }

  std::string name() const override { return url_; }

  Bytes read(std::uint64_t offset, std::uint64_t size) override {
    Bytes bytes;
    int broken = 0;
    while (bytes.size() < size) {
      throw_if_interrupted();
      const std::size_t before = bytes.size();
      const std::string fault = take(offset, size, bytes);
      if (bytes.size() == size) break;
      broken = bytes.size() > before ? 0 : broken + 1;
      if (broken < options_.attempts) continue;
      fail(ErrorKind::io,
           fmt::format("{} after byte {} of {} to {}", fault, offset + bytes.size(), offset,
                       offset + size - 1),
           url_, "check that the server runs and the link carries data, and try again");
    }
    return bytes;
  }

 private:
  // Asks for what is missing and appends what comes. What went wrong, or nothing.
  std::string take(std::uint64_t offset, std::uint64_t size, Bytes& bytes) {
    const std::uint64_t first = offset + bytes.size(), last = offset + size - 1;
    const httplib::Headers headers = {{"Range", fmt::format("bytes={}-{}", first, last)}};
    int status = 0;
    bool too_much = false;
    const auto result = client_->Get(
        path_, headers,
        [&](const httplib::Response& response) {
          status = response.status;
          const std::string range = response.get_header_value("Content-Range");
          // "bytes FIRST-LAST/SIZE": another part than the wished one is of no use.
          if (status == 206 && range.rfind(fmt::format("bytes {}-{}/", first, last), 0) != 0) status = -1;
          return status == 206;
        },
        [&](const char* data, std::size_t length) {
          if (interrupt_requested()) return false;
          if (length > size - bytes.size()) {
            too_much = true;
            return false;
          }
          const auto* raw = reinterpret_cast<const std::byte*>(data);
          bytes.insert(bytes.end(), raw, raw + length);
          return true;
        });
    throw_if_interrupted();
    if (status == 404) fail(ErrorKind::input, "there is no such context on the server", url_);
    if (status == 416) fail(ErrorKind::corrupt, fmt::format("the file ends before byte {}", last), url_);
    if (status == -1 || too_much || (status != 0 && status != 206)) {
      fail(ErrorKind::io,
           status == 200 ? "the server sends whole files only"
                         : fmt::format("the server answers with something else ({})", status),
           url_, "serve the folder with laconic kv serve");
    }
    if (result) return "the connection ended";
    switch (result.error()) {
      case httplib::Error::Connection:
      case httplib::Error::ConnectionTimeout:
        return "the server cannot be reached";
      case httplib::Error::Read:
        return fmt::format("nothing came for {:g} s or the connection broke", options_.stall_seconds);
      default:
        return "the connection broke (" + httplib::to_string(result.error()) + ")";
    }
  }

  std::string url_, path_;
  HttpSourceOptions options_;
  std::unique_ptr<httplib::Client> client_;
};

}  // namespace

bool is_url(const std::string& text) {
  return text.rfind("http://", 0) == 0 || text.rfind("https://", 0) == 0;
}

std::unique_ptr<ContextSource> open_context_url(const std::string& url, const HttpSourceOptions& options) {
  if (!is_url(url)) fail(ErrorKind::usage, "is not an address", url, "write http://HOST:PORT/NAME");
  return std::make_unique<HttpSource>(url, options);
}

}  // namespace laconic
