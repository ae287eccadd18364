#include "engine/transport/tcp/link_protocol.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "engine/base/error.h"
#include "engine/transport/tcp/big_endian.h"
#include "engine/transport/tcp/endpoint.h"

namespace laconic {
namespace {

constexpr std::uint16_t hello_id = 0xFFF0, proof_id = 0xFFF1, welcome_id = 0xFFF2, refused_id = 0xFFF3;
constexpr std::string_view link_magic = "laconic\n";
constexpr std::uint16_t link_version = 1;
constexpr std::size_t nonce_bytes = 32, proof_bytes = 32, hello_bytes = 8 + 2 + 1 + 1 + 1 + nonce_bytes;
constexpr std::size_t length_bytes = 8, id_bytes = 2, sequence_bytes = 8, mac_bytes = 16;
// Before the other side is known it may not make this one keep more than that.
constexpr std::size_t handshake_limit = 1024;
constexpr std::size_t reason_limit = 512;

enum Protection : std::uint8_t { unprotected = 0, authenticated = 1, encrypted = 2 };

Protection protection_of(const LinkSettings& settings) {
  if (settings.tls) return encrypted;
  return settings.key ? authenticated : unprotected;
}

std::string_view name_of_protection(std::uint8_t protection) {
  switch (protection) {
    case unprotected:
      return "no key";
    case authenticated:
      return "a shared key";
    case encrypted:
      return "TLS";
    default:
      return "an unknown protection";
  }
}

// Text of the other side, fit to be shown.
std::string printable(ByteSpan bytes) {
  std::string text(as_text(bytes.first(std::min(bytes.size(), reason_limit))));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return text;
}

std::string openssl_reason() {
  std::string reason = "no reason given";
  while (const unsigned long code = ERR_get_error()) {
    if (const char* text = ERR_reason_error_string(code)) reason = text;
  }
  return reason;
}

}  // namespace

std::string_view name_of(LinkPurpose purpose) {
  switch (purpose) {
    case LinkPurpose::control:
      return "control";
    case LinkPurpose::peer:
      return "peer-to-peer";
    case LinkPurpose::state:
      return "shared-state";
    case LinkPurpose::benchmark:
      return "benchmark";
  }
  return "unknown";
}

const LinkSettings& check_settings(const LinkSettings& settings, std::string_view address) {
  if (settings.tls && !settings.key) {
    fail(ErrorKind::usage, "TLS needs a shared key", {}, "give a key file or a pass phrase");
  }
  if (!settings.key && !settings.allow_unauthenticated && !is_loopback(address)) {
    fail(ErrorKind::usage, "without a shared key only programs of this machine are talked to",
         address.empty() ? "every address" : address,
         "give a key file, use 127.0.0.1, or allow unauthenticated links in a network that you trust");
  }
  return settings;
}

// TLS as a transformer of bytes: ciphertext goes in and out through memory.
struct LinkProtocol::Tls {
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context{SSL_CTX_new(TLS_method()), SSL_CTX_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> session{nullptr, SSL_free};
  Key secret;
  Bytes waiting;  // plaintext until the handshake is done

  static constexpr const char* identity = "laconic";

  static unsigned int give_secret(SSL* ssl, unsigned char* to, unsigned int size) {
    const Tls* self = static_cast<const Tls*>(SSL_get_app_data(ssl));
    if (self == nullptr || size < self->secret.size()) return 0;
    std::memcpy(to, self->secret.data(), self->secret.size());
    return static_cast<unsigned int>(self->secret.size());
  }
  static unsigned int client_secret(SSL* ssl, const char*, char* name, unsigned int name_size,
                                    unsigned char* to, unsigned int size) {
    if (name_size < std::strlen(identity) + 1) return 0;
    std::strcpy(name, identity);
    return give_secret(ssl, to, size);
  }
  static unsigned int server_secret(SSL* ssl, const char* name, unsigned char* to, unsigned int size) {
    return std::string_view(name) == identity ? give_secret(ssl, to, size) : 0;
  }

  Tls(Side side, const Key& key) : secret(derived_key(key, {}, "laconic tls")) {
    SSL_CTX* ctx = context.get();
    require(ctx != nullptr && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
                SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") == 1 &&
                SSL_CTX_set_num_tickets(ctx, 0) == 1,
            "OpenSSL speaks TLS 1.3");
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    // A pre-shared key counts as a session, which a verifying server accepts within a named context only, and
    // a client only without one.
    if (side == Side::accepter)
      SSL_CTX_set_session_id_context(ctx, reinterpret_cast<const unsigned char*>(identity), 7);
    // There are no certificates: a key exchange without the key's proof must not get through.
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_psk_client_callback(ctx, client_secret);
    SSL_CTX_set_psk_server_callback(ctx, server_secret);
    session.reset(SSL_new(ctx));
    require(session != nullptr, "OpenSSL makes a session");
    SSL_set_app_data(session.get(), this);
    SSL_set_bio(session.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (side == Side::opener) {
      SSL_set_connect_state(session.get());
    } else {
      SSL_set_accept_state(session.get());
    }
  }

  bool ready() const { return SSL_is_init_finished(session.get()) == 1; }

  void check(int result) const {
    const int fault = SSL_get_error(session.get(), result);
    if (result > 0 || fault == SSL_ERROR_WANT_READ || fault == SSL_ERROR_WANT_WRITE) return;
    if (fault == SSL_ERROR_ZERO_RETURN) return;
    fail(ready() ? ErrorKind::corrupt : ErrorKind::input, "TLS failed: " + openssl_reason(), {},
         ready() ? "" : "do both sides hold the same key?");
  }

  void write(ByteSpan plain, Bytes& output) {
    ERR_clear_error();
    if (!ready()) {
      waiting.insert(waiting.end(), plain.begin(), plain.end());
      step(output);
      return;
    }
    if (!plain.empty()) check(SSL_write(session.get(), plain.data(), static_cast<int>(plain.size())));
    drain(output);
  }

  // Goes on with the handshake; when it is done what waited is written.
  void step(Bytes& output) {
    ERR_clear_error();
    if (!ready()) {
      const int result = SSL_do_handshake(session.get());
      drain(output);
      check(result);
    }
    if (ready() && !waiting.empty()) {
      const Bytes plain = std::exchange(waiting, {});
      write(plain, output);
    }
  }

  void read(ByteSpan cipher, Bytes& plain, Bytes& output) {
    ERR_clear_error();
    BIO_write(SSL_get_rbio(session.get()), cipher.data(), static_cast<int>(cipher.size()));
    step(output);
    if (!ready()) return;
    for (;;) {
      constexpr std::size_t record = 16384;
      const std::size_t size = plain.size();
      plain.resize(size + record);
      ERR_clear_error();
      const int count = SSL_read(session.get(), plain.data() + size, static_cast<int>(record));
      plain.resize(size + static_cast<std::size_t>(std::max(count, 0)));
      if (count <= 0) {
        drain(output);
        check(count);
        return;
      }
    }
  }

  void drain(Bytes& output) {
    BIO* bio = SSL_get_wbio(session.get());
    const std::size_t pending = BIO_ctrl_pending(bio);
    const std::size_t size = output.size();
    output.resize(size + pending);
    if (pending > 0) BIO_read(bio, output.data() + size, static_cast<int>(pending));
  }
};

LinkProtocol::LinkProtocol(Side side, LinkPurpose purpose, const LinkSettings& settings)
    : side_(side), purpose_(purpose), settings_(settings) {
  require(!settings.tls || settings.key, "TLS has a key");
  if (settings.tls) tls_ = std::make_unique<Tls>(side, *settings.key);
  own_hello_ = {as_byte_span(link_magic).begin(), as_byte_span(link_magic).end()};
  append_big_endian(own_hello_, link_version);
  append_big_endian(own_hello_, static_cast<std::uint8_t>(std::endian::native == std::endian::little));
  append_big_endian(own_hello_, static_cast<std::uint8_t>(purpose));
  append_big_endian(own_hello_, static_cast<std::uint8_t>(protection_of(settings)));
  own_hello_.resize(hello_bytes);
  fill_random(std::span(own_hello_).last(nonce_bytes));
  if (side == Side::opener) send_hello();
}

LinkProtocol::~LinkProtocol() = default;

void LinkProtocol::emit(std::uint16_t id, ByteSpan payload) {
  const bool with_mac = protected_out_;
  const std::size_t length = id_bytes + payload.size() + (with_mac ? sequence_bytes + mac_bytes : 0);
  Bytes frame;
  frame.reserve(length_bytes + length);
  append_big_endian(frame, static_cast<std::uint64_t>(length));
  append_big_endian(frame, id);
  frame.insert(frame.end(), payload.begin(), payload.end());
  if (with_mac) {
    std::byte number[sequence_bytes];
    store_big_endian(sequence_out_++, number);
    mac_out_->update(number);
    mac_out_->update(ByteSpan(frame).subspan(length_bytes));
    const Key code = mac_out_->finish();
    frame.insert(frame.end(), number, number + sequence_bytes);
    frame.insert(frame.end(), code.begin(), code.begin() + mac_bytes);
  }
  if (tls_ != nullptr) {
    tls_->write(frame, output_);
  } else if (output_.empty()) {
    output_ = std::move(frame);
  } else {
    output_.insert(output_.end(), frame.begin(), frame.end());
  }
}

void LinkProtocol::refuse(ErrorKind kind, std::string_view reason) {
  stage_ = Stage::failed;
  try {
    emit(refused_id, as_byte_span(reason.substr(0, reason_limit)));
  } catch (const Error&) {
    // The reason could not be told; it is thrown here all the same.
  }
  fail(kind, reason);
}

void LinkProtocol::check_first_byte(std::byte first) {
  // TLS begins with a handshake (22) or an alert (21), a frame of ours with the high byte of a small length.
  const bool tls = first == std::byte{22} || first == std::byte{21}, frame = first == std::byte{0};
  if (settings_.tls && frame) {
    tls_.reset();
    refuse(ErrorKind::input, "this side wants TLS, the other side came without");
  }
  if (!settings_.tls && tls) {
    refuse(ErrorKind::input, "the other side wants TLS, this side goes without");
  }
  if (!tls && !frame) {
    stage_ = Stage::failed;
    fail(ErrorKind::corrupt, "this is another protocol");
  }
}

void LinkProtocol::received(ByteSpan bytes) {
  if (stage_ == Stage::failed || bytes.empty()) return;
  try {
    if (!saw_bytes_) {
      saw_bytes_ = true;
      check_first_byte(bytes.front());
    }
    if (tls_ != nullptr) {
      tls_->read(bytes, input_, output_);
    } else {
      input_.insert(input_.end(), bytes.begin(), bytes.end());
    }
    parse();
  } catch (...) {
    stage_ = Stage::failed;
    throw;
  }
}

void LinkProtocol::parse() {
  for (;;) {
    const std::size_t limit = stage_ == Stage::established ? settings_.frame_limit : handshake_limit;
    const ByteSpan rest = ByteSpan(input_).subspan(consumed_);
    if (rest.size() < length_bytes) break;
    const auto length = load_big_endian<std::uint64_t>(rest.data());
    if (length < id_bytes || length > limit) {
      refuse(ErrorKind::corrupt,
             fmt::format("a frame of {} bytes where {} to {} are allowed", length, id_bytes, limit));
    }
    if (rest.size() - length_bytes < length) break;
    const ByteSpan frame = rest.subspan(length_bytes, static_cast<std::size_t>(length));
    // A refusal before the welcome may come from a side that could not make keys. It ends the link, which
    // whoever can forge it could do as well.
    if (!established() && load_big_endian<std::uint16_t>(frame.data()) == refused_id)
      handle(refused_id, frame.subspan(id_bytes));
    const std::size_t trailer = protected_in_ ? sequence_bytes + mac_bytes : 0;
    if (frame.size() < id_bytes + trailer)
      refuse(ErrorKind::corrupt, "a frame is too short for what protects it");
    const ByteSpan body = frame.first(frame.size() - trailer);
    if (protected_in_) {
      const ByteSpan number = frame.subspan(body.size(), sequence_bytes);
      if (const auto sequence = load_big_endian<std::uint64_t>(number.data()); sequence != sequence_in_) {
        refuse(ErrorKind::corrupt, fmt::format("frame {} came where {} was due: repeated, lost or forged",
                                               sequence, sequence_in_));
      }
      mac_in_->update(number);
      mac_in_->update(body);
      const Key code = mac_in_->finish();
      if (!equal_secrets(ByteSpan(code).first(mac_bytes), frame.last(mac_bytes)))
        refuse(ErrorKind::corrupt, "a frame was changed on its way, or forged");
      ++sequence_in_;
    }
    consumed_ += length_bytes + frame.size();
    handle(load_big_endian<std::uint16_t>(body.data()), body.subspan(id_bytes));
  }
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(consumed_));
  consumed_ = 0;
}

void LinkProtocol::handle(std::uint16_t id, ByteSpan payload) {
  if (id == refused_id) {
    stage_ = Stage::failed;
    fail(ErrorKind::io, "the other side refused: " + printable(payload));
  }
  switch (stage_) {
    case Stage::hello:
      if (id != hello_id) refuse(ErrorKind::corrupt, "a link begins with HELLO");
      return handle_hello(payload);
    case Stage::proof:
      if (id != proof_id) refuse(ErrorKind::corrupt, "PROOF follows HELLO");
      return handle_proof(payload);
    case Stage::welcome:
      if (id != welcome_id || !payload.empty()) refuse(ErrorKind::corrupt, "WELCOME follows PROOF");
      stage_ = Stage::established;
      return;
    case Stage::established:
      if (id >= first_own_id) refuse(ErrorKind::corrupt, "a packet of the handshake after its end");
      packets_.push_back({id, Bytes(payload.begin(), payload.end())});
      return;
    case Stage::failed:
      return;
  }
}

void LinkProtocol::send_hello() {
  Bytes hello = own_hello_;
  if (side_ == Side::accepter && has_mac()) {
    const Key proof = proof_of(Side::accepter);
    hello.insert(hello.end(), proof.begin(), proof.end());
  }
  emit(hello_id, hello);
}

void LinkProtocol::handle_hello(ByteSpan payload) {
  const auto unlike = [&](std::string_view reason) { refuse(ErrorKind::input, reason); };
  if (payload.size() < link_magic.size() + 2 || as_text(payload.first(link_magic.size())) != link_magic)
    refuse(ErrorKind::corrupt, "this is another protocol");
  if (const auto version = load_big_endian<std::uint16_t>(payload.data() + link_magic.size());
      version != link_version) {
    unlike(
        fmt::format("the other side speaks version {} of the protocol, this side {}", version, link_version));
  }
  const bool proof_due = side_ == Side::opener && has_mac();
  if (payload.size() < hello_bytes) refuse(ErrorKind::corrupt, "HELLO is cut short");
  const auto byte_at = [&](std::size_t i) {
    return std::to_integer<std::uint8_t>(payload[link_magic.size() + 2 + i]);
  };
  if (byte_at(0) != (std::endian::native == std::endian::little ? 1 : 0))
    unlike("the two sides order the bytes of numbers differently");
  if (byte_at(1) != static_cast<std::uint8_t>(purpose_)) {
    unlike(fmt::format("this is a {} port, the other side wants a {} link", name_of(purpose_),
                       name_of(static_cast<LinkPurpose>(byte_at(1)))));
  }
  if (byte_at(2) != protection_of(settings_)) {
    unlike(fmt::format("the other side comes with {}, this side with {}", name_of_protection(byte_at(2)),
                       name_of_protection(protection_of(settings_))));
  }
  if (payload.size() != hello_bytes + (proof_due ? proof_bytes : 0))
    refuse(ErrorKind::corrupt, "HELLO has the wrong length");
  other_hello_ = {payload.begin(), payload.begin() + hello_bytes};
  // The nonce of a side is its own: with the same one on both sides proofs could be sent back.
  if (other_hello_ == own_hello_) refuse(ErrorKind::corrupt, "HELLO was sent back");
  if (has_mac()) derive_keys();
  if (side_ == Side::accepter) {
    send_hello();
    stage_ = Stage::proof;
    return;
  }
  Key proof = {};
  if (has_mac()) {
    if (!equal_secrets(payload.last(proof_bytes), proof_of(Side::accepter)))
      unlike("the other side holds another key");
    proof = proof_of(Side::opener);
  }
  emit(proof_id, has_mac() ? ByteSpan(proof) : ByteSpan());
  protected_in_ = protected_out_ = has_mac();
  stage_ = Stage::welcome;
}

void LinkProtocol::handle_proof(ByteSpan payload) {
  if (has_mac() ? !equal_secrets(payload, proof_of(Side::opener)) : !payload.empty())
    refuse(ErrorKind::input, "the other side holds another key");
  protected_in_ = protected_out_ = has_mac();
  stage_ = Stage::established;
  emit(welcome_id, {});
}

void LinkProtocol::derive_keys() {
  const Bytes& opener = side_ == Side::opener ? own_hello_ : other_hello_;
  const Bytes& accepter = side_ == Side::opener ? other_hello_ : own_hello_;
  Bytes salt = opener;
  salt.insert(salt.end(), accepter.begin(), accepter.end());
  session_ = derived_key(*settings_.key, salt, "laconic session");
  const Key to_accepter = derived_key(session_, {}, "frames to accepter");
  const Key to_opener = derived_key(session_, {}, "frames to opener");
  mac_out_.emplace(side_ == Side::opener ? to_accepter : to_opener);
  mac_in_.emplace(side_ == Side::opener ? to_opener : to_accepter);
}

Key LinkProtocol::proof_of(Side side) const {
  const Bytes& opener = side_ == Side::opener ? own_hello_ : other_hello_;
  const Bytes& accepter = side_ == Side::opener ? other_hello_ : own_hello_;
  Authenticator proof(
      derived_key(session_, {}, side == Side::opener ? "proof of opener" : "proof of accepter"));
  proof.update(opener);
  proof.update(accepter);
  return proof.finish();
}

Key LinkProtocol::exported_key(std::string_view label) const {
  require(established() && settings_.key, "a link with a key exports keys");
  if (tls_ == nullptr) return derived_key(session_, {}, "export " + std::string(label));
  Key key;
  const std::string whole = "EXPORTER-laconic-" + std::string(label);
  require(SSL_export_keying_material(tls_->session.get(), reinterpret_cast<unsigned char*>(key.data()),
                                     key.size(), whole.data(), whole.size(), nullptr, 0, 0) == 1,
          "TLS exports a key");
  return key;
}

void LinkProtocol::ended() {
  if (stage_ == Stage::failed) return;
  if (!established()) {
    stage_ = Stage::failed;
    fail(ErrorKind::io, "the other side closed during the handshake", {}, "is it the same program?");
  }
  const bool within_record = tls_ != nullptr && SSL_has_pending(tls_->session.get()) == 1;
  if (!input_.empty() || within_record) fail(ErrorKind::corrupt, "the other side closed within a frame");
}

std::optional<Packet> LinkProtocol::next_packet() {
  if (packets_.empty()) return std::nullopt;
  Packet packet = std::move(packets_.front());
  packets_.pop_front();
  return packet;
}

void LinkProtocol::send(std::uint16_t id, ByteSpan payload) {
  require(established() && id < first_own_id, "packets follow the handshake");
  if (payload.size() > settings_.frame_limit - id_bytes - sequence_bytes - mac_bytes) {
    fail(ErrorKind::input, fmt::format("a packet of {} bytes is beyond the limit of {}", payload.size(),
                                       settings_.frame_limit));
  }
  emit(id, payload);
}

Bytes LinkProtocol::output() { return std::exchange(output_, {}); }

}  // namespace laconic
