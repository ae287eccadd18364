// Vector forms of the row-wise kernels. Sums run in f32 lanes over pieces of 256 values and in f64 over the
// pieces, both in a fixed order.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/row_kernel.cpp"
#include <hwy/foreach_target.h>

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/row_kernel.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;

constexpr std::int64_t piece = 256;

float MaxOf(const float* x, std::int64_t size) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  float top = x[0];
  std::int64_t i = 0;
  if (size >= lanes) {
    // Four chains, or each comparison would wait for the one before.
    auto best = hn::LoadU(d, x), second = best, third = best, fourth = best;
    for (; i + 4 * lanes <= size; i += 4 * lanes) {
      best = hn::Max(best, hn::LoadU(d, x + i));
      second = hn::Max(second, hn::LoadU(d, x + i + lanes));
      third = hn::Max(third, hn::LoadU(d, x + i + 2 * lanes));
      fourth = hn::Max(fourth, hn::LoadU(d, x + i + 3 * lanes));
    }
    best = hn::Max(hn::Max(best, second), hn::Max(third, fourth));
    for (; i + lanes <= size; i += lanes) best = hn::Max(best, hn::LoadU(d, x + i));
    top = hn::GetLane(hn::MaxOfLanes(d, best));
  }
  for (; i < size; ++i) top = std::max(top, x[i]);
  return top;
}

void ScaleRow(float* x, std::int64_t size, float factor) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto factors = hn::Set(d, factor);
  std::int64_t i = 0;
  for (; i + lanes <= size; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), factors), d, x + i);
  for (; i < size; ++i) x[i] *= factor;
}

void RmsNorm(const float* x, const float* weight, std::int64_t size, float eps, float* y) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  double sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += piece) {
    const std::int64_t end = std::min(size, begin + piece);
    auto squares = hn::Zero(d);
    std::int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const auto v = hn::LoadU(d, x + i);
      squares = hn::MulAdd(v, v, squares);
    }
    sum += hn::GetLane(hn::SumOfLanes(d, squares));
    for (; i < end; ++i) sum += static_cast<double>(x[i]) * x[i];
  }
  const auto scale = static_cast<float>(1 / std::sqrt(sum / static_cast<double>(size) + eps));
  const auto scales = hn::Set(d, scale);
  std::int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), scales), hn::LoadU(d, weight + i)), d, y + i);
  }
  for (; i < size; ++i) y[i] = x[i] * scale * weight[i];
}

void SiluMultiply(float* gate, const float* up, std::int64_t size) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto one = hn::Set(d, 1.0f);
  std::int64_t i = 0;
  for (; i + lanes <= size; i += lanes) {
    const auto g = hn::LoadU(d, gate + i);
    // Below -87 the exponential is kept finite: silu is -0 there to f32.
    const auto e = hn::Exp(d, hn::Min(hn::Neg(g), hn::Set(d, 87.0f)));
    hn::StoreU(hn::Mul(hn::Div(g, hn::Add(one, e)), hn::LoadU(d, up + i)), d, gate + i);
  }
  for (; i < size; ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

// x_i = e^(factor (x_i - top)) when `out` is given; returns the sum in any case.
double ExpSum(const float* x, std::int64_t size, float top, float factor, float* out) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto shift = hn::Set(d, top), scale = hn::Set(d, factor);
  double sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += piece) {
    const std::int64_t end = std::min(size, begin + piece);
    auto sums = hn::Zero(d);
    std::int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const auto e = hn::Exp(d, hn::Mul(hn::Sub(hn::LoadU(d, x + i), shift), scale));
      if (out != nullptr) hn::StoreU(e, d, out + i);
      sums = hn::Add(sums, e);
    }
    sum += hn::GetLane(hn::SumOfLanes(d, sums));
    for (; i < end; ++i) {
      const float e = std::exp((x[i] - top) * factor);
      if (out != nullptr) out[i] = e;
      sum += e;
    }
  }
  return sum;
}

void Softmax(float* scores, std::int64_t size, float factor) {
  const double sum = ExpSum(scores, size, MaxOf(scores, size), factor, scores);
  ScaleRow(scores, size, static_cast<float>(1 / sum));
}

// e^(x - top), 0 below e^-87: 2^n 2^r with r in [-1/2, 1/2], 2^r a polynomial with a relative error of 8e-8.
template <class D>
HWY_INLINE hn::Vec<D> ExpBelow(D d, hn::Vec<D> x, hn::Vec<D> top) {
  const hn::RebindToSigned<D> di;
  const auto t = hn::Mul(hn::Sub(x, top), hn::Set(d, 1.44269504f));
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const auto shifter = hn::Set(d, 12582912.0f);
  const auto shifted = hn::Add(t, shifter);
  const auto r = hn::Sub(t, hn::Sub(shifted, shifter));
  auto p = hn::Set(d, 1.3276471979e-03f);
  p = hn::MulAdd(p, r, hn::Set(d, 9.6755413342e-03f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.5507132735e-02f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.4022119724e-01f));
  p = hn::MulAdd(p, r, hn::Set(d, 6.9314696706e-01f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0000000717e+00f));
  const auto scaled = hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
  return hn::IfThenElseZero(hn::Gt(t, hn::Set(d, -125.5f)), hn::BitCast(d, scaled));
}

