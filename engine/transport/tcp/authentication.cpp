#include "engine/transport/tcp/authentication.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

constexpr std::string_view key_salt = "laconic link key 1";

const unsigned char* as_raw(ByteSpan bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
unsigned char* as_raw(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }

void must(bool done, std::string_view what) {
  if (!done) fail(ErrorKind::internal, std::string("OpenSSL cannot ") + std::string(what));
}

Key hkdf(ByteSpan key, ByteSpan salt, std::string_view label) {
  std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr),
                                                        EVP_KDF_free);
  must(kdf != nullptr, "find HKDF");
  std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf.get()),
                                                                    EVP_KDF_CTX_free);
  char digest[] = "SHA256";
  // The parameters are read only, whatever their type says; an absent salt is one of zeros (RFC 5869).
  std::vector<OSSL_PARAM> parameters = {
      OSSL_PARAM_construct_utf8_string("digest", digest, 0),
      OSSL_PARAM_construct_octet_string("key", const_cast<std::byte*>(key.data()), key.size()),
      OSSL_PARAM_construct_octet_string("info", const_cast<char*>(label.data()), label.size())};
  if (!salt.empty())
    parameters.push_back(
        OSSL_PARAM_construct_octet_string("salt", const_cast<std::byte*>(salt.data()), salt.size()));
  parameters.push_back(OSSL_PARAM_construct_end());
  Key derived;
  must(context != nullptr &&
           EVP_KDF_derive(context.get(), as_raw(derived.data()), derived.size(), parameters.data()) == 1,
       "derive a key");
  return derived;
}

}  // namespace

Key key_from_file(const std::filesystem::path& path) {
  constexpr std::uint64_t least = 16, most = 1 << 20;
  const std::uint64_t size = std::filesystem::is_regular_file(path) ? std::filesystem::file_size(path) : 0;
  if (size < least || size > most) {
    fail(ErrorKind::input, "is no key: a regular file of 16 bytes to 1 MiB", path.string(),
         "make one: head -c 32 /dev/urandom > FILE");
  }
  Bytes content = read_file(path, most);
  const Key key = hkdf(content, as_byte_span(key_salt), "file");
  OPENSSL_cleanse(content.data(), content.size());
  return key;
}

Key key_from_phrase(std::string_view phrase) {
  if (phrase.size() < 8) fail(ErrorKind::usage, "a pass phrase has at least 8 characters");
  Key key;
  const ByteSpan salt = as_byte_span(key_salt);
  must(EVP_PBE_scrypt(phrase.data(), phrase.size(), as_raw(salt), salt.size(), 1 << 15, 8, 1,
                      std::uint64_t{64} << 20, as_raw(key.data()), key.size()) == 1,
       "derive a key from a phrase");
  return key;
}

void fill_random(std::span<std::byte> bytes) {
  must(RAND_bytes(as_raw(bytes.data()), static_cast<int>(bytes.size())) == 1, "give random numbers");
}

Key random_key() {
  Key key;
  fill_random(key);
  return key;
}

Key derived_key(const Key& key, ByteSpan salt, std::string_view label) { return hkdf(key, salt, label); }

bool equal_secrets(ByteSpan a, ByteSpan b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

struct Authenticator::State {
  std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac{EVP_MAC_fetch(nullptr, "HMAC", nullptr),
                                                        EVP_MAC_free};
  std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> context{nullptr, EVP_MAC_CTX_free};
};

Authenticator::Authenticator(const Key& key) : state_(std::make_unique<State>()) {
  must(state_->mac != nullptr, "find HMAC");
  state_->context.reset(EVP_MAC_CTX_new(state_->mac.get()));
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                   OSSL_PARAM_construct_end()};
  must(state_->context != nullptr &&
           EVP_MAC_init(state_->context.get(), as_raw(key), key.size(), parameters) == 1,
       "begin HMAC");
}
Authenticator::~Authenticator() = default;
Authenticator::Authenticator(Authenticator&&) noexcept = default;
Authenticator& Authenticator::operator=(Authenticator&&) noexcept = default;

