#include "lab/fused.h"

#include <ATen/Parallel.h>
#include <torch/autograd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

// The loops below are compiled for plain x86-64 and again for AVX2; the better one is chosen when the program
// starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LACONIC_LAB_KERNEL __attribute__((target_clones("arch=haswell", "default")))
#else
#define LACONIC_LAB_KERNEL
#endif

namespace laconic::lab {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// e^x for x <= 0 in a form that compilers vectorise: 2^n p(r), relative error below 3e-7; 0 below -87.
inline float exp_of_negative(float x) {
  x = std::max(x, -87.0f);
  const float scaled = x * 1.44269504f;
  const int n = static_cast<int>(scaled - 0.5f);
  const float r = x - static_cast<float>(n) * 0.693359375f + static_cast<float>(n) * 2.12194440e-4f;
  float p = 1.9875691e-4f;
  p = p * r + 1.3981999e-3f;
  p = p * r + 8.3334519e-3f;
  p = p * r + 4.1665796e-2f;
  p = p * r + 1.6666666e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  return p * std::bit_cast<float>((n + 127) << 23);
}

inline float sigmoid(float x) {
  const float e = exp_of_negative(-std::fabs(x));
  return (x >= 0 ? 1.0f : e) / (1.0f + e);
}

LACONIC_LAB_KERNEL void rms_forward(const float* x, const float* weight, float* y, float* scale,
                                    std::int64_t rows, std::int64_t width, float epsilon) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, y += width) {
    float sum = 0;
    for (std::int64_t i = 0; i < width; ++i) sum += x[i] * x[i];
    const float s = 1.0f / std::sqrt(sum / static_cast<float>(width) + epsilon);
    scale[row] = s;
    for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] * s * weight[i];
  }
}

LACONIC_LAB_KERNEL void rms_backward(const float* x, const float* weight, const float* scale, const float* dy,
                                     float* dx, float* dweight, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    const float s = scale[row];
    float dot = 0;
    for (std::int64_t i = 0; i < width; ++i) {
      dot += dy[i] * weight[i] * x[i];
      dweight[i] += dy[i] * x[i] * s;
    }
    const float pull = dot * s * s * s / static_cast<float>(width);
    for (std::int64_t i = 0; i < width; ++i) dx[i] = dy[i] * weight[i] * s - x[i] * pull;
  }
}

LACONIC_LAB_KERNEL void rotate_rows(const float* x, const float* cosine, const float* sine, float* y,
                                    std::int64_t tokens, std::int64_t heads, std::int64_t dim,
                                    std::int64_t first, std::int64_t rows, float sign) {
  const std::int64_t half = dim / 2;
  for (std::int64_t row = first; row < first + rows; ++row) {  // one token of one window
    const float* c = cosine + (row % tokens) * dim;
    const float* s = sine + (row % tokens) * dim;
    for (std::int64_t head = 0; head < heads; ++head) {
      const float* from = x + (row * heads + head) * dim;
      float* to = y + (row * heads + head) * dim;
      for (std::int64_t i = 0; i < half; ++i) {
        to[i] = from[i] * c[i] + sign * from[half + i] * s[i];
        to[half + i] = from[half + i] * c[half + i] + sign * from[i] * s[half + i];
      }
    }
  }
}

LACONIC_LAB_KERNEL void swiglu_forward(const float* gate, const float* up, float* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

LACONIC_LAB_KERNEL void swiglu_backward(const float* gate, const float* up, const float* dy, float* dgate,
                                        float* dup, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float s = sigmoid(gate[i]);
    dup[i] = dy[i] * gate[i] * s;
    dgate[i] = dy[i] * up[i] * s * (1.0f + gate[i] * (1.0f - s));
  }
}

struct KeyRange {
  std::int64_t begin, end;
};
inline KeyRange keys_of(std::int64_t query, std::int64_t window) {
  return {window > 0 ? std::max<std::int64_t>(0, query + 1 - window) : 0, query + 1};
}

LACONIC_LAB_KERNEL void softmax_rows(const float* scores, float* y, std::int64_t tokens, std::int64_t first,
                                     std::int64_t rows, float scale, std::int64_t window) {
  for (std::int64_t row = first; row < first + rows; ++row) {
    const auto [begin, end] = keys_of(row % tokens, window);
    const float* from = scores + row * tokens;
    float* to = y + row * tokens;
    std::fill(to, to + begin, 0.0f);
    std::fill(to + end, to + tokens, 0.0f);
    float top = from[begin];
    for (std::int64_t i = begin; i < end; ++i) top = std::max(top, from[i]);
    float sum = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      to[i] = exp_of_negative((from[i] - top) * scale);
      sum += to[i];
    }
    const float inverse = 1.0f / sum;
    for (std::int64_t i = begin; i < end; ++i) to[i] *= inverse;
  }
}

LACONIC_LAB_KERNEL void softmax_rows_backward(const float* y, const float* dy, float* dx, std::int64_t tokens,
                                              std::int64_t first, std::int64_t rows, float scale,
                                              std::int64_t window) {
  for (std::int64_t row = first; row < first + rows; ++row) {
    const auto [begin, end] = keys_of(row % tokens, window);
    const float* p = y + row * tokens;
    const float* d = dy + row * tokens;
    float* to = dx + row * tokens;
    std::fill(to, to + begin, 0.0f);
    std::fill(to + end, to + tokens, 0.0f);
    float dot = 0;
    for (std::int64_t i = begin; i < end; ++i) dot += p[i] * d[i];
    for (std::int64_t i = begin; i < end; ++i) to[i] = scale * p[i] * (d[i] - dot);
  }
}

constexpr std::int64_t row_grain = 64;