// The same bits for an entry wherever it stands and whatever follows it.
double Exponentials(float* x, std::int64_t size, float top) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto tops = hn::Set(d, top);
  double sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += piece) {
    const std::int64_t end = std::min(size, begin + piece);
    auto sums = hn::Zero(d);
    std::int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const auto e = ExpBelow(d, hn::LoadU(d, x + i), tops);
      hn::StoreU(e, d, x + i);
      sums = hn::Add(sums, e);
    }
    if (i < end) {
      HWY_ALIGN float rest[hn::MaxLanes(Floats())];
      std::fill_n(rest, lanes, -std::numeric_limits<float>::infinity());
      std::copy(x + i, x + end, rest);
      const auto e = ExpBelow(d, hn::Load(d, rest), tops);
      hn::Store(e, d, rest);
      std::copy_n(rest, end - i, x + i);
      sums = hn::Add(sums, e);
    }
    sum += hn::GetLane(hn::SumOfLanes(d, sums));
  }
  return sum;
}

double LogSumExp(const float* x, std::int64_t size) {
  const float top = MaxOf(x, size);
  return static_cast<double>(top) + std::log(ExpSum(x, size, top, 1.0f, nullptr));
}

double KlDivergence(const float* a, double a_shift, const float* b, double b_shift, std::int64_t size) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto shift = hn::Set(d, static_cast<float>(a_shift));
  // ln p - ln q = (a - b) - (a_shift - b_shift): the difference of shifts is rounded once, not each shift.
  const double both = a_shift - b_shift;
  const auto difference = hn::Set(d, static_cast<float>(both));
  // e^(a - shift) with the shift rounded to f32 sums to this instead of 1.
  const double correction = std::exp(static_cast<double>(static_cast<float>(a_shift)) - a_shift);
  double sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += piece) {
    const std::int64_t end = std::min(size, begin + piece);
    auto sums = hn::Zero(d);
    std::int64_t i = begin;
    for (; i + lanes <= end; i += lanes) {
      const auto va = hn::LoadU(d, a + i);
      const auto p = hn::Exp(d, hn::Sub(va, shift));
      sums = hn::MulAdd(p, hn::Sub(hn::Sub(va, hn::LoadU(d, b + i)), difference), sums);
    }
    sum += hn::GetLane(hn::SumOfLanes(d, sums));
    for (; i < end; ++i) {
      sum += static_cast<double>(std::exp(a[i] - static_cast<float>(a_shift))) *
             (static_cast<double>(a[i]) - b[i] - both);
    }
  }
  return sum * correction;
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(MaxOf);
HWY_EXPORT(ScaleRow);
HWY_EXPORT(RmsNorm);
HWY_EXPORT(SiluMultiply);
HWY_EXPORT(Softmax);
HWY_EXPORT(Exponentials);
HWY_EXPORT(LogSumExp);
HWY_EXPORT(KlDivergence);

void scale_row(float* x, std::int64_t size, float factor) { HWY_DYNAMIC_DISPATCH(ScaleRow)(x, size, factor); }
float largest_of(const float* x, std::int64_t size) { return HWY_DYNAMIC_DISPATCH(MaxOf)(x, size); }
void rms_norm(const float* x, const float* weight, std::int64_t size, float eps, float* y) {
  HWY_DYNAMIC_DISPATCH(RmsNorm)(x, weight, size, eps, y);
}
void silu_multiply(float* gate, const float* up, std::int64_t size) {
  HWY_DYNAMIC_DISPATCH(SiluMultiply)(gate, up, size);
}
void softmax(float* scores, std::int64_t size, float factor) {
  HWY_DYNAMIC_DISPATCH(Softmax)(scores, size, factor);
}
double exponentials(float* x, std::int64_t size, float top) {
  return HWY_DYNAMIC_DISPATCH(Exponentials)(x, size, top);
}
double log_sum_exp(const float* x, std::int64_t size) { return HWY_DYNAMIC_DISPATCH(LogSumExp)(x, size); }
double kl_divergence(const float* a, double a_shift, const float* b, double b_shift, std::int64_t size) {
  return HWY_DYNAMIC_DISPATCH(KlDivergence)(a, a_shift, b, b_shift, size);
}
}  // namespace laconic
#endif
