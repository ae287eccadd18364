#include "engine/transport/tcp/link_server.h"

#include <algorithm>
#include <array>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
#include <map>

#include "engine/base/error.h"

namespace laconic {
namespace {

asio::chrono::steady_clock::duration as_duration(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(std::min(std::max(seconds, 0.0), 1e9)));
}

}  // namespace

struct LinkServer::State {
  struct Link;
  using LinkPointer = std::shared_ptr<Link>;

  State(const Endpoint& wanted, int ports, LinkPurpose link_purpose, const LinkSettings& link_settings,
        LinkServerEvents link_events)
      : purpose(link_purpose), settings(link_settings), events(std::move(link_events)) {
    check_settings(settings, wanted.address);
    Listener listener(wanted, ports);
    port = listener.port();
    Socket socket = listener.release();
    const bool v6 = socket.local().address.find(':') != std::string::npos;
    acceptor.assign(v6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(), socket.disown());
    acceptor.native_non_blocking(true);
  }

  void accept_next();
  void take(asio::ip::tcp::socket socket);
  void finish(const LinkPointer& link, const std::string& reason);

  LinkPurpose purpose;
  LinkSettings settings;
  LinkServerEvents events;
  asio::io_context context{1};
  asio::ip::tcp::acceptor acceptor{context};
  asio::steady_timer retry{context}, ending{context};
  std::uint16_t port = 0;
  std::map<LinkId, LinkPointer> links;
  LinkId last_id = 0;
  bool stopping = false;
};

struct LinkServer::State::Link : std::enable_shared_from_this<Link> {
  Link(State& server_state, asio::ip::tcp::socket connected, LinkId number)
      : server(server_state),
        socket(std::move(connected)),
        timer(server_state.context),
        protocol(LinkProtocol::Side::accepter, server_state.purpose, server_state.settings),
        id(number) {
    asio::error_code ignored;
    const auto address = socket.remote_endpoint(ignored);
    std::string text = address.address().to_string();
    if (text.starts_with("::ffff:") && text.find('.') != std::string::npos) text.erase(0, 7);
    remote = {text, address.port()};
  }

  void begin() {
    timer.expires_after(as_duration(server.settings.handshake_timeout));
    timer.async_wait([self = shared_from_this()](asio::error_code error) {
      if (!error && !self->opened) self->server.finish(self, "the handshake took too long");
    });
    read();
  }

  void read() {
    socket.async_read_some(
        asio::buffer(piece),
        [self = shared_from_this()](asio::error_code error, std::size_t n) { self->arrived(error, n); });
  }

  void arrived(asio::error_code error, std::size_t count) {
    if (gone) return;
    std::string fault;
    try {
      if (error == asio::error::eof) {
        fault = "the other side closed the link";
        protocol.ended();
      } else if (error) {
        fault = error.message();
      } else if (!closing) {
        protocol.received(std::span(piece).first(count));
      }
    } catch (const Error& broken) {
      fault = broken.what();
    }
    if (!opened && protocol.established()) {
      opened = true;
      timer.cancel();
      server.events.opened(id, remote);
    }
    while (auto packet = protocol.next_packet()) {
      if (closing || gone) break;
      server.events.packet(id, packet->id, packet->payload);
    }
    if (gone) return;
    if (!fault.empty()) {
      if (error) return server.finish(shared_from_this(), fault);
      return close(fault);
    }
    write();
    read();
  }

  // One write at a time; what comes meanwhile goes with the next one.
  void write() {
    if (gone || writing) return;
    if (!protocol.has_output()) {
      if (closing) server.finish(shared_from_this(), reason);
      return;
    }
    leaving = protocol.output();
    waiting_bytes = leaving.size();
    writing = true;
    asio::async_write(socket, asio::buffer(leaving),
                      [self = shared_from_this()](asio::error_code error, std::size_t) {
                        self->writing = false;
                        self->leaving.clear();
                        if (self->gone) return;
                        if (error) return self->server.finish(self, error.message());
                        self->write();
                      });
  }

  void send(std::uint16_t packet_id, ByteSpan payload) {
    if (gone || closing || !protocol.established()) return;
    protocol.send(packet_id, payload);
    waiting_bytes += payload.size();
    const std::size_t limit = std::max(server.settings.frame_limit, std::size_t{16} << 20);
    if (waiting_bytes > limit)
      return server.finish(shared_from_this(), "the other side takes no more packets");
    write();
  }

