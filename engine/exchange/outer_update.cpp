#include "engine/exchange/outer_update.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

constexpr double gap_floor = 1e-12;
constexpr std::size_t most_samples = std::size_t{1} << 16;
constexpr std::int64_t enough_secants = 3;
constexpr double secant_memory = 0.8;

std::string_view name_of(OuterForm::Gap gap) {
  switch (gap) {
    case OuterForm::Gap::none:
      return "none";
    case OuterForm::Gap::constant:
      return "constant";
    case OuterForm::Gap::whole:
      return "whole";
    case OuterForm::Gap::tensor:
      return "tensor";
    case OuterForm::Gap::element:
      return "element";
  }
  return "";
}

}  // namespace

std::string OuterForm::text() const {
  std::string text = fmt::format("delay {} alpha {} beta {}{} gap {}", delay, alpha, beta,
                                 nesterov ? " nesterov" : "", name_of(gap));
  if (gap == Gap::constant) text += fmt::format(" {}", gap_constant);
  if (std::isfinite(clip)) text += fmt::format(" clip {}", clip);
  if (rates) text += " by rates";
  if (keep_local) text += " keep local";
  return text;
}

void check_outer_form(const OuterForm& form, std::string_view where) {
  const auto refuse = [&](std::string_view what) { fail(ErrorKind::usage, what, where); };
  if (form.delay != 0 && form.delay != 1) refuse("a mean is used at once or one round later");
  if (!(form.alpha > 0) || !std::isfinite(form.alpha)) refuse("alpha is positive");
  if (!(form.beta >= 0 && form.beta < 1)) refuse("beta is in [0, 1)");
  if (!(form.clip > 0)) refuse("the bound of the momentum is positive");
  if (form.gap == OuterForm::Gap::constant && !(form.gap_constant >= 1 && std::isfinite(form.gap_constant)))
    refuse("a staleness gap is 1 or more");
  if (form.keep_local && form.delay == 0) refuse("only a mean that is late leaves a first round without one");
}

std::vector<std::vector<NumberRun>> bucket_parts(const std::vector<Bucket>& buckets, int ranks) {
  std::vector<std::vector<NumberRun>> parts(static_cast<std::size_t>(ranks));
  // Buckets are listed from the end of the vector.
  for (auto bucket = buckets.rbegin(); bucket != buckets.rend(); ++bucket) {
    const std::vector<std::size_t> bounds = parts_of(bucket->size, ranks);
    for (std::size_t p = 0; p < parts.size(); ++p) {
      if (bounds[p + 1] > bounds[p])
        parts[p].push_back({bucket->offset + bounds[p], bounds[p + 1] - bounds[p]});
    }
  }
  return parts;
}

OuterUpdate::OuterUpdate(const OuterForm& form, const std::vector<TensorSlice>& tensors,
                         std::vector<std::vector<NumberRun>> parts, std::span<const float> start, int owner)
    : form_(form), owner_(owner) {
  check_outer_form(form, "outer optimizer");
  const std::size_t size = layout_size(tensors);
  require(start.size() == size, "the start has the length of the model");
  require(owner < static_cast<int>(parts.size()), "a part is kept by its owner");
  require(owner < 0 || !form.keep_local, "points of workers that keep a part are common");
  const bool by_tensor = form.gap == OuterForm::Gap::tensor;
  groups_ = by_tensor ? tensors.size() : 1;
  const std::size_t stride = (size + most_samples - 1) / most_samples;
  if (owner >= 0) {
    parts = {std::move(parts[static_cast<std::size_t>(owner)])};
    runs_ = parts.front();
  } else {
    runs_ = {{0, size}};
  }
  std::size_t kept_before = 0;
  for (const std::vector<NumberRun>& runs : parts) {
    Part part;
    for (const NumberRun& run : runs) {
      const std::size_t first = owner >= 0 ? kept_before : run.offset;
      kept_before += run.size;
      if (!by_tensor) {
        part.pieces.push_back({0, first, first + run.size});
      } else {
        for (std::size_t t = 0; t < tensors.size(); ++t) {
          const std::size_t begin = std::max(run.offset, tensors[t].offset);
          const std::size_t end = std::min(run.offset + run.size, tensors[t].offset + tensors[t].size);
          if (begin < end) part.pieces.push_back({t, first + begin - run.offset, first + end - run.offset});
        }
      }
      const std::size_t to_sample = (stride - run.offset % stride) % stride;
      for (std::size_t j = to_sample; j < run.size; j += stride) {
        part.samples.push_back(places_.size());
        places_.push_back(first + j);
      }
    }
    parts_.push_back(std::move(part));
  }
  for (const NumberRun& run : runs_) {
    const auto numbers = start.subspan(run.offset, run.size);
    point_.insert(point_.end(), numbers.begin(), numbers.end());
  }
  if (form.delay > 0) before_ = point_;
  momentum_.assign(point_.size(), 0.0f);
  for (std::vector<float>* sampled : {&last_displacement_, &way_, &way_before_})
    sampled->assign(places_.size(), 0.0f);
}

