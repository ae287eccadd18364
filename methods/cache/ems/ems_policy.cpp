#include "methods/cache/ems/ems_policy.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/threads.h"
#include "runtime/cache/saliency.h"

namespace laconic {
namespace {

TokenRows token_rows(const HeadMatrix& keys, const HeadMatrix& values) {
  return {keys.rows, keys.width, values.width, keys.values.data(), values.values.data()};
}

const float most_bias = std::log(8.0f);

// A key with the turn of its position taken back, or put on.
void turn(float* key, std::int64_t width, const std::vector<float>& cosine, std::vector<float>& sine,
          bool back) {
  if (back) {
    for (float& s : sine) s = -s;
  }
  rotate_half_split(key, width / 2, cosine.data(), sine.data());
  if (!back) return;
  // Scaled tables (YaRN) stretch a key as they turn it.
  for (std::size_t i = 0; i < cosine.size(); ++i) {
    const float square = cosine[i] * cosine[i] + sine[i] * sine[i];
    key[i] /= square;
    key[i + cosine.size()] /= square;
  }
}

}  // namespace

AttentionSumsForm EmsPolicy::sums() const {
  return {form_.rule != ImportanceRule::local,
          form_.rule != ImportanceRule::global ? budget_.window() : std::int64_t{0}, 1};
}

// 1. Global and local scores.
std::vector<float> EmsPolicy::scores(const KvSlots& candidates, const EvictionStep& step) const {
  std::vector<float> of_all = candidates.total, of_last = candidates.recent;
  if (form_.visible_rows && !of_all.empty())
    of_all = normalised_scores(of_all, rows_that_see(step.seen, candidates.first, step.window));
  if (!of_last.empty()) of_last = pooled_scores(of_last, candidates.positions, form_.pool);
  check_scores(of_all, step);
  check_scores(of_last, step);
  return importance(of_all, of_last, form_.rule, form_.global_weight);
}

HeadMatrix EmsPolicy::compared_keys(const KvSlots& candidates, std::span<const std::int64_t> rows) const {
  const std::int64_t width = candidates.keys.width;
  HeadMatrix keys(static_cast<std::int64_t>(rows.size()), width);
  std::vector<float> cosine, sine;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    float* key = keys.row(static_cast<std::int64_t>(i));
    std::copy_n(candidates.keys.row(rows[i]), width, key);
    if (form_.positions || rope_ == nullptr) continue;
    rope_->fill(candidates.positions[static_cast<std::size_t>(rows[i])], 1, cosine, sine);
    turn(key, width, cosine, sine, true);
  }
  return keys;
}

// 2. and 3. Centres, merge candidates and the zero class.
EmsPolicy::Groups EmsPolicy::grouped(const KvSlots& candidates, const std::vector<float>& importance,
                                     std::int64_t centres) const {
  const double wanted = std::nearbyint(form_.merge_pool * static_cast<double>(centres));
  const auto pool = form_.threshold >= 1 ? std::int64_t{0} : static_cast<std::int64_t>(wanted);
  Groups groups;
  if (form_.distinct && form_.threshold < 1) {
    std::vector<std::int64_t> all(importance.size());
    std::iota(all.begin(), all.end(), std::int64_t{0});
    const HeadMatrix keys = compared_keys(candidates, all);
    const Grouping found =
        distinct_centres(token_rows(keys, candidates.values), ranked(importance, candidates.rows()), centres,
                         pool, form_.threshold, form_.clamp);
    groups.centres = found.centres;
    std::sort(groups.centres.begin(), groups.centres.end());
    for (const std::int64_t row : all) {
      const std::int32_t given = found.centre_of[static_cast<std::size_t>(row)];
      if (given == zero_class) continue;
      const std::int64_t centre = found.centres[static_cast<std::size_t>(given)];
      if (centre == row) continue;
      groups.members.push_back(row);
      groups.centre_of.push_back(static_cast<std::int32_t>(
          std::lower_bound(groups.centres.begin(), groups.centres.end(), centre) - groups.centres.begin()));
    }
    return groups;
  }
  groups.centres = ranked(importance, centres + pool);
  const auto middle = groups.centres.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                                   static_cast<std::size_t>(centres), groups.centres.size()));
  groups.members.assign(middle, groups.centres.end());
  groups.centres.erase(middle, groups.centres.end());
  std::sort(groups.centres.begin(), groups.centres.end());
  if (groups.members.empty()) return groups;
  const HeadMatrix centre_keys = compared_keys(candidates, groups.centres),
                   centre_values = kept_rows(candidates, groups.centres).values,
                   member_keys = compared_keys(candidates, groups.members),
                   member_values = kept_rows(candidates, groups.members).values;
  groups.centre_of = assign_to_centres(token_rows(member_keys, member_values),
                                       token_rows(centre_keys, centre_values), form_.threshold, form_.clamp);
  return groups;
}

