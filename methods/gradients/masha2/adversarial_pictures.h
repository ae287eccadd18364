// Card 08's vision claim: a network of pictures that is fine-tuned against attacks on its inputs (projected
// gradient ascent, input_attack.h) by four workers, uncompressed and in MASHA's form.
//
// All arms begin at the same network, trained on clean pictures; take the same steps with the same
// minibatches and the best rate of the same grid; and are measured on held-out pictures under a stronger
// attack.
#pragma once

#include <cstdint>
#include <vector>

#include "methods/reproduce.h"

namespace laconic::masha {

// Adds claims, a table, curves and notes. mnist with the lab's convolutional network, or the library's
// perceptron where there is no lab; nothing but a note where there are no pictures.
void adversarial_pictures(const ReproduceRequest& request, ArmCache& cache,
                          const std::vector<std::uint64_t>& seeds, Reproduction& result);

}  // namespace laconic::masha