double OuterUpdate::displacement(std::span<const float> mean, RoundMean what, std::size_t place) const {
  if (what == RoundMean::displacements) return mean[place];
  const float from = form_.delay == 0 ? point_[place] : before_[place];
  return static_cast<double>(from) - mean[place];
}

bool OuterUpdate::takes_the_mean(RoundMean what) const {
  return what == RoundMean::points && form_.delay == 0 && form_.alpha == 1 && form_.beta == 0 &&
         form_.gap == OuterForm::Gap::none && !std::isfinite(form_.clip);
}

// Of each group |x_t - x_k|^2 and |d_k|^2 (elementwise gaps: their sum and how many), then of the secant
// <d_k - d_{k-1}, x_k - x_{k-1}> and |x_k - x_{k-1}|^2.
std::vector<double> OuterUpdate::part_sums(const Part& part, std::span<const float> mean,
                                           RoundMean what) const {
  std::vector<double> sums(2 * groups_ + 2, 0.0);
  const std::span<const float> before = point_before();
  const bool needs_norms = form_.gap == OuterForm::Gap::whole || form_.gap == OuterForm::Gap::tensor;
  for (const Piece& piece : part.pieces) {
    double first = 0, second = 0;
    if (needs_norms) {
      for (std::size_t j = piece.first; j < piece.last; ++j) {
        const double moved = static_cast<double>(point_[j]) - before[j], gone = displacement(mean, what, j);
        first += moved * moved;
        second += gone * gone;
      }
    } else if (form_.gap == OuterForm::Gap::element) {
      for (std::size_t j = piece.first; j < piece.last; ++j) {
        const double moved = static_cast<double>(point_[j]) - before[j], gone = displacement(mean, what, j);
        first += 1 + std::abs(moved) / (std::abs(gone) + gap_floor);
      }
      second = static_cast<double>(piece.last - piece.first);
    }
    sums[2 * piece.group] += first;
    sums[2 * piece.group + 1] += second;
  }
  if (has_last_) {
    const std::vector<float>& way = form_.delay == 0 ? way_ : way_before_;
    for (const std::size_t s : part.samples) {
      const double step = way[s];
      sums[2 * groups_] += (displacement(mean, what, places_[s]) - last_displacement_[s]) * step;
      sums[2 * groups_ + 1] += step * step;
    }
  }
  return sums;
}

std::vector<double> OuterUpdate::all_sums(std::span<const float> mean, RoundMean what,
                                          const ShareSums& share) const {
  std::vector<std::vector<double>> by_part;
  if (owner_ < 0) {
    for (const Part& part : parts_) by_part.push_back(part_sums(part, mean, what));
  } else {
    by_part = share(part_sums(parts_.front(), mean, what));
  }
  std::vector<double> sums(2 * groups_ + 2, 0.0);
  for (const std::vector<double>& part : by_part) {
    require(part.size() == sums.size(), "every part has the same sums");
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += part[i];
  }
  return sums;
}

double OuterUpdate::pressure_of(double product, double square, double gap) {
  if (!(square > 0)) return 0;
  const double q = std::clamp(product / square, 0.0, 2.0);
  // In the precision that states keep.
  smoothed_ = static_cast<float>(secants_ == 0 ? q : secant_memory * smoothed_ + (1 - secant_memory) * q);
  ++secants_;
  return secants_ < enough_secants ? 0 : form_.alpha * smoothed_ / gap + form_.beta;
}

void OuterUpdate::remember_displacement(std::span<const float> mean, RoundMean what) {
  for (std::size_t s = 0; s < places_.size(); ++s)
    last_displacement_[s] = static_cast<float>(displacement(mean, what, places_[s]));
  has_last_ = true;
}

// After x_t became x_{t+1}: sampled_point_ still holds x_t where it moved.
void OuterUpdate::remember_way(bool moved) {
  way_before_.swap(way_);
  for (std::size_t s = 0; s < places_.size(); ++s)
    way_[s] = moved ? point_[places_[s]] - sampled_point_[s] : 0.0f;
}

