// Compressed extragradient for variational inequalities and saddle points: find z with F(z) = 0, F the mean
// of F_m. MASHA1 (unbiased messages) and MASHA2 (any contractive ones, error feedback with the step inside),
// Beznosikov et al. 2022, arXiv 2110.03313, algorithms 1 and 2; card 08. The uncompressed extragradient and
// its naive compression are the baselines of the same loop.
//
//   zbar = tau z + (1 - tau) w
//   zh   = P(zbar - gamma F(w))              without a message: F(w) is known everywhere
//   MASHA1: g  = Q_s(mean Q_m(F_m(zh) - F_m(w)))
//           z+ = P(zbar - gamma (F(w) + g))
//   MASHA2: p_m = gamma (F_m(zh) - F_m(w)) + e_m, sent as C_m(p_m); likewise at the server, which gives g
//           z+ = P(zbar - gamma F(w) - g)
//   With probability 1 - tau, w+ = z+ and F_m(w+) is sent whole.
//
// Of a problem with samples (minibatches), F(w) and F_m(w+) are over all data and the difference is between
// the same sample at zh and at w: a variance-reduced step, as loopless SVRG takes it. Where all data are too
// many, F_m(w) is the mean over some samples that are drawn anew for every refresh (as SCSG takes it, Lei and
// Jordan 2017, arXiv 1609.03261). The baselines take the same sample at z and zh.
//
// The coin is drawn from a stream that all share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/feedback/feedback.h"
#include "methods/gradients/channel.h"
#include "methods/gradients/oracle.h"
#include "methods/gradients/workers.h"

namespace laconic {

struct ExtragradientSettings {
  enum class Variant { masha1, masha2, dense, naive } variant = Variant::masha1;
  double step = 0;   // gamma
  double tau = 0.9;  // in [0, 1]; 1 - tau is the chance of a refresh. Not used by dense and naive
  std::uint64_t seed = 0;
  std::function<void(std::span<double>)> project;  // P; null: everything is feasible
  // A point farther out than 1e6 times the start (or its first step) halves gamma and goes back to w, with
  // empty memories; dense and naive go back to the start.
  bool halve_on_divergence = true;
  bool sampled = false;  // the oracle has samples, and all_samples
  // Sampled: over how many samples of a worker F_m(w) goes; 0: over all of its data.
  std::int64_t reference_samples = 0;
  bool whole_in_f32 = false;  // whole vectors travel in f32: half the bytes, and a floor of 1e-7
};

class Extragradient {
 public:
  // `up` from the devices, `down` from the server; null: the server sends whole vectors. Borrows all of them.
  Extragradient(const Oracle& oracle, Workers& workers, const Channel& up, const Channel* down,
                ExtragradientSettings settings, std::vector<double> start);

  // One step. False when an operator was not finite somewhere: then nothing has changed.
  bool step();

  const std::vector<double>& point() const { return z_; }
  std::uint64_t steps() const { return steps_; }
  std::uint64_t refreshes() const { return refreshes_; }
  // Serialised bytes per device, and from the server to each; refreshes included.
  double bytes_up() const { return static_cast<double>(up_bytes_) / workers_.count(); }
  double bytes_down() const { return static_cast<double>(down_bytes_); }
  // gamma is inside the memories; e_m of a local worker, and the server's (MASHA2).
  const BasicFeedback<double>& memory(int local_worker) const {
    return memories_[static_cast<std::size_t>(local_worker)];
  }
  const BasicFeedback<double>& server_memory() const { return server_memory_; }
  double gamma() const { return settings_.step; }
  int halvings() const { return halvings_; }

  // Points, operator values and memories of local workers, counts. restore() refuses what another run wrote.
  Bytes save() const;
  void restore(ByteSpan bytes, std::string_view where);

 private:
  // What the server sends back: every rank computes it, since all hold the same messages, and goes on with
  // what it decodes to.
  void send_down(const Channel& channel, std::vector<double>& vector, std::uint64_t step);
  // Of every worker at a point, exchanged whole; the mean goes to `mean`. False where one is not finite.
  bool evaluate_whole(const std::vector<double>& point, std::vector<std::vector<double>>& own,
                      std::vector<double>& mean);
  // Of every worker at a point, compressed, with its memory; the mean that all hold goes to `mean`.
  bool evaluate_compressed(const std::vector<double>& point, int round, std::vector<double>& mean);
  // F_m of a local worker where a reference goes through it.
  void evaluate_reference(const std::vector<double>& point, int worker, std::vector<double>& vector) const;
  bool has_reference() const;
  void halve_if_far();
  std::string settings_text() const;

  const Oracle& oracle_;
  Workers& workers_;
  const Channel& up_;
  const Channel* down_;
  ExtragradientSettings settings_;
  std::vector<double> z_, w_, at_w_;           // z, w, F(w)
  std::vector<double> start_;                  // z0
  std::vector<std::vector<double>> own_at_w_;  // F_m(w) of local workers
  std::vector<BasicFeedback<double>> memories_;
  BasicFeedback<double> server_memory_;
  std::uint64_t steps_ = 0, refreshes_ = 0, up_bytes_ = 0, down_bytes_ = 0;
  int halvings_ = 0;
  double reach_ = 0;  // 1e6 times the start or the first step
  bool begun_ = false;
  // Kept for their memory.
  std::vector<Bytes> messages_;
  Bytes down_message_;
  std::vector<double> zbar_, half_, mean_, decoded_, refreshed_;
  std::vector<char> is_made_;
  std::unique_ptr<Channel> whole_;
};

}  // namespace laconic
