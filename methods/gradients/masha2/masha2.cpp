// MASHA2 (Beznosikov, Richtarik, Diskin, Ryabinin, Gasnikov 2022, arXiv 2110.03313), card 08: extragradient
// for saddle points whose devices send any contractive messages; an error memory keeps what was not sent,
// with the step size inside.
//
//   zh = tau z + (1 - tau) w - gamma F(w)
//   p_m = gamma (F_m(zh) - F_m(w)) + e_m;  g_m = C(p_m) is sent;  e_m <- p_m - g_m;  z <- zh - mean g_m
//   with probability 1 - tau: w <- z, and F_m(w) is sent whole
//
// The loop is methods/gradients/extragradient.h, for any Oracle of a saddle point.
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/masha2/reproduce.h"

namespace laconic {

MethodDescription describe_masha2() {
  MethodDescription method;
  method.slug = "masha2";
  method.card = 8;
  method.title = "Distributed Methods with Compressed Communication for Solving Variational Inequalities";
  method.paper = "Beznosikov, Richtarik, Diskin, Ryabinin, Gasnikov; NeurIPS 2022; arXiv 2110.03313";
  method.subject = "gradients";
  method.summary = "compressed extragradient for saddle points, error feedback with the step inside";
  method.reproduce = masha::reproduce;
  return method;
}

}  // namespace laconic
