// The outer optimizer of training by local steps: workers leave a common point, take steps of their own, and
// what they reached on average says where the common point goes next.
//
//   d_k      = x_k - mean_i x^i_{k,tau}                      pseudo-gradient of round k, k = t - delay
//   Lambda_t = 1 + |x_t - x_k| / (|d_k| + 1e-12)             staleness gap, over `gap`; 1 without delay
//   m_t      = beta m_{t-1} + d_k / (gamma_k Lambda_t)       elementwise in [-clip, clip]
//   x_{t+1}  = x_t - alpha gamma_t m_t                       Nesterov: d_k / (gamma_k Lambda_t) + beta m_t
//
//   Local-SGD (Stich 2019, arXiv 1805.09767)          delay 0, alpha 1, beta 0: x_{t+1} is the mean
//   SlowMo (Wang et al. 2020, arXiv 1910.00643)       delay 0
//   DiLoCo (Douillard et al. 2023, arXiv 2311.08105)  delay 0, alpha 0.7, Nesterov 0.9
//   CO2 (Sun et al. 2024, arXiv 2401.16265)           delay 1, gap, clip
//
// gamma is how far the inner optimizer went in that round (its rate, or the sum of the rates of its steps);
// with `rates` false it is left out (1), as pseudo- gradients carry it already. Sums for the gap run over the
// parts of the ranks in their order, so that a worker that keeps one part only (`owner`) moves it by the same
// bits as one that keeps everything.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/exchange/tensor_layout.h"

namespace laconic {

struct OuterForm {
  enum class Gap { none, constant, whole, tensor, element };  // what one Lambda is for
  int delay = 1;                                              // 0 or 1 rounds
  double alpha = 1;                                           // > 0
  double beta = 0;                                            // [0, 1)
  bool nesterov = false;
  Gap gap = Gap::none;
  double gap_constant = 1;  // Gap::constant: Lambda
  double clip = std::numeric_limits<double>::infinity();
  bool rates = false;
  // Without a mean in the first round: x_1 = x_0, or (keep_local) each worker goes on where it is, and x_1
  // is the mean of that once it is known. Only with delay 1.
  bool keep_local = false;

  // Everything that decides the numbers; forms are equal when their texts are.
  std::string text() const;
};
// Error(usage) that names what makes no sense.
void check_outer_form(const OuterForm& form, std::string_view where);

// How a vector is dealt to ranks: numbers of part p, ascending runs. The parts of a ring reduce-scatter of
// every bucket (reductions.h).
struct NumberRun {
  std::size_t offset = 0, size = 0;
};
std::vector<std::vector<NumberRun>> bucket_parts(const std::vector<Bucket>& buckets, int ranks);

// What arrives is the mean of the workers' points, or of their pseudo-gradients.
enum class RoundMean { points, displacements };

struct OuterStep {
  double gap = 1;       // Lambda; the mean over tensors or numbers where there are many
  double largest = 0;   // of |m| (of the numbers kept here)
  double pressure = 0;  // alpha q / Lambda + beta: 1 and above grows without bound on a quadratic; 0: unknown
};

struct NamedNumbers {
  std::string name;
  std::vector<float> numbers;
};

class OuterUpdate {
 public:
  // From `start`, the same on all ranks. `owner`: the part that is kept, which its rank alone moves; -1: all.
  OuterUpdate(const OuterForm& form, const std::vector<TensorSlice>& tensors,
              std::vector<std::vector<NumberRun>> parts, std::span<const float> start, int owner = -1);

  const OuterForm& form() const { return form_; }
  // x_t, and x_{t-1} (delay 1; else x_t): the numbers that are kept, by ascending place in the vector.
  std::span<const float> point() const { return point_; }
  std::span<const float> point_before() const { return form_.delay == 0 ? point_ : before_; }
  std::span<const float> momentum() const { return momentum_; }
  std::size_t kept() const { return point_.size(); }
  const std::vector<NumberRun>& kept_runs() const { return runs_; }

  // Sums of this rank's part, told to all ranks: by part, the sums of each. Where everything is kept it is
  // not called.
  using ShareSums = std::function<std::vector<std::vector<double>>(const std::vector<double>& own)>;

  // One round further. `mean`: of round t - delay, of the numbers kept; of points or displacements from x_k.
  // `rate_then`, `rate_now`: gamma_k and gamma_t.
  OuterStep advance(std::span<const float> mean, RoundMean what, double rate_then, double rate_now,
                    const ShareSums& share = {});
  // A round without a mean: nothing arrived yet (the first one), or it was refused. x_{t+1} = x_t.
  void stay();
  // The first mean with keep_local, d_0 in the momentum: x_1 is the mean, and so is x_2.
  OuterStep adopt(std::span<const float> mean, RoundMean what, double rate_then);

  // For a checkpoint or a newcomer: x_t, x_{t-1}, m, and what the estimate of pressure stands on.
  std::vector<NamedNumbers> state() const;
  // Error(corrupt) on names or lengths that are not these.
  void set_state(const std::vector<NamedNumbers>& state, std::string_view where);

 private:
  struct Piece {
    std::size_t group = 0, first = 0, last = 0;  // places among the numbers kept
  };
  struct Part {
    std::vector<Piece> pieces;
    std::vector<std::size_t> samples;  // of the vectors below
  };
  double displacement(std::span<const float> mean, RoundMean what, std::size_t place) const;
  bool takes_the_mean(RoundMean what) const;
  std::vector<double> part_sums(const Part& part, std::span<const float> mean, RoundMean what) const;
  std::vector<double> all_sums(std::span<const float> mean, RoundMean what, const ShareSums& share) const;
  double pressure_of(double product, double square, double gap);
  void remember_displacement(std::span<const float> mean, RoundMean what);
  void remember_way(bool moved);

  OuterForm form_;
  int owner_;
  std::size_t groups_ = 1;
  std::vector<NumberRun> runs_;
  std::vector<Part> parts_;  // all, or the owner's
  std::vector<float> point_, before_, momentum_;
  // At some places of the vector: the last pseudo-gradient, the way to x_t and that to x_{t-1}. Secants tell
  // how a pseudo-gradient grows with the distance.
  std::vector<std::size_t> places_;
  std::vector<float> last_displacement_, way_, way_before_, sampled_point_;
  bool has_last_ = false;
  double smoothed_ = 0;
  std::int64_t secants_ = 0;
};

}  // namespace laconic
