// laconic kv serve DIR: stored contexts over HTTP.
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/cli/verb.h"
#include "apps/transfer/context_server.h"

namespace laconic::cli {
namespace {

int serve(const Arguments& arguments, const Session& session) {
  const std::string host = arguments.text("host", "127.0.0.1");
  ContextServer server(arguments.text("folder"), host,
                       static_cast<int>(arguments.integer("port", 8080, 0, 65535)));
  std::thread serving([&] { server.run(); });
  if (session.json) {
    fmt::print("{}\n", nlohmann::json({{"host", host}, {"port", server.port()}}).dump());
  } else {
    fmt::print("{} at http://{}:{}/\n", arguments.text("folder"), host, server.port());
  }
  std::fflush(stdout);
  while (!interrupt_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server.stop();
  serving.join();
  if (!session.json) fmt::print(stderr, "{} sent\n", human_bytes(server.bytes_sent()));
  return 0;
}

}  // namespace

Verb kv_serve_verb() {
  using Kind = OptionSpec::Kind;
  return {"kv serve",
          "Serve the stored contexts of a folder over HTTP",
          "  laconic kv serve ./contexts --port 8080\n",
          {{"folder", Kind::text, "the folder; only stored contexts inside it are served", true},
           {"--host", Kind::text, "address to listen on; anyone who reaches it can read the contexts", false,
            "127.0.0.1"},
           {"--port", Kind::integer, "0 takes a free one", false, "8080"}},
          serve};
}

}  // namespace laconic::cli
