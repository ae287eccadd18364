// A vector register as a table of its own lanes, where one instruction looks up every lane by the low bits of
// an index vector: 8 entries with AVX2, 16 with AVX-512. Included once per target (Highway's -inl.h pattern).
#if defined(LACONIC_RUNTIME_LANE_TABLE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LACONIC_RUNTIME_LANE_TABLE_INL_H
#undef LACONIC_RUNTIME_LANE_TABLE_INL_H
#else
#define LACONIC_RUNTIME_LANE_TABLE_INL_H
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {

// Entries of a table in vectors of type D; 0: there is no such instruction.
template <class D>
constexpr int TableEntries() {
#if HWY_TARGET <= HWY_AVX2
  constexpr int lanes = static_cast<int>(hwy::HWY_NAMESPACE::MaxLanes(D()));
  return lanes >= 8 ? lanes : 0;
#else
  return 0;
#endif
}

#if HWY_TARGET <= HWY_AVX2
// The hardware ignores the bits of an index above those it needs, so neighbouring fields may stay in place.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> LookUpLanes(
    D, hwy::HWY_NAMESPACE::Vec<D> table,
    hwy::HWY_NAMESPACE::Vec<hwy::HWY_NAMESPACE::RebindToUnsigned<D>> index) {
  using Floats = hwy::HWY_NAMESPACE::Vec<D>;
#if HWY_TARGET <= HWY_AVX3
  if constexpr (TableEntries<D>() == 16) {
    return Floats{_mm512_permutexvar_ps(index.raw, table.raw)};
  } else
#endif
  {
    return Floats{_mm256_permutevar8x32_ps(table.raw, index.raw)};
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#endif
