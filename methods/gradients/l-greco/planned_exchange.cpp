#include "methods/gradients/l-greco/planned_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/saved_state.h"
#include "engine/exchange/dense_exchange.h"
#include "engine/transport/collectives.h"

namespace laconic::l_greco {
namespace {

constexpr std::uint64_t planned_schema = 1;

Bytes level_bytes(const Assignment& levels) {
  ByteWriter writer;
  for (const int level : levels) writer.u8(static_cast<std::uint8_t>(level));
  return writer.take();
}

Assignment read_levels(ByteReader& reader, std::size_t layers, std::size_t levels) {
  Assignment read(layers);
  for (int& level : read) {
    level = reader.u8();
    if (static_cast<std::size_t>(level) >= levels) reader.corrupt("a level that there is not");
  }
  return read;
}

}  // namespace

PlannedExchange::PlannedExchange(std::vector<TensorSlice> tensors, LeveledExchange leveled,
                                 const ChoiceSettings& choice, const PlanSchedule& schedule, int rank,
                                 std::size_t bucket_bytes)
    : GradientExchange(tensors, bucket_bytes),
      leveled_(std::move(leveled)),
      settings_(choice),
      schedule_(schedule),
      leads_(rank == 0),
      plans_(choice.planner != Planner::uniform),
      dense_(dense_exchange(std::move(tensors), DenseForm::f32, bucket_bytes)) {
  if (schedule.period < 1) fail(ErrorKind::usage, "is below 1", "period");
  if (schedule.window < 1) fail(ErrorKind::usage, "is below 1", "window");
  require(leveled_.leveled.size() == this->tensors().size() && leveled_.levels.size() <= 255 &&
              leveled_.default_level < leveled_.levels.size(),
          "tensors have levels or not");
  for (std::size_t i = 0; i < leveled_.leveled.size(); ++i) {
    if (leveled_.leveled[i]) layers_.push_back(i);
  }
  levels_.assign(layers_.size(), static_cast<int>(leveled_.default_level));
  if (leads_) {
    sums_.resize(layers_.size());
    addends_.resize(layers_.size());
  }
  leveled_.watch(
      [this](std::size_t tensor, std::span<const float> gradient) { accumulate(tensor, gradient); });
  text_ = fmt::format(
      "planned {}{}, levels {} to {}, alpha {}, {} buckets{}, eta {}, start {}, period {}, window {}, at "
      "most "
      "{} plans, seed {}; "
      "{}",
      planner_names()[static_cast<std::size_t>(settings_.planner)],
      settings_.spend > 0 ? fmt::format(" of {} of the default's bytes", settings_.spend) : std::string(),
      leveled_.levels.front(), leveled_.levels.back(), settings_.alpha, settings_.buckets,
      settings_.squares ? ", squares" : "", settings_.eta, schedule_.start, schedule_.period,
      schedule_.window, schedule_.most, settings_.seed, leveled_.exchange->text());
}

std::uint64_t PlannedExchange::next_choice(std::uint64_t step) const {
  if (step <= schedule_.start) return schedule_.start + 1;
  const std::uint64_t periods = (step - schedule_.start - 1) / schedule_.period;
  return schedule_.start + 1 + (periods + 1) * schedule_.period;
}

void PlannedExchange::begin_step(Communicator& communicator, std::uint64_t step) {
  if (!compared_) compare_layers(communicator);
  compared_ = true;
  is_dense_ = step <= schedule_.start;
  in_window_ = next_choice(step) - step <= schedule_.window && plans_on();
  if (step > schedule_.start && (step - schedule_.start - 1) % schedule_.period == 0) choose(communicator);
  if (is_dense_) {
    dense_->begin_step(communicator, step);
  } else {
    leveled_.exchange->begin_step(communicator, step);
  }
}

// Names the first layer that differs.
void PlannedExchange::compare_layers(Communicator& communicator) const {
  ByteWriter writer;
  for (const std::size_t i : layers_) writer.text(tensors()[i].name + " " + to_string(tensors()[i].shape));
  const std::vector<Bytes> all = all_gather(communicator, writer.span());
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    ByteReader first(all[0], "layers of rank 0"), other(all[rank], fmt::format("layers of rank {}", rank));
    for (std::size_t layer = 0;; ++layer) {
      const std::string a = first.at_end() ? "nothing" : first.text(std::uint64_t{1} << 20);
      const std::string b = other.at_end() ? "nothing" : other.text(std::uint64_t{1} << 20);
      if (a == b && a != "nothing") continue;
      fail(ErrorKind::usage, fmt::format("rank 0 has {} where rank {} has {}", a, rank, b),
           fmt::format("layer {}", layer), "start all ranks with the same model");
    }
  }
}