struct RmsNorm : Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
                            double epsilon) {
    const at::Tensor x = input.contiguous();
    const std::int64_t width = x.size(-1), rows = x.numel() / width;
    at::Tensor y = at::empty_like(x), scale = at::empty({rows}, x.options());
    const float *px = x.data_ptr<float>(), *pw = weight.data_ptr<float>();
    float *py = y.data_ptr<float>(), *ps = scale.data_ptr<float>();
    at::parallel_for(0, rows, row_grain, [&](std::int64_t begin, std::int64_t end) {
      rms_forward(px + begin * width, pw, py + begin * width, ps + begin, end - begin, width,
                  static_cast<float>(epsilon));
    });
    context->save_for_backward({x, weight, scale});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &scale = saved[2];
    const at::Tensor dy = gradients[0].contiguous();
    const std::int64_t width = x.size(-1), rows = x.numel() / width;
    constexpr std::int64_t tile =
        512;  // fixed, so that the sum over rows does not depend on the thread count
    const std::int64_t tiles = (rows + tile - 1) / tile;
    at::Tensor dx = at::empty_like(x), dweight = at::zeros({tiles, width}, x.options());
    const float *px = x.data_ptr<float>(), *pw = weight.data_ptr<float>(), *ps = scale.data_ptr<float>();
    const float* pdy = dy.data_ptr<float>();
    float *pdx = dx.data_ptr<float>(), *pdw = dweight.data_ptr<float>();
    at::parallel_for(0, tiles, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        const std::int64_t first = t * tile, count = std::min(tile, rows - first);
        rms_backward(px + first * width, pw, ps + first, pdy + first * width, pdx + first * width,
                     pdw + t * width, count, width);
      }
    });
    return {dx, dweight.sum(0), at::Tensor()};
  }
};

at::Tensor rotated(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, float sign) {
  at::Tensor y = at::empty_like(x);
  const std::int64_t tokens = x.size(1), heads = x.size(2), dim = x.size(3);
  const float *px = x.data_ptr<float>(), *pc = cosine.data_ptr<float>(), *ps = sine.data_ptr<float>();
  float* py = y.data_ptr<float>();
  at::parallel_for(0, x.size(0) * tokens, row_grain, [&](std::int64_t begin, std::int64_t end) {
    rotate_rows(px, pc, ps, py, tokens, heads, dim, begin, end - begin, sign);
  });
  return y;
}

struct Rotate : Function<Rotate> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cosine,
                            const at::Tensor& sine) {
    context->save_for_backward({cosine, sine});
    return rotated(x.contiguous(), cosine, sine, 1.0f);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    // A rotation's transpose turns the other way.
    return {rotated(gradients[0].contiguous(), saved[0], saved[1], -1.0f), at::Tensor(), at::Tensor()};
  }
};

struct SwiGlu : Function<SwiGlu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_input,
                            const at::Tensor& up_input) {
    const at::Tensor gate = gate_input.contiguous(), up = up_input.contiguous();
    at::Tensor y = at::empty_like(gate);
    const float *pg = gate.data_ptr<float>(), *pu = up.data_ptr<float>();
    float* py = y.data_ptr<float>();
    at::parallel_for(0, gate.numel(), 1 << 14, [&](std::int64_t begin, std::int64_t end) {
      swiglu_forward(pg + begin, pu + begin, py + begin, end - begin);
    });
    context->save_for_backward({gate, up});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor dy = gradients[0].contiguous();
    at::Tensor dgate = at::empty_like(dy), dup = at::empty_like(dy);
    const float *pg = saved[0].data_ptr<float>(), *pu = saved[1].data_ptr<float>(),
                *pdy = dy.data_ptr<float>();
    float *pdg = dgate.data_ptr<float>(), *pdu = dup.data_ptr<float>();
    at::parallel_for(0, dy.numel(), 1 << 14, [&](std::int64_t begin, std::int64_t end) {
      swiglu_backward(pg + begin, pu + begin, pdy + begin, pdg + begin, pdu + begin, end - begin);
    });
    return {dgate, dup};
  }
};

struct CausalSoftmax : Function<CausalSoftmax> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, double scale,
                            std::int64_t window) {
    const at::Tensor scores = input.contiguous();
    const std::int64_t tokens = scores.size(-1);
    at::Tensor y = at::empty_like(scores);
    const float* px = scores.data_ptr<float>();
    float* py = y.data_ptr<float>();
    at::parallel_for(0, scores.numel() / tokens, row_grain, [&](std::int64_t begin, std::int64_t end) {
      softmax_rows(px, py, tokens, begin, end - begin, static_cast<float>(scale), window);
    });
    context->saved_data["scale"] = scale;
    context->saved_data["window"] = window;
    context->save_for_backward({y});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor y = context->get_saved_variables()[0], dy = gradients[0].contiguous();
    const float scale = static_cast<float>(context->saved_data["scale"].toDouble());
    const std::int64_t window = context->saved_data["window"].toInt(), tokens = y.size(-1);
    at::Tensor dx = at::empty_like(dy);
    const float *py = y.data_ptr<float>(), *pdy = dy.data_ptr<float>();
    float* pdx = dx.data_ptr<float>();
    at::parallel_for(0, y.numel() / tokens, row_grain, [&](std::int64_t begin, std::int64_t end) {
      softmax_rows_backward(py, pdy, pdx, tokens, begin, end - begin, scale, window);
    });
    return {dx, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  return RmsNorm::apply(x, weight, epsilon);
}
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine) {
  return Rotate::apply(x, cosine, sine);
}
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) { return SwiGlu::apply(gate, up); }
at::Tensor causal_softmax(const at::Tensor& scores, double scale, std::int64_t window) {
  return CausalSoftmax::apply(scores, scale, window);
}

}  // namespace laconic::lab