void Authenticator::update(ByteSpan bytes) {
  if (bytes.empty()) return;
  must(EVP_MAC_update(state_->context.get(), as_raw(bytes), bytes.size()) == 1, "go on with HMAC");
}

Key Authenticator::finish() {
  Key code;
  std::size_t size = 0;
  must(EVP_MAC_final(state_->context.get(), as_raw(code.data()), &size, code.size()) == 1 &&
           size == code.size() && EVP_MAC_init(state_->context.get(), nullptr, 0, nullptr) == 1,
       "finish HMAC");
  return code;
}

struct FrameSealer::State {
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context{EVP_CIPHER_CTX_new(),
                                                                          EVP_CIPHER_CTX_free};
  Key key;
  std::uint64_t frame = 0;
  int encrypting = -1;  // what the context is set up for

  void begin(bool encrypt) {
    unsigned char nonce[12] = {};
    for (int i = 0; i < 8; ++i) nonce[4 + i] = static_cast<unsigned char>(frame >> (56 - 8 * i));
    ++frame;
    const int direction = encrypt ? 1 : 0;
    // The key schedule is kept from frame to frame.
    const bool same = encrypting == direction;
    must(EVP_CipherInit_ex(context.get(), same ? nullptr : EVP_aes_256_gcm(), nullptr,
                           same ? nullptr : as_raw(key), nonce, direction) == 1,
         "begin a frame");
    encrypting = direction;
  }
  void add(ByteSpan bytes) {
    int size = 0;
    if (bytes.empty()) return;
    must(EVP_CipherUpdate(context.get(), nullptr, &size, as_raw(bytes), static_cast<int>(bytes.size())) == 1,
         "protect a frame");
  }
  void transform(ByteSpan from, std::byte* to) {
    int size = 0;
    if (from.empty()) return;
    must(EVP_CipherUpdate(context.get(), as_raw(to), &size, as_raw(from), static_cast<int>(from.size())) == 1,
         "encrypt a frame");
  }
  void take_tag(std::span<std::byte, tag_bytes> tag) {
    unsigned char nothing[16];
    int size = 0;
    must(EVP_CipherFinal_ex(context.get(), nothing, &size) == 1 &&
             EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, tag_bytes, tag.data()) == 1,
         "finish a frame");
  }
  bool matches(std::span<const std::byte, tag_bytes> tag) {
    std::array<std::byte, tag_bytes> copy;
    std::copy(tag.begin(), tag.end(), copy.begin());
    unsigned char nothing[16];
    int size = 0;
    must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, tag_bytes, copy.data()) == 1,
         "check a frame");
    return EVP_CipherFinal_ex(context.get(), nothing, &size) == 1;
  }
};

FrameSealer::FrameSealer(const Key& key) : state_(std::make_unique<State>()) {
  must(state_->context != nullptr, "make a cipher");
  state_->key = key;
}
FrameSealer::~FrameSealer() {
  if (state_ != nullptr) OPENSSL_cleanse(state_->key.data(), state_->key.size());
}
FrameSealer::FrameSealer(FrameSealer&&) noexcept = default;
FrameSealer& FrameSealer::operator=(FrameSealer&&) noexcept = default;

void FrameSealer::protect(ByteSpan header, ByteSpan payload, std::span<std::byte, tag_bytes> tag) {
  state_->begin(true);
  state_->add(header);
  state_->add(payload);
  state_->take_tag(tag);
}
void FrameSealer::encrypt(ByteSpan header, ByteSpan payload, std::byte* to,
                          std::span<std::byte, tag_bytes> tag) {
  state_->begin(true);
  state_->add(header);
  state_->transform(payload, to);
  state_->take_tag(tag);
}
bool FrameSealer::check(ByteSpan header, ByteSpan payload, std::span<const std::byte, tag_bytes> tag) {
  state_->begin(false);
  state_->add(header);
  state_->add(payload);
  return state_->matches(tag);
}
bool FrameSealer::decrypt(ByteSpan header, std::span<std::byte> payload,
                          std::span<const std::byte, tag_bytes> tag) {
  state_->begin(false);
  state_->add(header);
  state_->transform(payload, payload.data());
  return state_->matches(tag);
}

}  // namespace laconic
