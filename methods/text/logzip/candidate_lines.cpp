#include "methods/text/logzip/candidate_lines.h"

#include <algorithm>

#include "methods/text/logzip/parsed_block.h"

namespace laconic::logzip {
namespace {

// What is asked of one column, and which of its rows grant it.
struct AskedColumn {
  bool asked = false;
  std::vector<ValueWish> wishes;
  std::vector<bool> granted;  // by row; empty: none
};

void grant_contained(const ColumnText& values, const std::string& piece, std::vector<bool>& granted) {
  const std::string_view all(values.bytes);
  for (std::size_t at = 0; (at = all.find(piece, at)) != std::string_view::npos;) {
    const auto end = std::ranges::upper_bound(values.ends, at);
    if (end == values.ends.end()) return;
    if (at + piece.size() <= *end) {
      granted[static_cast<std::size_t>(end - values.ends.begin())] = true;
      at = *end;
    } else {
      ++at;  // over the border of two values
    }
  }
}

// Whether some row grants a wish.
bool grant(const ColumnText& values, AskedColumn& column) {
  std::vector<bool> granted(values.size());
  for (const ValueWish& wish : column.wishes) {
    if (wish.relation == ValueWish::Relation::contains) {
      grant_contained(values, wish.piece, granted);
      continue;
    }
    for (std::size_t row = 0; row < values.size(); ++row)
      if (wish.granted_by(values[row])) granted[row] = true;
  }
  if (std::ranges::find(granted, true) == granted.end()) return false;
  column.granted = std::move(granted);
  return true;
}

class CandidateFinder {
 public:
  CandidateFinder(BlockReader& block, const HeaderFormat& format, LiteralPlans& plans)
      : block_(block), format_(format), plans_(plans), fields_(free_fields(format).size()) {}

  std::optional<std::vector<std::uint32_t>> find() {
    read_templates();
    ask();
    if (lines_of_any_ > block_.line_count() / 8) return std::nullopt;
    bool some = lines_of_any_ > 0;
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (columns_[i].asked && grant(block_.column(i), columns_[i])) some = true;
    for (std::size_t i = 0; i < fields_.size(); ++i)
      if (fields_[i].asked && grant(block_.field(i), fields_[i])) some = true;
    if (!some) return std::vector<std::uint32_t>();
    return collect();
  }

 private:
  struct Used {
    std::uint32_t lines = 0;
    bool any_line = false;
    const std::vector<std::uint32_t>* columns = nullptr;
  };

  void read_templates() {
    for (const IdCount& one : block_.template_lines()) {
      if (one.id >= used_.size()) used_.resize(one.id + 1);
      used_[one.id].lines = one.lines;
    }
    std::uint32_t columns = 0;
    for (const TemplateColumns& one : block_.layout()) {
      if (one.id < used_.size()) used_[one.id].columns = &one.columns;
      for (const std::uint32_t column : one.columns) columns = std::max(columns, column + 1);
    }
    columns_.resize(columns);
  }
  void ask() {
    for (std::uint32_t id = 0; id < used_.size(); ++id) {
      if (used_[id].lines == 0) continue;
      const LiteralPlan& plan = plans_.of(block_.template_of(id), format_);
      if (plan.any_line) {
        used_[id].any_line = true;
        lines_of_any_ += used_[id].lines;
        continue;
      }
      for (const ValueWish& wish : plan.wishes) {
        AskedColumn& column = wish.source == ValueWish::Source::field
                                  ? fields_[wish.index]
                                  : columns_[(*used_[id].columns)[wish.index]];
        column.asked = true;
        const bool known = std::ranges::any_of(column.wishes, [&](const ValueWish& held) {
          return held.relation == wish.relation && held.piece == wish.piece;
        });
        if (!known) column.wishes.push_back(wish);
      }
    }
  }
  std::vector<std::uint32_t> collect() const {
    std::vector<std::uint32_t> lines;
    std::vector<std::size_t> next(columns_.size());
    std::size_t header_row = 0;
    const auto granted = [](const AskedColumn& column, std::size_t row) {
      return !column.granted.empty() && column.granted[row];
    };
    const std::span<const std::uint32_t> ids = block_.ids();
    for (std::uint32_t line = 0; line < ids.size(); ++line) {
      const std::uint32_t id = ids[line];
      bool candidate = used_[id].any_line;
      if (used_[id].columns != nullptr) {
        for (const std::uint32_t column : *used_[id].columns)
          candidate |= granted(columns_[column], next[column]++);
      }
      if (block_.template_of(id).has_header()) {
        for (const AskedColumn& field : fields_) candidate |= granted(field, header_row);
        ++header_row;
      }
      if (candidate) lines.push_back(line);
    }
    return lines;
  }

  BlockReader& block_;
  const HeaderFormat& format_;
  LiteralPlans& plans_;
  std::vector<Used> used_;  // by id
  std::vector<AskedColumn> columns_, fields_;
  std::size_t lines_of_any_ = 0;
};

}  // namespace

const LiteralPlan& LiteralPlans::of(const Template& one, const HeaderFormat& format) {
  const std::scoped_lock lock(mutex_);
  std::unique_ptr<const LiteralPlan>& plan = plans_[{format.text(), one.text}];
  if (!plan) plan = std::make_unique<const LiteralPlan>(plan_literal(one, format, literal_));
  return *plan;
}

std::optional<std::vector<std::uint32_t>> candidate_lines(BlockReader& block, const HeaderFormat& format,
                                                          LiteralPlans& plans) {
  return CandidateFinder(block, format, plans).find();
}

}  // namespace laconic::logzip
