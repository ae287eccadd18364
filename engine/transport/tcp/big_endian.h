// Integers as they stand on the wire: most significant byte first.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

#include "engine/base/bytes.h"

namespace laconic {

template <std::unsigned_integral T>
T load_big_endian(const std::byte* from) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(static_cast<T>(value << (sizeof(T) > 1 ? 8 : 0)) | static_cast<T>(from[i]));
  return value;
}

template <std::unsigned_integral T>
void store_big_endian(T value, std::byte* to) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    to[i] = static_cast<std::byte>(value >> (8 * (sizeof(T) - 1 - i)));
}

template <std::unsigned_integral T>
void append_big_endian(Bytes& bytes, T value) {
  bytes.resize(bytes.size() + sizeof(T));
  store_big_endian(value, bytes.data() + bytes.size() - sizeof(T));
}

}  // namespace laconic
