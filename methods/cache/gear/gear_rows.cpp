// Steps 1 to 4 of GEAR. Departures from the public code, each with its reason:
// - outliers are counted along the vector they are taken from; the code counts both sides along the channels,
//   which for keys takes far too few or too many (fidelity=official does so as well)
// - the residual that the low-rank part sees is zero where an outlier is kept, since it is overwritten there
//   (mask-outliers=false and fidelity=official keep it)
// - every loop of the subspace iteration is orthonormal, not the last alone: the same span, less rounding
// - grids have 2^b - 1 steps at all widths; in the code the outlier path has b^2 - 1, the same for 2 and 4
// bits
//   and not storable in 3
#include "methods/cache/gear/gear_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/codec/stored_values.h"
#include "engine/math/blas.h"
#include "engine/math/linear_algebra.h"
#include "engine/math/subspace_iteration.h"

namespace laconic {
namespace {

constexpr double query_damping = 1e-3;  // of the mean diagonal of the queries' second moment

bool rows_aligned(const RowStoreShape& shape) {
  return std::all_of(shape.parts.begin(), shape.parts.end(),
                     [&](const auto& part) { return part.first == shape.parts.front().first; });
}

void require_finite_rows(const HeadMatrices& rows, const RowContext& context) {
  for (std::size_t part = 0; part < rows.size(); ++part) {
    const std::vector<float>& values = rows[part].values;
    if (all_finite(values)) continue;
    const auto at = std::find_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); });
    const std::int64_t index = at - values.begin();
    fail(ErrorKind::input,
         fmt::format(
             "{} of layer {}, head {} are not finite at row {}, channel {} of the block that begins at "
             "position {}",
             context.side == KvSide::keys ? "keys" : "values", context.layer, part, index / rows[part].width,
             index % rows[part].width, context.first_position),
         "gear",
         "numbers beyond the range of the window's type became infinite: use a model in its own type");
  }
}

// X - D, zero where an outlier is kept (or not masked: the whole error there too).
HeadMatrices residual_of(const HeadMatrices& rows, const UniformStore& codes, const OutlierRows* mask) {
  HeadMatrices residual = read_all(codes);
  std::vector<Outlier> outliers;
  for (std::size_t part = 0; part < rows.size(); ++part) {
    HeadMatrix& left = residual[part];
    for (std::size_t i = 0; i < left.values.size(); ++i)
      left.values[i] = rows[part].values[i] - left.values[i];
    if (mask == nullptr) continue;
    mask->list(static_cast<std::int64_t>(part), 0, left.rows, outliers);
    for (const Outlier& outlier : outliers) left.row(outlier.row)[outlier.column] = 0;
  }
  return residual;
}

// C with C C^T = mean of q q^T over the prompt's queries of one KV head, lower triangular [d, d]; empty where
// there are none.
std::vector<float> query_root(const RowContext& context, std::int64_t part, std::int64_t width) {
  const LayerRows* prompt = context.prompt_rows;
  if (prompt == nullptr || prompt->queries == nullptr || context.side != KvSide::keys) return {};
  const KvShape& shape = *context.shape;
  std::vector<float> queries;
  for (std::int64_t r = 0; r < prompt->rows; ++r) {
    const float* from = prompt->queries + (r * shape.heads + part * shape.group()) * width;
    queries.insert(queries.end(), from, from + shape.group() * width);
  }
  const std::int64_t count = prompt->rows * shape.group();
  std::vector<float> products(static_cast<std::size_t>(width * width));
  gemm(Transpose::yes, Transpose::no, width, width, count, 1.0f, queries.data(), width, queries.data(), width,
       0.0f, products.data(), width);
  std::vector<double> moment(products.begin(), products.end());
  double trace = 0;
  for (std::int64_t j = 0; j < width; ++j) trace += moment[static_cast<std::size_t>(j * width + j)];
  if (!(trace > 0)) return {};
  for (std::int64_t j = 0; j < width; ++j)
    moment[static_cast<std::size_t>(j * width + j)] += query_damping * trace / static_cast<double>(width);
  if (!cholesky(moment.data(), width)) return {};
  return {moment.begin(), moment.end()};
}

// Thin factors of a residual [rows, columns]; `weighted` is what the span is chosen on.
struct ThinFactors {
  std::vector<float> left, right;  // [rows, rank] and [rank, columns]
};

