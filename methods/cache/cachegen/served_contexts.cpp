#include "methods/cache/cachegen/served_contexts.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/json.h"

namespace laconic {
namespace {

using LinkClock = std::chrono::steady_clock;

// Sets the rates of a trace when their time comes, in a thread of the network.
class TraceFollower {
 public:
  TraceFollower(LimitedNetwork& network, const LinkTrace& link) : network_(network), link_(link) {
    network_.set_rate(link_.steps.front().bits_per_second);
    // What an earlier load still says farewell with is no request.
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    carried_ = network_.bytes_carried();
    thread_ = std::thread([this] { follow(); });
  }
  ~TraceFollower() {
    ended_ = true;
    thread_.join();
  }

 private:
  bool wait_until(LinkClock::time_point time) const {
    while (!ended_ && LinkClock::now() < time) {
      const auto left = std::chrono::duration_cast<std::chrono::microseconds>(time - LinkClock::now());
      std::this_thread::sleep_for(std::min(left, std::chrono::microseconds(5000)));
    }
    return !ended_;
  }
  void follow() {
    while (network_.bytes_carried() == carried_) {
      if (!wait_until(LinkClock::now() + std::chrono::milliseconds(1))) return;
    }
    const LinkClock::time_point start = LinkClock::now();
    for (std::size_t i = 1; i < link_.steps.size(); ++i) {
      const std::chrono::duration<double> begin(link_.steps[i - 1].until);
      if (!wait_until(start + std::chrono::duration_cast<LinkClock::duration>(begin))) return;
      network_.set_rate(link_.steps[i].bits_per_second);
    }
  }

  LimitedNetwork& network_;
  const LinkTrace& link_;
  std::uint64_t carried_ = 0;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

}  // namespace

ServedContexts::ServedContexts(std::filesystem::path program, const std::filesystem::path& folder)
    : program_(std::move(program)),
      server_({program_.string(), "kv", "serve", folder.string(), "--port", "0", "--json"}) {
  const std::string line = server_.read_line();
  if (line.empty()) {
    const ProcessResult result = server_.finish();
    fail(ErrorKind::io, "does not serve: " + result.err, program_.string());
  }
  port_ = parse_json(line, "kv serve").at("port").get<int>();
}

ServedLoad ServedContexts::load(const std::filesystem::path& model, const std::string& name,
                                const std::vector<std::string>& how) {
  std::vector<std::string> words = {
      program_.string(), "kv", "load",  model.string(), fmt::format("http://127.0.0.1:{}/{}", port_, name),
      "--tokens",        "1",  "--json"};
  words.insert(words.end(), how.begin(), how.end());
  const nlohmann::json value = parse_json(output_of(words), "kv load");
  ServedLoad load;
  load.first_token = value.at("first_token_seconds").get<double>();
  load.bytes = value.at("bytes").get<std::uint64_t>();
  for (const nlohmann::json& chunk : value.at("chunks")) {
    load.use_seconds += chunk.at("use_seconds").get<double>();
    load.levels.push_back(chunk.at("level").get<std::int64_t>());
  }
  return load;
}

ServedLoad ServedContexts::load(const std::filesystem::path& model, const std::string& name,
                                const std::vector<std::string>& how, LimitedNetwork& network,
                                const LinkTrace& link) {
  const TraceFollower follower(network, link);
  return load(model, name, how);
}

SimulatedContext simulated_context(const ContextIndex& index) {
  SimulatedContext context;
  for (const ContextChunk& chunk : index.chunks) {
    context.bytes.emplace_back();
    for (const ContextPiece& piece : chunk.coded) context.bytes.back().push_back(piece.size);
    context.text_bytes.push_back(chunk.text.size);
    context.tokens.push_back(chunk.tokens);
  }
  return context;
}

}  // namespace laconic
