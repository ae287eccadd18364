// A leveled exchange whose levels are chosen anew every `period` steps (card 12).
//
//   steps 1 .. start       dense, no compression
//   last `window` steps    rank 0 adds up g_l, its own gradient with what its memory adds
//   begin of a period      rank 0: table of errors and bytes of the mean, choice, broadcast of a u8 per
//   layer;
//                          all ranks: switch, at the same step; memories stay
//
// A step that is refused adds nothing to the window. A choice that was made when a refused step began stays:
// it comes from accepted steps alone, and all ranks have it. Where nothing can be chosen by (every step of
// the window refused, or all gradients zero) the levels stay.
#pragma once

#include "methods/gradients/l-greco/level_choice.h"
#include "methods/gradients/l-greco/leveled_exchange.h"
#include "methods/gradients/l-greco/plan_file.h"

namespace laconic::l_greco {

struct PlanSchedule {
  std::uint64_t start = 0;    // S
  std::uint64_t period = 1;   // F, at least 1
  std::uint64_t window = 10;  // W, at least 1; at most the steps there are
  std::uint64_t most = 0;     // plans in all; 0: any number
};

class PlannedExchange final : public GradientExchange {
 public:
  PlannedExchange(std::vector<TensorSlice> tensors, LeveledExchange leveled, const ChoiceSettings& choice,
                  const PlanSchedule& schedule, int rank, std::size_t bucket_bytes);

  // Of the leveled tensors, in their order.
  const Assignment& levels() const { return levels_; }
  // The last one that was made here (rank 0): levels, bytes, errors.
  const LevelChoice& choice() const { return choice_; }
  // The last choice by layer; empty before there is one.
  std::vector<PlannedLayer> plan() const;
  // Hears of every choice, on rank 0.
  void on_choice(std::function<void(const PlannedExchange&)> listener) { listener_ = std::move(listener); }
  // Before the first step: these levels from the first compressed step on, and no others. Throws Error(usage)
  // on a plan of other layers or levels.
  void fix_levels(const std::vector<PlannedLayer>& plan);
  std::uint64_t choices_made() const { return choices_; }
  std::uint64_t skipped_steps() const { return skipped_; }

  std::string text() const override { return text_; }
  void begin_step(Communicator& communicator, std::uint64_t step) override;
  bool exchange(Communicator& communicator, std::uint64_t step, std::size_t bucket,
                std::span<const float> own, std::span<float> agreed) override;
  void end_step(bool accepted) override;
  CodecSeconds codec_seconds() const override;
  Bytes save() const override;
  void restore(ByteSpan bytes, std::string_view where) override;
  // Levels are shared; the sums of a window begin anew.
  Bytes save_shared() const override;
  void restore_shared(ByteSpan bytes, std::string_view where) override;
  void inherit(GradientExchange& before) override;

 private:
  void compare_layers(Communicator& communicator) const;
  bool plans_on() const { return plans_ && (schedule_.most == 0 || choices_ < schedule_.most); }
  std::uint64_t next_choice(std::uint64_t step) const;  // the first step after this one that begins a period
  void choose(Communicator& communicator);
  Bytes chosen();  // on rank 0: what it broadcasts
  void set_levels(const Assignment& levels);
  void accumulate(std::size_t tensor, std::span<const float> gradient);

  LeveledExchange leveled_;
  ChoiceSettings settings_;
  PlanSchedule schedule_;
  bool leads_;
  bool plans_;  // else the levels are what they are
  std::unique_ptr<GradientExchange> dense_;
  std::vector<std::size_t> layers_;  // tensors that have levels
  std::string text_;

  Assignment levels_;
  LevelChoice choice_;
  std::function<void(const PlannedExchange&)> listener_;
  std::uint64_t choices_ = 0, skipped_ = 0;
  // On rank 0. Sums of accepted steps by layer, and what this step adds.
  std::vector<std::vector<float>> sums_, addends_;
  std::uint64_t summed_ = 0;  // steps
  std::vector<double> norms_before_;

  bool compared_ = false, is_dense_ = false, in_window_ = false;
};

}  // namespace laconic::l_greco
