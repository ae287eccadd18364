// The extragradient method (Korpelevich 1976) with whole messages: the baseline of MASHA.
//
//   zh = z - gamma F(z);  z <- z - gamma F(zh)
//
// The loop is methods/gradients/extragradient.h with Variant::dense.
#include "methods/gradients/gradient_method.h"

namespace laconic {

MethodDescription describe_extragradient() {
  MethodDescription method;
  method.slug = "extragradient";
  method.title = "The extragradient method for finding saddle points and other problems";
  method.paper = "Korpelevich; Matecon 12, 1976";
  method.subject = "gradients";
  method.summary = "uncompressed extragradient for saddle points";
  return method;
}

}  // namespace laconic
