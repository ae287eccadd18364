#include "methods/gradients/local/outer_rule.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/finite.h"

namespace laconic {
namespace {

std::string_view text_of(RoundMean what) { return what == RoundMean::points ? "points" : "displacements"; }

void contribution_of(std::span<const float> from, std::span<const float> local, RoundMean what,
                     std::span<float> contribution) {
  if (what == RoundMean::points) {
    std::copy(local.begin(), local.end(), contribution.begin());
  } else {
    for (std::size_t j = 0; j < local.size(); ++j) contribution[j] = from[j] - local[j];
  }
}

class OuterRule final : public RoundRule {
 public:
  OuterRule(const LocalRequest& request, const OuterForm& form, RoundMean what)
      : what_(what),
        update_(form, request.tensors, bucket_parts(request.buckets, request.ranks), request.start) {}

  std::string text() const override {
    return fmt::format("{}, mean of {}", update_.form().text(), text_of(what_));
  }
  int delay() const override { return update_.form().delay; }
  std::span<const float> shared() const override { return update_.point(); }
  std::span<const float> start() const override { return apart_.empty() ? update_.point() : apart_; }

  void contribute(std::span<const float> local, const ArrivedMean* arrived, const RoundPlace&,
                  std::span<float> contribution) override {
    if (!apart_.empty()) {
      // Workers went on from where the first phase had left them: their mean is the point they left.
      adopted_ = arrived != nullptr && arrived->accepted
                     ? update_.adopt(arrived->values, what_, arrived->path)
                     : OuterStep();
    } else if (update_.form().keep_local && arrived == nullptr) {
      next_apart_.assign(local.begin(), local.end());
    }
    contribution_of(update_.point(), local, what_, contribution);
  }

  OuterStep advance(const ArrivedMean* arrived, const RoundPlace& place) override {
    if (!apart_.empty()) {
      apart_.clear();
      return adopted_;
    }
    if (arrived == nullptr || !arrived->accepted) {
      update_.stay();
      // A worker whose numbers are not finite does not keep them.
      if (!next_apart_.empty() && all_finite(next_apart_))
        apart_ = std::move(next_apart_);
      else if (!next_apart_.empty())
        apart_.assign(update_.point().begin(), update_.point().end());
      next_apart_.clear();
      return {};
    }
    return update_.advance(arrived->values, what_, arrived->path, place.path);
  }

  std::vector<NamedNumbers> state() const override {
    std::vector<NamedNumbers> state = update_.state();
    state.push_back({"apart", apart_});
    return state;
  }
  void set_state(const std::vector<NamedNumbers>& state, std::string_view where) override {
    std::vector<NamedNumbers> of_update = state;
    const bool fits = !state.empty() && state.back().name == "apart" &&
                      (state.back().numbers.empty() || state.back().numbers.size() == update_.kept()) &&
                      all_finite(state.back().numbers);
    if (!fits) fail(ErrorKind::corrupt, "is not the state of these rounds", where);
    of_update.pop_back();
    update_.set_state(of_update, where);
    apart_ = state.back().numbers;
  }

 private:
  RoundMean what_;
  OuterUpdate update_;
  // keep_local: this worker's start of the second round, which is not the common point.
  std::vector<float> apart_, next_apart_;
  OuterStep adopted_;
};

// The reduction ends in the next point itself: nothing is left to do when it arrives.
class ShardedRule final : public RoundRule {
 public:
  ShardedRule(const LocalRequest& request, const OuterForm& form, RoundMean what)
      : what_(what),
        outer_(form, request.tensors, request.buckets, request.ranks, request.rank, request.start),
        point_(request.start.begin(), request.start.end()) {}

  // The numbers are those of the outer step taken whole; its states are not.
  std::string text() const override {
    return fmt::format("{}, mean of {}, sharded", outer_.update().form().text(), text_of(what_));
  }
  int delay() const override { return outer_.update().form().delay; }
  std::span<const float> shared() const override { return point_; }
  std::span<const float> start() const override { return point_; }

  void contribute(std::span<const float> local, const ArrivedMean*, const RoundPlace& place,
                  std::span<float> contribution) override {
    contribution_of(point_, local, what_, contribution);
    rate_then_ = place.path;
    rate_now_ = delay() == 0 ? place.path : place.next_path;
  }
  OuterStep advance(const ArrivedMean* arrived, const RoundPlace&) override {
    if (arrived == nullptr || !arrived->accepted) return {};
    std::copy(arrived->values.begin(), arrived->values.end(), point_.begin());
    return outer_.last_step();
  }
  RoundReduction::Reduce own_reduce() override {
    return [this](Communicator& communicator, std::uint64_t, std::span<const float> own,
                  std::span<float> result) {
      return outer_.reduce(communicator, own, result, what_, rate_then_, rate_now_);
    };
  }

  std::vector<NamedNumbers> state() const override {
    std::vector<NamedNumbers> state = outer_.update().state();
    state.push_back({"whole point", point_});
    return state;
  }
  void set_state(const std::vector<NamedNumbers>& state, std::string_view where) override {
    const bool fits = !state.empty() && state.back().name == "whole point" &&
                      state.back().numbers.size() == point_.size() && all_finite(state.back().numbers);
    if (!fits) fail(ErrorKind::corrupt, "is not the state of these rounds", where);
    std::vector<NamedNumbers> of_update = state;
    of_update.pop_back();
    outer_.update().set_state(of_update, where);
    point_ = state.back().numbers;
  }

 private:
  RoundMean what_;
  ShardedOuter outer_;
  std::vector<float> point_;
  double rate_then_ = 1, rate_now_ = 1;
};

}  // namespace

std::unique_ptr<RoundRule> make_outer_rule(const LocalRequest& request, const OuterForm& form, RoundMean what,
                                           bool sharded) {
  check_outer_form(form, "outer optimizer");
  if (!sharded) return std::make_unique<OuterRule>(request, form, what);
  if (form.keep_local) {
    fail(ErrorKind::usage, "workers that keep their first local steps have no common point to keep parts of",
         "sharded", "use first=outer");
  }
  if (request.coded) {
    fail(ErrorKind::usage, "parts of the outer state are reduced in f32", "sharded",
         "leave out what carries the mean, or sharded");
  }
  return std::make_unique<ShardedRule>(request, form, what);
}

}  // namespace laconic
