#include "engine/transport/tcp/number_type.h"

#include <array>

namespace laconic {
namespace {

struct NumberRow {
  std::string_view name;
  std::size_t size;
};
constexpr std::array<NumberRow, number_types> number_rows = {{{"u8", 1},
                                                              {"u16", 2},
                                                              {"u32", 4},
                                                              {"u64", 8},
                                                              {"i8", 1},
                                                              {"i16", 2},
                                                              {"i32", 4},
                                                              {"i64", 8},
                                                              {"f16", 2},
                                                              {"bf16", 2},
                                                              {"f32", 4},
                                                              {"f64", 8}}};

}  // namespace

std::size_t size_of(NumberType type) { return number_rows[static_cast<std::size_t>(type)].size; }
std::string_view name_of(NumberType type) { return number_rows[static_cast<std::size_t>(type)].name; }
bool is_floating(NumberType type) { return type >= NumberType::f16; }

std::optional<NumberType> number_type_named(std::string_view name) {
  for (std::size_t i = 0; i < number_rows.size(); ++i) {
    if (number_rows[i].name == name) return static_cast<NumberType>(i);
  }
  return std::nullopt;
}

std::string_view name_of(ReduceOp op) {
  constexpr std::array<std::string_view, reduce_ops> names = {"sum", "avg", "prod", "max", "min"};
  return names[static_cast<std::size_t>(op)];
}

}  // namespace laconic