ThinFactors thin_factors(const HeadMatrix& residual, const HeadMatrix& weighted, std::int64_t rank, int loops,
                         int bits, const RandomStream& random) {
  std::vector<float> start(static_cast<std::size_t>(weighted.width * rank));
  for (std::size_t i = 0; i < start.size(); ++i) start[i] = random.uniform_at(i);
  ThinFactors factors;
  factors.left =
      subspace_iteration(weighted.values, weighted.rows, weighted.width, std::move(start), rank, loops).q;
  factors.right.resize(static_cast<std::size_t>(rank * residual.width));
  gemm(Transpose::yes, Transpose::no, rank, residual.width, residual.rows, 1.0f, factors.left.data(), rank,
       residual.values.data(), residual.width, 0.0f, factors.right.data(), residual.width);
  // Shares powers of two between the factors where f16 needs it.
  if (bits == 16) store_factors(factors.left, factors.right, residual.rows, residual.width, rank, DType::f16);
  return factors;
}

HeadMatrix turned_left(const std::vector<float>& left, std::int64_t rows, std::int64_t rank) {
  HeadMatrix turned(rank, rows);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t k = 0; k < rank; ++k) turned.row(k)[r] = left[static_cast<std::size_t>(r * rank + k)];
  }
  return turned;
}

HeadMatrix columns_of(const std::vector<float>& right, std::int64_t rank, std::int64_t stride,
                      std::int64_t first, std::int64_t width) {
  HeadMatrix part(rank, width);
  for (std::int64_t k = 0; k < rank; ++k) std::copy_n(right.data() + k * stride + first, width, part.row(k));
  return part;
}

HeadMatrix heads_side_by_side(const HeadMatrices& parts) {
  std::int64_t width = 0;
  for (const HeadMatrix& part : parts) width += part.width;
  HeadMatrix whole(parts.front().rows, width);
  std::int64_t first = 0;
  for (const HeadMatrix& part : parts) {
    for (std::int64_t r = 0; r < part.rows; ++r) std::copy_n(part.row(r), part.width, whole.row(r) + first);
    first += part.width;
  }
  return whole;
}

class GearRowCodec final : public RowCodec {
 public:
  GearRowCodec(std::string canonical, const GearForm& form) : canonical_(std::move(canonical)), form_(form) {}
  std::string canonical() const override { return canonical_; }

  std::unique_ptr<const RowStore> encode(const HeadMatrices& rows, const RowContext& context) const override {
    require_finite_rows(rows, context);
    const CorrectedStore::Form form = form_.store(context.side, shape_of(rows));
    // 1. Outliers, and 2. what is left of the rows on the backbone's grids.
    HeadMatrices filled = rows;
    std::optional<OutlierRows> outliers;
    if (form_.outliers > 0) {
      outliers = OutlierRows::take(filled, form.outliers, per_side(rows));
    }
    auto codes = UniformStore::encode(filled, form.codes);
    // 3. The residual, and 4. its low-rank part.
    std::optional<LowRankRows> low_rank;
    if ((context.prompt ? form_.prompt_rank : form_.later_rank) > 0 && !rows.empty()) {
      const bool masked = outliers && form_.mask_outliers;
      low_rank = factorise(residual_of(rows, *codes, masked ? &*outliers : nullptr), context);
    }
    return std::make_unique<CorrectedStore>(std::move(codes), std::move(low_rank), std::move(outliers));
  }

  std::unique_ptr<const RowStore> read(ByteReader& reader, const RowStoreShape& shape,
                                       const RowContext& context) const override {
    return CorrectedStore::read_from(reader, shape, form_.store(context.side, shape));
  }

 private:
  std::function<std::int64_t(std::int64_t)> per_side(const HeadMatrices& rows) const {
    if (form_.outlier_count == GearForm::OutlierCount::official) {
      std::int64_t channels = 0;
      for (const HeadMatrix& part : rows) channels += part.width;
      const auto fixed =
          static_cast<std::int64_t>(std::floor(form_.outliers * static_cast<double>(channels) / 2));
      return [fixed](std::int64_t) { return fixed; };
    }
    return [share = form_.outliers / 2](std::int64_t length) {
      return static_cast<std::int64_t>(std::ceil(share * static_cast<double>(length)));
    };
  }