OuterStep OuterUpdate::advance(std::span<const float> mean, RoundMean what, double rate_then, double rate_now,
                               const ShareSums& share) {
  require(mean.size() == point_.size(), "the mean has as many numbers as are kept");
  OuterStep step;
  const double then = form_.rates ? rate_then : 1, now = form_.rates ? rate_now : 1;
  require(then > 0, "a round that moved had a rate");
  const std::vector<double> sums = all_sums(mean, what, share);
  std::vector<double> gaps(groups_, form_.gap == OuterForm::Gap::constant ? form_.gap_constant : 1.0);
  if (form_.gap == OuterForm::Gap::whole || form_.gap == OuterForm::Gap::tensor) {
    for (std::size_t g = 0; g < groups_; ++g)
      gaps[g] = 1 + std::sqrt(sums[2 * g]) / (std::sqrt(sums[2 * g + 1]) + gap_floor);
  }
  step.gap = 0;
  for (const double gap : gaps) step.gap += gap / static_cast<double>(groups_);
  if (form_.gap == OuterForm::Gap::element) step.gap = sums[1] > 0 ? sums[0] / sums[1] : 1;
  step.pressure = pressure_of(sums[2 * groups_], sums[2 * groups_ + 1], step.gap);
  remember_displacement(mean, what);
  sampled_point_.resize(places_.size());
  for (std::size_t s = 0; s < places_.size(); ++s) sampled_point_[s] = point_[places_[s]];

  if (takes_the_mean(what)) {
    std::copy(mean.begin(), mean.end(), point_.begin());
    remember_way(true);
    return step;
  }
  const double bound = form_.clip;
  const double pace = form_.alpha * now;
  for (const Part& part : parts_) {
    for (const Piece& piece : part.pieces) {
      const double scale = then * gaps[piece.group];
      for (std::size_t j = piece.first; j < piece.last; ++j) {
        const double gone = displacement(mean, what, j);
        double pushed = gone / scale;
        if (form_.gap == OuterForm::Gap::element) {
          const double moved = static_cast<double>(point_[j]) - point_before()[j];
          pushed = gone / (then * (1 + std::abs(moved) / (std::abs(gone) + gap_floor)));
        }
        const double wanted = std::clamp(form_.beta * momentum_[j] + pushed, -bound, bound);
        float m = static_cast<float>(wanted);
        if (std::abs(static_cast<double>(m)) > bound) m = std::nextafter(m, 0.0f);
        momentum_[j] = m;
        step.largest = std::max(step.largest, std::abs(static_cast<double>(m)));
        const double way = form_.nesterov ? pushed + form_.beta * m : m;
        const float from = point_[j];
        if (form_.delay > 0) before_[j] = from;
        point_[j] = static_cast<float>(from - pace * way);
      }
    }
  }
  remember_way(true);
  return step;
}

void OuterUpdate::stay() {
  if (form_.delay > 0) before_ = point_;
  has_last_ = false;
  remember_way(false);
}

OuterStep OuterUpdate::adopt(std::span<const float> mean, RoundMean what, double rate_then) {
  require(form_.keep_local && mean.size() == point_.size(), "the first mean of workers that went on");
  OuterStep step;
  const double then = form_.rates ? rate_then : 1;
  const double bound = form_.clip;
  for (std::size_t j = 0; j < point_.size(); ++j) {
    const double gone = displacement(mean, what, j);
    momentum_[j] = static_cast<float>(std::clamp(gone / then, -bound, bound));
    step.largest = std::max(step.largest, std::abs(static_cast<double>(momentum_[j])));
    point_[j] = what == RoundMean::points ? mean[j] : static_cast<float>(before_[j] - gone);
  }
  before_ = point_;
  has_last_ = false;
  return step;
}

std::vector<NamedNumbers> OuterUpdate::state() const {
  std::vector<NamedNumbers> state = {{"point", point_}};
  if (form_.delay > 0) state.push_back({"point before", before_});
  state.push_back({"momentum", momentum_});
  state.push_back({"last displacement", last_displacement_});
  state.push_back({"way", way_});
  state.push_back({"way before", way_before_});
  state.push_back({"secants",
                   {has_last_ ? 1.0f : 0.0f, static_cast<float>(smoothed_),
                    static_cast<float>(std::min<std::int64_t>(secants_, 1000))}});
  return state;
}

void OuterUpdate::set_state(const std::vector<NamedNumbers>& state, std::string_view where) {
  std::vector<std::pair<std::string_view, std::vector<float>*>> own = {{"point", &point_}};
  if (form_.delay > 0) own.push_back({"point before", &before_});
  std::vector<float> secants(3);
  for (const auto& [name, numbers] : std::vector<std::pair<std::string_view, std::vector<float>*>>{
           {"momentum", &momentum_},
           {"last displacement", &last_displacement_},
           {"way", &way_},
           {"way before", &way_before_},
           {"secants", &secants}})
    own.push_back({name, numbers});
  bool fits = state.size() == own.size();
  for (std::size_t i = 0; fits && i < own.size(); ++i)
    fits = state[i].name == own[i].first && state[i].numbers.size() == own[i].second->size();
  if (!fits) fail(ErrorKind::corrupt, "is not the state of this outer optimizer", where);
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (!all_finite(state[i].numbers))
      fail(ErrorKind::corrupt, "has a number that is not finite", where, std::string(own[i].first));
  }
  for (std::size_t i = 0; i < own.size(); ++i) *own[i].second = state[i].numbers;
  has_last_ = secants[0] != 0;
  smoothed_ = secants[1];
  secants_ = static_cast<std::int64_t>(std::clamp(secants[2], 0.0f, 1000.0f));
}

}  // namespace laconic