void PlannedExchange::accumulate(std::size_t tensor, std::span<const float> gradient) {
  if (!leads_ || !in_window_) return;
  const auto found = std::lower_bound(layers_.begin(), layers_.end(), tensor);
  if (found == layers_.end() || *found != tensor) return;
  addends_[static_cast<std::size_t>(found - layers_.begin())].assign(gradient.begin(), gradient.end());
}

bool PlannedExchange::exchange(Communicator& communicator, std::uint64_t step, std::size_t index,
                               std::span<const float> own, std::span<float> agreed) {
  if (!is_dense_) return leveled_.exchange->exchange(communicator, step, index, own, agreed);
  const Bucket& bucket = buckets()[index];
  for (std::size_t i = bucket.first; i < bucket.last; ++i) accumulate(i, slice_of(own, tensors()[i]));
  return dense_->exchange(communicator, step, index, own, agreed);
}

void PlannedExchange::end_step(bool accepted) {
  if (is_dense_) {
    dense_->end_step(accepted);
  } else {
    leveled_.exchange->end_step(accepted);
  }
  if (leads_ && in_window_) {
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      std::vector<float>& addend = addends_[layer];
      if (accepted) {
        sums_[layer].resize(addend.size(), 0.0f);
        for (std::size_t i = 0; i < addend.size(); ++i) sums_[layer][i] += addend[i];
      }
      addend.clear();
    }
    summed_ += accepted ? 1 : 0;
    skipped_ += accepted ? 0 : 1;
  }
  in_window_ = false;
}

void PlannedExchange::choose(Communicator& communicator) {
  if (layers_.empty() || !plans_on()) return;
  require_equal_everywhere(communicator, as_text(level_bytes(levels_)), "the levels of the layers");
  const Bytes bytes = broadcast(communicator, 0, leads_ ? chosen() : Bytes());
  ByteReader reader(bytes, "levels of rank 0");
  const std::uint8_t keep = reader.u8();
  if (keep > 1) reader.corrupt("neither levels nor none");
  if (keep == 0) {
    const Assignment levels = read_levels(reader, layers_.size(), leveled_.levels.size());
    reader.expect_end();
    set_levels(levels);
    ++choices_;
  } else {
    reader.expect_end();
  }
}

Bytes PlannedExchange::chosen() {
  const Timing timing = encoding();
  LevelChoice choice;
  choice.keep = true;
  if (summed_ > 0) {
    AllocationProblem table;
    std::vector<double> norms;
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      double square = 0;
      for (float& value : sums_[layer]) {
        value /= static_cast<float>(summed_);
        square += static_cast<double>(value) * value;
      }
      norms.push_back(std::sqrt(square));
      LevelCosts costs = leveled_.costs(layers_[layer], sums_[layer]);
      table.harm.push_back(std::move(costs.error));
      table.cost.push_back(std::move(costs.bytes));
    }
    choice = choose_levels(std::move(table), leveled_.default_level, settings_, norms, norms_before_);
    norms_before_ = std::move(norms);
  }
  for (std::vector<float>& sum : sums_) sum.clear();
  summed_ = 0;
  ByteWriter writer;
  writer.u8(choice.keep ? 1 : 0);
  if (!choice.keep) {
    writer.append(level_bytes(choice.levels));
    choice_ = std::move(choice);
    if (listener_) listener_(*this);
  }
  return writer.take();
}

std::vector<PlannedLayer> PlannedExchange::plan() const {
  std::vector<PlannedLayer> plan;
  for (std::size_t layer = 0; layer < choice_.levels.size(); ++layer) {
    plan.push_back({tensors()[layers_[layer]].name,
                    leveled_.levels[static_cast<std::size_t>(choice_.levels[layer])],
                    choice_.layer_bytes[layer], choice_.layer_errors[layer]});
  }
  return plan;
}

