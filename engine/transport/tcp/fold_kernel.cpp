#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/transport/tcp/fold_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "engine/base/error.h"
#include "engine/transport/tcp/fold_kernel.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T, class Combine>
std::size_t FoldLoop(const std::byte* a, const std::byte* b, std::byte* to, std::size_t count,
                     Combine combine) {
  const hn::ScalableTag<T> d;
  const std::size_t lanes = hn::Lanes(d);
  const T* left = reinterpret_cast<const T*>(a);
  const T* right = reinterpret_cast<const T*>(b);
  T* out = reinterpret_cast<T*>(to);
  std::size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    const auto first = combine(hn::LoadU(d, left + i), hn::LoadU(d, right + i));
    const auto second = combine(hn::LoadU(d, left + i + lanes), hn::LoadU(d, right + i + lanes));
    hn::StoreU(first, d, out + i);
    hn::StoreU(second, d, out + i + lanes);
  }
  return i;
}

template <class T>
std::size_t FoldOf(ReduceOp op, const std::byte* a, const std::byte* b, std::byte* to, std::size_t count) {
  using V = hn::Vec<hn::ScalableTag<T>>;
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::avg:
      return FoldLoop<T>(a, b, to, count, [](V x, V y) HWY_ATTR { return hn::Add(x, y); });
    case ReduceOp::prod:
      if constexpr (std::is_floating_point_v<T> || sizeof(T) == 2 || sizeof(T) == 4)
        return FoldLoop<T>(a, b, to, count, [](V x, V y) HWY_ATTR { return hn::Mul(x, y); });
      return 0;
    case ReduceOp::max:
      // Written as the scalar form is, so that NaN and zeros of both signs come out alike.
      if constexpr (std::is_floating_point_v<T>)
        return FoldLoop<T>(a, b, to, count,
                           [](V x, V y) HWY_ATTR { return hn::IfThenElse(hn::Gt(y, x), y, x); });
      else
        return FoldLoop<T>(a, b, to, count, [](V x, V y) HWY_ATTR { return hn::Max(x, y); });
    case ReduceOp::min:
      if constexpr (std::is_floating_point_v<T>)
        return FoldLoop<T>(a, b, to, count,
                           [](V x, V y) HWY_ATTR { return hn::IfThenElse(hn::Lt(y, x), y, x); });
      else
        return FoldLoop<T>(a, b, to, count, [](V x, V y) HWY_ATTR { return hn::Min(x, y); });
  }
  return 0;
}

// Returns how many elements were folded.
std::size_t Fold(NumberType type, ReduceOp op, const std::byte* a, const std::byte* b, std::byte* to,
                 std::size_t count) {
#if HWY_TARGET == HWY_SCALAR
  (void)type, (void)op, (void)a, (void)b, (void)to, (void)count;
  return 0;
#else
  switch (type) {
    case NumberType::u8:
      return FoldOf<std::uint8_t>(op, a, b, to, count);
    case NumberType::u16:
      return FoldOf<std::uint16_t>(op, a, b, to, count);
    case NumberType::u32:
      return FoldOf<std::uint32_t>(op, a, b, to, count);
    case NumberType::u64:
      return FoldOf<std::uint64_t>(op, a, b, to, count);
    case NumberType::i8:
      return FoldOf<std::int8_t>(op, a, b, to, count);
    case NumberType::i16:
      return FoldOf<std::int16_t>(op, a, b, to, count);
    case NumberType::i32:
      return FoldOf<std::int32_t>(op, a, b, to, count);
    case NumberType::i64:
      return FoldOf<std::int64_t>(op, a, b, to, count);
    case NumberType::f32:
      return FoldOf<float>(op, a, b, to, count);
    case NumberType::f64:
      return FoldOf<double>(op, a, b, to, count);
    case NumberType::f16:
    case NumberType::bf16:
      break;
  }
  return 0;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
namespace {

template <class T>
T fold_one(ReduceOp op, T a, T b) {
  // Integers wrap, which signed arithmetic of the language does not.
  using Wrapping = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::avg:
      return static_cast<T>(static_cast<Wrapping>(a) + static_cast<Wrapping>(b));
    case ReduceOp::prod:
      return static_cast<T>(static_cast<Wrapping>(a) * static_cast<Wrapping>(b));
    case ReduceOp::max:
      return b > a ? b : a;
    case ReduceOp::min:
      return b < a ? b : a;
  }
  return a;
}

template <class Act>
void with_type(NumberType type, Act act) {
  switch (type) {
    case NumberType::u8:
      return act(std::uint8_t{});
    case NumberType::u16:
      return act(std::uint16_t{});
    case NumberType::u32:
      return act(std::uint32_t{});
    case NumberType::u64:
      return act(std::uint64_t{});
    case NumberType::i8:
      return act(std::int8_t{});
    case NumberType::i16:
      return act(std::int16_t{});
    case NumberType::i32:
      return act(std::int32_t{});
    case NumberType::i64:
      return act(std::int64_t{});
    case NumberType::f32:
      return act(float{});
    case NumberType::f64:
      return act(double{});
    case NumberType::f16:
    case NumberType::bf16:
      break;
  }
  fail(ErrorKind::internal, "16-bit floats are folded as f32");
}

}  // namespace

HWY_EXPORT(Fold);

void fold_numbers(NumberType type, ReduceOp op, const std::byte* a, const std::byte* b, std::byte* to,
                  std::size_t count) {
  const std::size_t done = HWY_DYNAMIC_DISPATCH(Fold)(type, op, a, b, to, count);
  const std::size_t skip = done * size_of(type);
  fold_numbers_scalar(type, op, a + skip, b + skip, to + skip, count - done);
}

void fold_numbers_scalar(NumberType type, ReduceOp op, const std::byte* a, const std::byte* b, std::byte* to,
                         std::size_t count) {
  with_type(type, [&]<class T>(T) {
    for (std::size_t i = 0; i < count; ++i) {
      T left, right;
      std::memcpy(&left, a + i * sizeof(T), sizeof(T));
      std::memcpy(&right, b + i * sizeof(T), sizeof(T));
      const T folded = fold_one(op, left, right);
      std::memcpy(to + i * sizeof(T), &folded, sizeof(T));
    }
  });
}

void divide_numbers(NumberType type, std::size_t divisor, std::byte* values, std::size_t count) {
  with_type(type, [&]<class T>(T) {
    for (std::size_t i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, values + i * sizeof(T), sizeof(T));
      if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
        value = static_cast<T>(static_cast<std::int64_t>(value) / static_cast<std::int64_t>(divisor));
      } else if constexpr (std::is_integral_v<T>) {
        value = static_cast<T>(static_cast<std::uint64_t>(value) / divisor);
      } else {
        value /= static_cast<T>(divisor);
      }
      std::memcpy(values + i * sizeof(T), &value, sizeof(T));
    }
  });
}

}  // namespace laconic
#endif
