#include "runtime/cache/token_eviction.h"

#include <algorithm>

namespace laconic {

namespace {

HeadMatrix matrix_rows(const HeadMatrix& from, std::span<const std::int64_t> rows) {
  HeadMatrix to(static_cast<std::int64_t>(rows.size()), from.width);
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(from.row(rows[i]), from.width, to.row(static_cast<std::int64_t>(i)));
  return to;
}

template <class T>
std::vector<T> entries(const std::vector<T>& from, std::span<const std::int64_t> rows) {
  std::vector<T> to;
  if (from.empty()) return to;
  to.reserve(rows.size());
  for (const std::int64_t row : rows) to.push_back(from[static_cast<std::size_t>(row)]);
  return to;
}

}  // namespace

KvSlots candidate_rows(const KvSlots& candidates, std::span<const std::int64_t> rows) {
  return {matrix_rows(candidates.keys, rows),    matrix_rows(candidates.values, rows),
          entries(candidates.positions, rows),   entries(candidates.first, rows),
          entries(candidates.log_weights, rows), entries(candidates.total, rows),
          entries(candidates.recent, rows)};
}

KeptSlots kept_rows(const KvSlots& candidates, std::span<const std::int64_t> rows) {
  KeptSlots kept{matrix_rows(candidates.keys, rows), matrix_rows(candidates.values, rows),
                 entries(candidates.positions, rows), entries(candidates.log_weights, rows),
                 std::vector<std::int32_t>(candidates.positions.size(), -1)};
  for (std::size_t slot = 0; slot < rows.size(); ++slot)
    kept.slot_of[static_cast<std::size_t>(rows[slot])] = static_cast<std::int32_t>(slot);
  return kept;
}

}  // namespace laconic
