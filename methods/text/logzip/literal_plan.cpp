#include "methods/text/logzip/literal_plan.h"

#include <algorithm>
#include <optional>

#include "methods/text/logzip/parsed_block.h"
#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {
namespace {

constexpr std::size_t most_elements = 4096;

// What stands at a place of a line: one byte, or one byte of a kind, which may be missing, or a value.
struct PlanElement {
  enum class Kind : std::uint8_t { byte, digit, letter, digit_or_space, value };
  Kind kind = Kind::byte;
  char byte = 0;
  bool optional = false;
  ValueWish::Source source = ValueWish::Source::slot;
  std::uint32_t index = 0;

  bool takes(char c) const {
    const bool digit = c >= '0' && c <= '9';
    switch (kind) {
      case Kind::byte:
        return c == byte;
      case Kind::digit:
        return digit;
      case Kind::letter:
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      case Kind::digit_or_space:
        return digit || c == ' ';
      case Kind::value:
        break;
    }
    return false;
  }
};

class PlanElements {
 public:
  explicit PlanElements(const Template& one, const HeaderFormat& format) {
    std::string_view text(one.text);
    text.remove_prefix(1);
    if (!one.has_header()) {
      segment(text);
      return;
    }
    std::uint32_t free_field = 0;
    for (const HeaderField& field : format.fields()) {
      bytes(field.before);
      if (field.with_template) {
        segment(text);
      } else if (field.layout) {
        layout(field.layout->text());
      } else {
        value(ValueWish::Source::field, free_field++);
      }
    }
  }
  // A carriage return ends some lines of any template.
  std::vector<PlanElement> take() {
    PlanElement end{PlanElement::Kind::byte, '\r'};
    end.optional = true;
    elements_.push_back(end);
    return std::move(elements_);
  }

 private:
  void bytes(std::string_view text) {
    for (const char c : text) elements_.push_back({PlanElement::Kind::byte, c});
  }
  void value(ValueWish::Source source, std::uint32_t index) {
    PlanElement element{PlanElement::Kind::value};
    element.source = source;
    element.index = index;
    elements_.push_back(element);
  }
  void segment(std::string_view& text) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    for (const char c : text.substr(0, end)) {
      if (c == slot_mark) {
        value(ValueWish::Source::slot, slots_++);
      } else {
        elements_.push_back({PlanElement::Kind::byte, c});
      }
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  void some(PlanElement::Kind kind, int least, int most) {
    for (int i = 0; i < most; ++i) {
      PlanElement element{kind};
      element.optional = i >= least;
      elements_.push_back(element);
    }
  }
  // The texts of time_layout.h's conversions, or a little more than those.
  void layout(std::string_view text) {
    using Kind = PlanElement::Kind;
    for (std::size_t at = 0; at < text.size(); ++at) {
      if (text[at] != '%' || at + 1 == text.size()) {
        bytes(text.substr(at, 1));
        continue;
      }
      switch (text[++at]) {
        case 'Y':
          some(Kind::digit, 4, 4);
          break;
        case '3':
        case '6':
        case '9':
          some(Kind::digit, text[at] - '0', text[at] - '0');
          break;
        case 'b':
        case 'a':
          some(Kind::letter, 3, 3);
          break;
        case 'e':
          some(Kind::digit_or_space, 1, 1);
          some(Kind::digit, 1, 1);
          break;
        case 's':
          some(Kind::digit, 9, 10);
          break;
        case 'f':
          some(Kind::digit, 1, 3);
          break;
        case '%':
          bytes("%");
          break;
        default:  // two digits, or one or two
          some(Kind::digit, 1, 2);
      }
    }
  }

  std::vector<PlanElement> elements_;
  std::uint32_t slots_ = 0;
};

class LiteralPlanner {
 public:
  LiteralPlanner(std::vector<PlanElement> elements, std::string_view literal)
      : elements_(std::move(elements)), literal_(literal) {}

  LiteralPlan plan() {
    for (std::size_t at = 0; at < elements_.size() && !given_up(); ++at) {
      if (elements_[at].kind != PlanElement::Kind::value) {
        follow(at, 0, nullptr);
        continue;
      }
      wish(at, ValueWish::Relation::contains, literal_, nullptr);
      for (std::size_t size = 1; size < literal_.size(); ++size) {
        const ValueWish begin = wish_of(at, ValueWish::Relation::ends, literal_.substr(0, size));
        follow(at + 1, size, &begin);
      }
    }
    if (given_up()) return {true, {}};
    return std::move(plan_);
  }

 private:
  static constexpr std::size_t most_wishes = 256;
  static constexpr std::size_t most_steps = 200'000;

  bool given_up() const { return plan_.any_line || plan_.wishes.size() > most_wishes || steps_ > most_steps; }
  ValueWish wish_of(std::size_t element, ValueWish::Relation relation, std::string_view piece) const {
    return {elements_[element].source, elements_[element].index, relation, std::string(piece)};
  }
  static const ValueWish* longer(const ValueWish* held, const ValueWish& other) {
    return held != nullptr && held->piece.size() >= other.piece.size() ? held : &other;
  }
  void settle(const ValueWish* held) {
    if (held == nullptr) {
      plan_.any_line = true;
    } else if (std::ranges::find(plan_.wishes, *held) == plan_.wishes.end()) {
      plan_.wishes.push_back(*held);
    }
  }
  void wish(std::size_t element, ValueWish::Relation relation, std::string_view piece,
            const ValueWish* held) {
    const ValueWish other = wish_of(element, relation, piece);
    settle(longer(held, other));
  }

  // Places of literal_ from `position` on that begin with element `at`. `held`: the best wish so far.
  void follow(std::size_t at, std::size_t position, const ValueWish* held) {
    for (;;) {
      if (++steps_ > most_steps || given_up()) return;
      if (position == literal_.size()) return settle(held);
      if (at == elements_.size()) return;
      const PlanElement& element = elements_[at];
      if (element.kind == PlanElement::Kind::value) break;
      if (element.optional) follow(at + 1, position, held);
      if (!element.takes(literal_[position])) return;
      ++at;
      ++position;
    }
    const std::string_view rest = literal_.substr(position);
    wish(at, ValueWish::Relation::starts, rest, held);
    for (std::size_t size = 0; size < rest.size(); ++size) {
      const ValueWish whole = wish_of(at, ValueWish::Relation::equals, rest.substr(0, size));
      follow(at + 1, position + size, size == 0 ? held : longer(held, whole));
    }
  }

  std::vector<PlanElement> elements_;
  std::string_view literal_;
  LiteralPlan plan_;
  std::size_t steps_ = 0;
};

}  // namespace

bool ValueWish::granted_by(std::string_view value) const {
  switch (relation) {
    case Relation::contains:
      return value.find(piece) != std::string_view::npos;
    case Relation::starts:
      return value.starts_with(piece);
    case Relation::ends:
      return value.ends_with(piece);
    case Relation::equals:
      break;
  }
  return value == piece;
}

LiteralPlan plan_literal(const Template& one, const HeaderFormat& format, std::string_view literal) {
  if (literal.empty()) return {true, {}};
  // Places are followed by recursion, one level for a value: templates of very many are searched as they are.
  std::vector<PlanElement> elements = PlanElements(one, format).take();
  if (elements.size() > most_elements) return {true, {}};
  return LiteralPlanner(std::move(elements), literal).plan();
}

}  // namespace laconic::logzip
