// Adversarial training: the loss at the worst inputs near the given ones, found by projected gradient ascent,
// and its gradient there (Danskin's theorem; Madry et al. 2018, arXiv 1706.06083; the inner loop of FreeLB,
// arXiv 1909.11764).
//
//   delta_0 = 0;  x_k = x + delta_k
//   delta_(k+1) = clip(delta_k + rate sign(grad_x loss(x_k)), -radius, radius), and x within what inputs may
//   be
//
// Pictures: radius and rate are shares of the distance from black to white, and pixels stay between them.
// Rows of numbers: as they are, without bounds. It begins at the given inputs, so that the same point and
// examples have the same loss.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "methods/gradients/tasks/classified_rows.h"
#include "methods/gradients/tasks/task_options.h"

namespace laconic {

struct AttackSettings {
  double radius = 0;  // 0: no attack
  std::int64_t steps = 3;
  double rate = 0;
};

// Options attack-radius, attack-steps (3) and attack-rate (2.5 radius / steps). They are taken only when one
// of them is given: the text of other tasks stays what it was.
AttackSettings take_attack(TaskOptions& options);

class InputAttack {
 public:
  InputAttack(const AttackSettings& settings, const ClassifiedRows& rows);
  bool is_on() const { return settings_.radius > 0; }
  // Moves `inputs`, [batch, width]. `differentiate` writes the gradient of the batch's loss by its inputs, of
  // any positive scale.
  using Differentiate = std::function<void(std::span<const float> inputs, std::span<float> gradient)>;
  void find(std::span<float> inputs, const Differentiate& differentiate);

 private:
  AttackSettings settings_;
  std::vector<ClassifiedRows::Range> ranges_;  // by number of a row
  std::vector<float> clean_, gradient_;
};

}  // namespace laconic