void PlannedExchange::fix_levels(const std::vector<PlannedLayer>& plan) {
  const auto refuse = [](const std::string& what, const std::string& where) {
    fail(ErrorKind::usage, what, where, "plan this model with this family of compressors");
  };
  if (plan.size() != layers_.size())
    refuse(fmt::format("plans {} layers where the model has {}", plan.size(), layers_.size()), "plan");
  Assignment levels;
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    const std::string& name = tensors()[layers_[layer]].name;
    if (plan[layer].name != name) refuse("has " + plan[layer].name + " where the model has " + name, "plan");
    const auto level = std::find(leveled_.levels.begin(), leveled_.levels.end(), plan[layer].level);
    if (level == leveled_.levels.end()) refuse("has no level '" + plan[layer].level + "'", name);
    levels.push_back(static_cast<int>(level - leveled_.levels.begin()));
  }
  plans_ = false;
  text_ += ", fixed levels";
  for (const int level : levels) text_ += fmt::format(" {}", level);
  set_levels(levels);
}

void PlannedExchange::set_levels(const Assignment& levels) {
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    if (levels[layer] != levels_[layer])
      leveled_.set_level(layers_[layer], static_cast<std::size_t>(levels[layer]));
  }
  levels_ = levels;
}

CodecSeconds PlannedExchange::codec_seconds() const {
  CodecSeconds sum = GradientExchange::codec_seconds();
  for (const GradientExchange* part : {dense_.get(), leveled_.exchange.get()}) {
    sum.encode += part->codec_seconds().encode;
    sum.decode += part->codec_seconds().decode;
  }
  return sum;
}

Bytes PlannedExchange::save_shared() const {
  ByteWriter writer;
  writer.varint(planned_schema);
  writer.append(level_bytes(levels_));
  writer.varint(choices_);
  const Bytes inner = leveled_.exchange->save_shared();
  writer.varint(inner.size());
  writer.append(inner);
  return sealed(std::move(writer));
}

void PlannedExchange::restore_shared(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.varint() != planned_schema) reader.corrupt("a state of another version");
  const Assignment levels = read_levels(reader, layers_.size(), leveled_.levels.size());
  const std::uint64_t choices = reader.varint();
  const ByteSpan inner = reader.take(reader.length(reader.remaining()));
  reader.expect_end();
  set_levels(levels);
  leveled_.exchange->restore_shared(inner, where);
  choices_ = choices;
}

void PlannedExchange::inherit(GradientExchange& before) {
  auto* other = dynamic_cast<PlannedExchange*>(&before);
  require(other != nullptr, "an exchange inherits from one of its kind");
  leveled_.exchange->inherit(*other->leveled_.exchange);
}

Bytes PlannedExchange::save() const {
  ByteWriter writer;
  writer.varint(planned_schema);
  writer.text(text());
  writer.append(level_bytes(levels_));
  writer.varint(choices_);
  writer.varint(skipped_);
  writer.varint(summed_);
  if (summed_ > 0) {
    for (const std::vector<float>& sum : sums_) write_numbers(writer, sum);
  }
  write_numbers(writer, norms_before_);
  const Bytes inner = leveled_.exchange->save();
  writer.varint(inner.size());
  writer.append(inner);
  return sealed(std::move(writer));
}

void PlannedExchange::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.varint() != planned_schema) reader.corrupt("a state of another version");
  if (reader.text(std::uint64_t{1} << 24) != text())
    fail(ErrorKind::usage, "is the state of another exchange", where,
         "resume with the settings that wrote it");
  const Assignment levels = read_levels(reader, layers_.size(), leveled_.levels.size());
  const std::uint64_t choices = reader.varint(), skipped = reader.varint(), summed = reader.varint();
  if (summed > 0 && !leads_) reader.corrupt("sums that only rank 0 has");
  std::vector<std::vector<float>> sums(sums_.size());
  if (summed > 0) {
    for (std::size_t layer = 0; layer < layers_.size(); ++layer)
      sums[layer] = read_numbers<float>(reader, tensors()[layers_[layer]].size);
  }
  const std::uint64_t norm_count = ByteReader(reader).varint();
  if (norm_count != 0 && norm_count != layers_.size()) reader.corrupt("norms of other layers");
  std::vector<double> norms = read_numbers<double>(reader, static_cast<std::size_t>(norm_count));
  const ByteSpan inner = reader.take(reader.length(reader.remaining()));
  reader.expect_end();
  set_levels(levels);
  leveled_.exchange->restore(inner, where);
  choices_ = choices;
  skipped_ = skipped;
  summed_ = summed;
  sums_ = std::move(sums);
  norms_before_ = std::move(norms);
}

}  // namespace laconic::l_greco
