// Stamps of a block as columns of decimal numbers. The primary stamp of the format is written as it is;
// another one as what it differs from the primary one in its own unit, which is constant where both tell the
// same moment in different zones or forms.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/column/column_view.h"
#include "methods/text/logzip/header_format.h"

namespace laconic::logzip {

ColumnText stamp_column(const HeaderFormat& format, std::size_t index, std::span<const std::int64_t> values,
                        std::span<const std::int64_t> primary);
// The inverse; `primary` is empty for the primary stamp itself. Error(corrupt) on a text that is not a
// number.
std::vector<std::int64_t> stamp_values(const HeaderFormat& format, std::size_t index,
                                       const ColumnText& column, std::span<const std::int64_t> primary,
                                       std::string_view where);

}  // namespace laconic::logzip
