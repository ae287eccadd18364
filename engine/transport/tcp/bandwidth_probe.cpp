#include "engine/transport/tcp/bandwidth_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/transport/tcp/big_endian.h"

namespace laconic {
namespace {

// BEGIN names the client by a random number; the answer is GO, or BUSY. The first link of a client then asks
// COUNT and is told how many bytes of the client have arrived on all its links; the others carry bytes
// without frames.
constexpr std::uint16_t begin_packet = 1, go_packet = 2, busy_packet = 3, ask_count_packet = 4,
                        count_packet = 5;
constexpr std::size_t probe_buffer = std::size_t{8} << 20;
constexpr int most_probe_links = 65;

}  // namespace

BenchmarkServer::BenchmarkServer(const Endpoint& listen, int ports, const LinkSettings& settings)
    : settings_(check_settings(settings, listen.address)),
      port_(listen, ports, [this](Socket socket) { serve(std::move(socket)); }) {}

void BenchmarkServer::serve(Socket socket) {
  FramedLink link(std::move(socket), LinkPurpose::benchmark, settings_);
  const auto packet = link.receive(settings_.handshake_timeout);
  if (!packet || packet->id != begin_packet || packet->payload.size() != 9) return;
  const auto client = load_big_endian<std::uint64_t>(packet->payload.data());
  bool busy = false;
  {
    const std::lock_guard lock(mutex_);
    busy = client == 0 || (client_ != 0 && client_ != client) || client_links_ >= most_probe_links;
    if (!busy) {
      if (client_links_++ == 0) client_bytes_ = 0;
      client_ = client;
    }
  }
  if (busy) return link.send(busy_packet, {});
  try {
    answer(link, packet->payload[8] != std::byte{0});
  } catch (const std::exception&) {
    // The client closed.
  }
  const std::lock_guard lock(mutex_);
  if (--client_links_ == 0) client_ = 0;
}

void BenchmarkServer::answer(FramedLink& link, bool counts) {
  link.send(go_packet, {});
  if (counts) {
    for (;;) {
      const auto question = link.receive(-1);
      if (!question || question->id != ask_count_packet) return;
      Bytes count(8);
      store_big_endian<std::uint64_t>(client_bytes_, count.data());
      link.send(count_packet, count);
    }
  }
  const Socket socket = link.release();
  std::vector<std::byte> buffer(std::size_t{1} << 18);
  for (;;) {
    const auto count = receive_some(socket, buffer);
    if (!count) {
      wait_readable(socket, Clock::time_point::max());
    } else if (*count == 0) {
      return;
    } else {
      client_bytes_ += *count;
      received_ += *count;
    }
  }
}

namespace {

// False when the server is busy.
bool greet(FramedLink& link, std::uint64_t client, bool counts, double timeout) {
  Bytes hello;
  append_big_endian(hello, client);
  append_big_endian(hello, static_cast<std::uint8_t>(counts));
  link.send(begin_packet, hello);
  const auto answer = link.receive(timeout);
  if (!answer || (answer->id != go_packet && answer->id != busy_packet))
    fail(ErrorKind::io, "does not answer as a benchmark server", to_text(link.remote()));
  return answer->id == go_packet;
}

std::uint64_t ask_count(FramedLink& link, double timeout) {
  link.send(ask_count_packet, {});
  const auto answer = link.receive(timeout);
  if (!answer || answer->id != count_packet || answer->payload.size() != 8)
    fail(ErrorKind::io, "does not say how much arrived", to_text(link.remote()));
  return load_big_endian<std::uint64_t>(answer->payload.data());
}

// Sends until it is told to stop; false when the connection broke.
void send_noise(const Socket& socket, ByteSpan noise, const std::atomic<bool>& stop,
                std::atomic<bool>& broken) {
  try {
    std::size_t at = 0;
    while (!stop) {
      if (const auto count =
              send_some(socket, noise.subspan(at, std::min<std::size_t>(noise.size() - at, 1 << 18)))) {
        at = (at + *count) % noise.size();
      } else {
        wait_writable(socket, deadline_after(0.05));
      }
    }
  } catch (const Error&) {
    broken = true;
  }
}

}  // namespace

ProbeResult probe_bandwidth(const Endpoint& server, const LinkSettings& settings,
                            const ProbeOptions& options) {
  require(options.connections >= 1 && options.connections <= 64 && options.slice > 0,
          "a probe has connections");
  Key noise_seed = random_key();
  std::uint64_t client = 0;
  std::memcpy(&client, noise_seed.data(), sizeof client);
  client |= 1;
  ProbeResult result;
  const Clock::time_point give_up = deadline_after(options.busy_longest);
  double wait = options.busy_wait;
  std::unique_ptr<FramedLink> counter;
  for (;;) {
    counter = std::make_unique<FramedLink>(server, LinkPurpose::benchmark, settings, options.timeout);
    if (greet(*counter, client, true, options.timeout)) break;
    counter.reset();
    ++result.busy_answers;
    if (Clock::now() + std::chrono::duration<double>(wait) > give_up)
      fail(ErrorKind::io, "is busy with other measurements", to_text(server));
    std::this_thread::sleep_for(std::chrono::duration<double>(wait));
    wait = std::min(wait * 1.5, 10 * options.busy_wait);
  }
  std::vector<Socket> sockets;
  for (int i = 0; i < options.connections; ++i) {
    FramedLink link(server, LinkPurpose::benchmark, settings, options.timeout);
    if (!greet(link, client, false, options.timeout))
      fail(ErrorKind::io, "takes no more connections", to_text(server));
    sockets.push_back(link.release());
    sockets.back().set_pacing(options.pacing);
    // The noise that waits when the measurement ends would only be in the way of others.
    sockets.back().set_discarding();
  }
  // Bytes that no link on the way can make smaller.
  Bytes noise(probe_buffer);
  fill_random(noise);
  std::atomic<bool> stop = false, broken = false;
  std::vector<std::thread> senders;
  const Clock::time_point start = Clock::now();
  for (const Socket& socket : sockets)
    senders.emplace_back([&noise, &stop, &broken, &socket] { send_noise(socket, noise, stop, broken); });
  const auto seconds_since = [](Clock::time_point moment) {
    return std::chrono::duration<double>(Clock::now() - moment).count();
  };
  std::string fault;
  try {
    std::vector<double> rates;
    std::uint64_t before = 0;
    Clock::time_point last = start;
    while (!broken) {
      const double due = options.slice * (result.slices + 1);
      std::this_thread::sleep_for(std::chrono::duration<double>(std::max(0.0, due - seconds_since(start))));
      const std::uint64_t now = ask_count(*counter, std::max(options.timeout, options.slice));
      const double seconds = seconds_since(last);
      last = Clock::now();
      rates.push_back(static_cast<double>(now - before) * 8 / seconds);
      before = now;
      ++result.slices;
      result.seconds = seconds_since(start);
      const std::size_t n = rates.size();
      result.bits_per_second = n == 1 ? rates[0] : (rates[n - 1] + rates[n - 2]) / 2;
      // The first slice holds the slow start; it takes part as the others do, and rarely agrees.
      if (n >= 2 && std::abs(rates[n - 1] - rates[n - 2]) < options.stability * result.bits_per_second) {
        result.stable = true;
        break;
      }
      if (result.seconds + options.slice / 2 > options.longest) break;
    }
    if (broken) fault = "closed a connection during the measurement";
  } catch (const Error& error) {
    fault = error.what();
  }
  stop = true;
  for (std::thread& sender : senders) sender.join();
  if (!fault.empty()) fail(ErrorKind::io, fault, to_text(server));
  return result;
}

}  // namespace laconic