// 4. Merging.
KeptSlots EmsPolicy::merged(const KvSlots& candidates, const std::vector<float>& importance,
                            std::int64_t centres) const {
  const auto [order, members, centre_of] = grouped(candidates, importance, centres);
  KeptSlots kept = kept_rows(candidates, order);
  if (members.empty()) return kept;
  const auto weights_of = [&](const std::vector<std::int64_t>& rows) {
    std::vector<float> weights;
    for (const std::int64_t row : rows) weights.push_back(importance[static_cast<std::size_t>(row)]);
    return weights;
  };
  const HeadMatrix centre_keys = compared_keys(candidates, order), centre_values = kept.values,
                   member_keys = compared_keys(candidates, members),
                   member_values = kept_rows(candidates, members).values;
  const TokenRows centre_rows = token_rows(centre_keys, centre_values),
                  member_rows = token_rows(member_keys, member_values);
  HeadMatrix keys = centre_keys;
  MergedCentres merged{keys.values.data(), kept.values.values.data(), {}};
  const std::vector<float> centre_weights = weights_of(order);
  merge_into_centres(member_rows, centre_of, weights_of(members), centre_weights, centre_rows, form_.merge,
                     merged);

  // Merged keys stand at the positions of their centres; those of other centres stay as they were.
  std::vector<bool> changed(order.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (centre_of[i] == zero_class) continue;
    kept.slot_of[static_cast<std::size_t>(members[i])] = centre_of[i];
    changed[static_cast<std::size_t>(centre_of[i])] = true;
  }
  std::vector<float> cosine, sine;
  for (std::size_t c = 0; c < order.size(); ++c) {
    if (!changed[c] || !form_.merge.keys) continue;
    float* key = keys.row(static_cast<std::int64_t>(c));
    if (!form_.positions && rope_ != nullptr) {
      rope_->fill(kept.positions[c], 1, cosine, sine);
      turn(key, keys.width, cosine, sine, false);
    }
    std::copy_n(key, keys.width, kept.keys.row(static_cast<std::int64_t>(c)));
  }
  if (!form_.count_bias) return kept;
  kept.log_weights.resize(order.size());
  for (std::size_t c = 0; c < order.size(); ++c) {
    if (!changed[c] || !(merged.weights[c] > centre_weights[c])) continue;
    const float bias = std::log(merged.weights[c] / centre_weights[c]);
    kept.log_weights[c] = std::min(kept.log_weights[c] + bias, most_bias);
  }
  return kept;
}

std::vector<KeptSlots> EmsPolicy::keep(const std::vector<KvSlots>& heads, const EvictionStep& step) const {
  const auto count = static_cast<std::int64_t>(heads.size());
  std::vector<std::vector<float>> importances(heads.size());
  parallel_for(count, [&](std::int64_t h) {
    importances[static_cast<std::size_t>(h)] = scores(heads[static_cast<std::size_t>(h)], step);
  });
  // 2. Slots of each head: the same number, or by what its recent queries look at outside the window.
  std::vector<std::int64_t> slots(heads.size(), capacity(step));
  if (form_.shared_slots) {
    std::vector<std::vector<float>> compared = importances;
    for (std::size_t h = 0; h < heads.size(); ++h) {
      const std::vector<float>& looked =
          form_.rule == ImportanceRule::global ? heads[h].total : heads[h].recent;
      const double mean = std::accumulate(looked.begin(), looked.end(), 0.0) /
                          static_cast<double>(std::max<std::size_t>(1, looked.size()));
      for (float& score : compared[h]) score *= static_cast<float>(mean);
    }
    slots = shared_counts(compared, capacity(step) * count, form_.least_share);
  }
  std::vector<KeptSlots> kept(heads.size());
  parallel_for(count, [&](std::int64_t head) {
    const auto h = static_cast<std::size_t>(head);
    kept[h] = merged(heads[h], importances[h], slots[h]);
  });
  return kept;
}

}  // namespace laconic
