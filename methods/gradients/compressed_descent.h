// Distributed gradient descent with lossy messages and whatever memory keeps them honest: SGD, compressed
// SGD, EF, EF21, EF21-W, EF21-SGDM and EControl are settings of one loop.
//
//   worker i:   g_i = gradient of f_i at x
//               q_i = memory(g_i / (n w_i)), sent as C(q_i); the memory is settled with the decoded d_i
//   everybody:  G <- G + sum w_i d_i with an estimator (G is the sum of w_i h_i), else G = sum w_i d_i
//               x <- x - gamma G
//
// Sums run in the order of the workers, so that every rank that takes part holds the same bits of x.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/feedback/feedback.h"
#include "methods/gradients/channel.h"
#include "methods/gradients/oracle.h"
#include "methods/gradients/workers.h"

namespace laconic {

struct DescentSettings {
  FeedbackForm form;            // the default remembers nothing
  double step = 0;              // gamma
  std::vector<double> weights;  // w_i, positive, of sum 1; empty: 1 / n each
  enum class Start {
    zero,
    compressed,
    dense
  } start = Start::dense;  // h_i at the first point (with an estimator)
  // EC-Ideal: constants s_i [workers][dimension] that are subtracted before and added after; empty: none.
  std::vector<std::vector<double>> shifts;
  // Chance that a worker takes part in a step, drawn for each worker and step from `seed`, which all share;
  // who does not keeps its memories, and G what it sent last. Below 1 only with an estimator.
  double participation = 1;
  std::uint64_t seed = 0;
  int resync_every = 1000;  // G is summed anew from the h_i of local workers that often, where all are local
};

class CompressedDescent {
 public:
  // Borrows oracle and workers, and the channel. Throws Error(usage) on settings that make no sense.
  CompressedDescent(const Oracle& oracle, Workers& workers, const Channel& channel, DescentSettings settings,
                    std::vector<double> start);

  // One step. False when a gradient somewhere was not finite: then nothing has changed but the count of
  // steps.
  bool step();

  const std::vector<double>& point() const { return x_; }
  // What x moves along: G.
  const std::vector<double>& direction() const { return direction_; }
  std::uint64_t steps() const { return steps_; }
  std::uint64_t refused_steps() const { return refused_; }
  // Serialised bytes of all workers' messages, the first ones that are sent whole included.
  std::uint64_t bytes_up() const { return up_; }
  const BasicFeedback<double>& memory(int local_worker) const {
    return memories_[static_cast<std::size_t>(local_worker)];
  }

  // Point, direction, memories of local workers and counts. restore() refuses what another run wrote.
  Bytes save() const;
  void restore(ByteSpan bytes, std::string_view where);

 private:
  void begin();
  double weight(int worker) const;
  bool takes_part(int worker) const;
  std::string settings_text() const;

  const Oracle& oracle_;
  Workers& workers_;
  const Channel& channel_;
  DescentSettings settings_;
  std::vector<double> x_, direction_;
  std::vector<Bytes> messages_;           // kept for their memory,
  std::vector<double> change_, decoded_;  // like these
  std::vector<char> is_made_;             // by local worker
  std::vector<BasicFeedback<double>> memories_;
  std::uint64_t steps_ = 0, refused_ = 0, up_ = 0;
  bool begun_ = false;
};

}  // namespace laconic
