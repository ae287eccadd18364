// Row codecs that put keys and values on uniform grids, each side in its own form.
#pragma once

#include <memory>
#include <string>

#include "runtime/cache/uniform_store.h"

namespace laconic {

std::shared_ptr<const RowCodec> uniform_row_codec(std::string canonical, UniformRowForm keys,
                                                  UniformRowForm values);

}  // namespace laconic