  void close(const std::string& why) {
    if (gone || closing) return;
    closing = true;
    reason = why;
    // Whoever does not read its last packets is not waited for.
    timer.expires_after(as_duration(1));
    timer.async_wait([self = shared_from_this()](asio::error_code error) {
      if (!error) self->server.finish(self, self->reason);
    });
    write();
  }

  State& server;
  asio::ip::tcp::socket socket;
  asio::steady_timer timer;
  LinkProtocol protocol;
  LinkId id;
  Endpoint remote;
  std::array<std::byte, 16384> piece;
  Bytes leaving;
  std::size_t waiting_bytes = 0;
  std::string reason;
  bool opened = false, closing = false, writing = false, gone = false;
};

void LinkServer::State::finish(const LinkPointer& link, const std::string& reason) {
  if (link->gone) return;
  link->gone = true;
  link->timer.cancel();
  asio::error_code ignored;
  link->socket.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  link->socket.close(ignored);
  links.erase(link->id);
  if (link->opened) {
    events.closed(link->id, reason);
  } else {
    events.refused(link->remote, reason);
  }
  if (stopping && links.empty()) context.stop();
}

void LinkServer::State::accept_next() {
  acceptor.async_accept([this](asio::error_code error, asio::ip::tcp::socket socket) {
    if (error == asio::error::operation_aborted || !acceptor.is_open()) return;
    if (error) {
      // Out of descriptors, most likely: links that close give some back.
      retry.expires_after(as_duration(0.1));
      retry.async_wait([this](asio::error_code stopped) {
        if (!stopped) accept_next();
      });
      return;
    }
    take(std::move(socket));
    accept_next();
  });
}

void LinkServer::State::take(asio::ip::tcp::socket socket) {
  Socket borrowed(socket.native_handle());
  borrowed.set_prompt();
  borrowed.disown();
  const auto link = std::make_shared<Link>(*this, std::move(socket), ++last_id);
  links.emplace(link->id, link);
  link->begin();
}

LinkServer::LinkServer(const Endpoint& wanted, int ports, LinkPurpose purpose, const LinkSettings& settings,
                       LinkServerEvents events)
    : state_(std::make_unique<State>(wanted, ports, purpose, settings, std::move(events))) {}
LinkServer::~LinkServer() = default;

std::uint16_t LinkServer::port() const { return state_->port; }

void LinkServer::run() {
  state_->accept_next();
  state_->context.run();
}

void LinkServer::stop() {
  post([this] {
    state_->stopping = true;
    asio::error_code ignored;
    state_->acceptor.close(ignored);
    state_->retry.cancel();
    if (state_->links.empty()) return state_->context.stop();
    const auto links = state_->links;
    for (const auto& [id, link] : links) link->close("this side has stopped");
    state_->ending.expires_after(as_duration(1));
    state_->ending.async_wait([this](asio::error_code error) {
      if (!error) state_->context.stop();
    });
  });
}

void LinkServer::send(LinkId link, std::uint16_t id, ByteSpan payload) {
  const auto send_now = [this](LinkId to, std::uint16_t packet, ByteSpan bytes) {
    const auto found = state_->links.find(to);
    if (found == state_->links.end()) return;
    // What an event does is answered after it: a link may close within a send.
    const State::LinkPointer kept = found->second;
    kept->send(packet, bytes);
  };
  if (state_->context.get_executor().running_in_this_thread()) return send_now(link, id, payload);
  post([send_now, link, id, copy = Bytes(payload.begin(), payload.end())] { send_now(link, id, copy); });
}

void LinkServer::close(LinkId link, const std::string& reason) {
  post([this, link, reason] {
    const auto found = state_->links.find(link);
    if (found == state_->links.end()) return;
    const State::LinkPointer kept = found->second;
    kept->close(reason);
  });
}

void LinkServer::post(std::function<void()> work) { asio::post(state_->context, std::move(work)); }

void LinkServer::after(double seconds, std::function<void()> work) {
  post([this, seconds, work = std::move(work)] {
    const auto timer = std::make_shared<asio::steady_timer>(state_->context, as_duration(seconds));
    timer->async_wait([timer, work](asio::error_code error) {
      if (!error) work();
    });
  });
}

}  // namespace laconic