  LowRankRows factorise(const HeadMatrices& residual, const RowContext& context) const {
    const std::int64_t wish = context.prompt ? form_.prompt_rank : form_.later_rank;
    const auto random = [&](std::size_t head) {
      return RandomStream(context.seed, "gear",
                          fmt::format("layer.{}.{}.head.{}", context.layer,
                                      context.side == KvSide::keys ? "keys" : "values", head),
                          static_cast<std::uint64_t>(context.first_position));
    };
    // A single row is exact on its grids, and a factor is no wider than its matrix.
    const auto rank_for = [&](std::int64_t rows, std::int64_t width) {
      return rows < 2 ? 0 : std::min({wish, rows, width});
    };
    const HeadMatrices weighted = form_.query_weighted ? weigh(residual, context) : HeadMatrices{};
    const HeadMatrices& span = weighted.empty() ? residual : weighted;
    HeadMatrices left(residual.size()), right(residual.size());
    if (!form_.store(context.side, shape_of(residual)).shared_factor) {
      parallel_for(static_cast<std::int64_t>(residual.size()), [&](std::int64_t h) {
        const auto i = static_cast<std::size_t>(h);
        const HeadMatrix& part = residual[i];
        const std::int64_t rank = rank_for(part.rows, part.width);
        const ThinFactors factors =
            thin_factors(part, span[i], rank, form_.loops, form_.factor_bits, random(i));
        left[i] = turned_left(factors.left, part.rows, rank);
        right[i] = columns_of(factors.right, rank, part.width, 0, part.width);
      });
    } else {
      const HeadMatrix whole = heads_side_by_side(residual);
      const std::int64_t rank = rank_for(whole.rows, whole.width);
      const ThinFactors factors = thin_factors(whole, heads_side_by_side(span), rank, form_.loops,
                                               form_.factor_bits, random(residual.size()));
      left = {turned_left(factors.left, whole.rows, rank)};
      std::int64_t first = 0;
      for (std::size_t i = 0; i < residual.size(); ++i) {
        right[i] = columns_of(factors.right, rank, whole.width, first, residual[i].width);
        first += residual[i].width;
      }
    }
    return {left, right, form_.factor_bits};
  }

  // R C of every head: || (R - L) q || over the prompt's queries is the Frobenius norm of (R - L) C. Empty
  // where the rows have no queries of their own (latents, values, blocks after the prompt).
  static HeadMatrices weigh(const HeadMatrices& residual, const RowContext& context) {
    HeadMatrices weighted;
    const bool heads = context.shape != nullptr &&
                       static_cast<std::int64_t>(residual.size()) == context.shape->kv_heads &&
                       residual.front().width == context.shape->head_dim;
    if (!heads) return weighted;
    for (std::size_t h = 0; h < residual.size(); ++h) {
      const HeadMatrix& part = residual[h];
      const std::vector<float> root = query_root(context, static_cast<std::int64_t>(h), part.width);
      if (root.empty()) return {};
      weighted.emplace_back(part.rows, part.width);
      gemm(Transpose::no, Transpose::no, part.rows, part.width, part.width, 1.0f, part.values.data(),
           part.width, root.data(), part.width, 0.0f, weighted.back().values.data(), part.width);
    }
    return weighted;
  }

  std::string canonical_;
  GearForm form_;
};

}  // namespace

UniformRowForm GearForm::grids(KvSide side, bool aligned) const {
  UniformRowForm grids;
  grids.side = side;
  grids.bits = bits;
  grids.f32_parameters = f32_parameters;
  grids.group = backbone == Backbone::kcvt ? 0 : group;
  const bool by_channel = backbone != Backbone::per_token && side == KvSide::keys;
  grids.axis = by_channel ? UniformRowForm::Axis::channel : UniformRowForm::Axis::token;
  // A grid of a whole token spans all heads where they hold the same tokens.
  grids.joint = !by_channel && grids.group == 0 && aligned;
  return grids;
}

CorrectedStore::Form GearForm::store(KvSide side, const RowStoreShape& shape) const {
  const bool aligned = rows_aligned(shape);
  return {grids(side, aligned),
          {side == KvSide::keys ? OutlierVectors::channel : OutlierVectors::token, outliers_across},
          shared_factor && aligned,
          factor_bits};
}

std::shared_ptr<const RowCodec> gear_row_codec(std::string canonical, const GearForm& form) {
  return std::make_shared<GearRowCodec>(std::move(canonical), form);
}

}  // namespace laconic
