// The protocol of a control link, without a socket: bytes go in, packets and bytes to send come out.
//
// A frame is u64 length (of what follows), u16 packet id, payload, all integers big-endian. Where the link
// has a key and no TLS, a u64 sequence number and the first 16 bytes of HMAC-SHA-256(direction's key,
// sequence number, id, payload) end the frame; numbers count from 0 in each direction, so a frame that is
// changed, repeated, reordered, left out or sent back is noticed.
//
// A link begins with
//   opener   -> accepter  HELLO  magic, version, byte order, purpose, protection, nonce (32 bytes)
//   accepter -> opener    HELLO  the same, and with a key: proof = HMAC(accepter's key, both HELLOs)
//   opener   -> accepter  PROOF  HMAC(opener's key, both HELLOs), empty without a key
//   accepter -> opener    WELCOME
// where the keys of the two proofs and of the two directions are HKDF(shared key, both nonces, label).
// Whoever does not agree answers REFUSED with a reason before it closes. With TLS all of this runs inside
// TLS 1.3 with a pre-shared key (RFC 8446, no certificates), which proves the keys and protects the frames.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/transport/tcp/authentication.h"

namespace laconic {

// What a link is for; both sides must mean the same.
enum class LinkPurpose : std::uint8_t { control = 1, peer = 2, state = 3, benchmark = 4 };
std::string_view name_of(LinkPurpose purpose);

struct LinkSettings {
  std::optional<Key> key;              // shared by all members of the run
  bool tls = false;                    // encrypts as well; needs a key
  bool allow_unauthenticated = false;  // without a key only loopback addresses are talked to otherwise
  double handshake_timeout = 5;        // seconds until an unfinished handshake is closed
  double send_timeout = 30;            // seconds that the other side may take no bytes
  std::size_t frame_limit = std::size_t{64} << 20;  // id, payload and what protects them
};
// Error(usage): TLS without a key, or an address beyond this machine without a key.
// Else the settings.
const LinkSettings& check_settings(const LinkSettings& settings, std::string_view address);

struct Packet {
  std::uint16_t id = 0;
  Bytes payload;
};

class LinkProtocol {
 public:
  enum class Side { opener, accepter };
  // Ids from here on belong to the protocol.
  static constexpr std::uint16_t first_own_id = 0xFFF0;

  LinkProtocol(Side side, LinkPurpose purpose, const LinkSettings& settings);
  ~LinkProtocol();
  LinkProtocol(const LinkProtocol&) = delete;
  LinkProtocol& operator=(const LinkProtocol&) = delete;

  // What the socket gave. Throws Error(corrupt) for what breaks the protocol, Error(input) for another
  // version, purpose or key, Error(io) when the other side refused; output() then holds what it should still
  // be told. Packets that came before are kept.
  void received(ByteSpan bytes);
  // The other side closed. Throws where that is no proper end: within a frame or before the welcome.
  void ended();

  bool established() const { return stage_ == Stage::established; }
  std::optional<Packet> next_packet();
  // Only when established; a payload beyond the frame limit is Error(input).
  void send(std::uint16_t id, ByteSpan payload);
  // Takes what is to be written to the socket, in order.
  Bytes output();
  bool has_output() const { return !output_.empty(); }

  // A key for something else that both sides of this connection share and nobody knows; the link has a key.
  Key exported_key(std::string_view label) const;

 private:
  enum class Stage { hello, proof, welcome, established, failed };
  struct Tls;

  void parse();
  void handle(std::uint16_t id, ByteSpan payload);
  void handle_hello(ByteSpan payload);
  void handle_proof(ByteSpan payload);
  void send_hello();
  void emit(std::uint16_t id, ByteSpan payload);
  void derive_keys();
  Key proof_of(Side side) const;
  [[noreturn]] void refuse(ErrorKind kind, std::string_view reason);
  void check_first_byte(std::byte first);
  bool has_mac() const { return settings_.key.has_value() && !settings_.tls; }

  Side side_;
  LinkPurpose purpose_;
  LinkSettings settings_;
  Stage stage_ = Stage::hello;
  std::unique_ptr<Tls> tls_;
  bool saw_bytes_ = false, protected_in_ = false, protected_out_ = false;
  Bytes input_;  // frames that are not complete yet, from consumed_ on
  std::size_t consumed_ = 0;
  Bytes output_;
  std::deque<Packet> packets_;
  Bytes own_hello_, other_hello_;  // without proofs
  Key session_ = {};               // from the shared key and both nonces
  std::optional<Authenticator> mac_in_, mac_out_;
  std::uint64_t sequence_in_ = 0, sequence_out_ = 0;
};

}  // namespace laconic
