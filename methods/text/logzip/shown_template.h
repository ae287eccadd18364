// Templates as people read them.
#pragma once

#include <string>

#include "methods/text/logzip/header_format.h"
#include "methods/text/logzip/template_table.h"

namespace laconic::logzip {

enum class ShownFields { by_name, as_slots };  // "<Time>", or "<*>"

// "<Date> <Time> <Level> Served block <*> to /<*>".
std::string shown_template(const Template& one, const HeaderFormat& format,
                           ShownFields fields = ShownFields::by_name);

}  // namespace laconic::logzip
