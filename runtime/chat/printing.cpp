// Values as text: the forms of Python's str, repr and json.dumps.
#include <fmt/format.h>

#include <cmath>

#include "runtime/chat/value.h"

namespace laconic::chat {
namespace {

std::string real_text(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

// Quoted as Python does: single quotes unless only they occur inside.
void append_literal(std::string& out, const std::string& text) {
  const bool doubled = text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
  const char quote = doubled ? '"' : '\'';
  out += quote;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  out += quote;
}

void append_json_string(std::string& out, const std::string& text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

// `out` grows by what the value needs; its bytes are paid for as they come.
class Printer {
 public:
  Printer(Run& run, std::string& out) : run_(run), out_(out) {}

  void literal(const Value& value) {
    const std::size_t before = out_.size();
    if (value.is_text()) {
      run_.spend(value.as_text().size());
      append_literal(out_, value.as_text());
    } else if (value.is_list()) {
      out_ += '[';
      separated(value.as_list(), ", ", [&](const Value& item) { literal(item); });
      out_ += ']';
    } else if (value.is_map()) {
      out_ += '{';
      separated(value.as_map(), ", ", [&](const auto& entry) {
        append_literal(out_, entry.first);
        out_ += ": ";
        literal(entry.second);
      });
      out_ += '}';
    } else {
      plain(value);
    }
    run_.spend(1 + (out_.size() - before));
  }

  void plain(const Value& value) {
    if (value.is_undefined()) return;
    if (value.is_none()) {
      out_ += "None";
    } else if (value.is_boolean()) {
      out_ += value.truth() ? "True" : "False";
    } else if (value.is_integer()) {
      out_ += std::to_string(value.as_integer());
    } else if (value.is_real()) {
      out_ += real_text(value.as_real());
    } else if (value.is_text()) {
      run_.spend(value.as_text().size());
      out_ += value.as_text();
    } else if (value.is_list() || value.is_map()) {
      literal(value);
    } else {
      run_.fault(std::string("prints ") + value.kind_name(), ErrorKind::input);
    }
  }

  void json(const Value& value, int indent, int level) {
    const std::size_t before = out_.size();
    const std::string_view comma = indent < 0 ? ", " : ",";
    const auto new_line = [&](int depth) {
      if (indent < 0) return;
      out_ += '\n';
      out_.append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(depth), ' ');
    };
    if (value.is_none()) {
      out_ += "null";
    } else if (value.is_boolean()) {
      out_ += value.truth() ? "true" : "false";
    } else if (value.is_real() && !std::isfinite(value.as_real())) {
      out_ += std::isnan(value.as_real()) ? "NaN" : value.as_real() > 0 ? "Infinity" : "-Infinity";
    } else if (value.is_number()) {
      plain(value);
    } else if (value.is_text()) {
      run_.spend(value.as_text().size());
      append_json_string(out_, value.as_text());
    } else if (value.is_list() && value.as_list().empty()) {
      out_ += "[]";
    } else if (value.is_list()) {
      out_ += '[';
      separated(value.as_list(), comma, [&](const Value& item) {
        new_line(level + 1);
        json(item, indent, level + 1);
      });
      new_line(level);
      out_ += ']';
    } else if (value.is_map() && value.as_map().empty()) {
      out_ += "{}";
    } else if (value.is_map()) {
      out_ += '{';
      separated(value.as_map(), comma, [&](const auto& entry) {
        new_line(level + 1);
        append_json_string(out_, entry.first);
        out_ += ": ";
        json(entry.second, indent, level + 1);
      });
      new_line(level);
      out_ += '}';
    } else {
      run_.fault(std::string("writes ") + value.kind_name() + " as JSON", ErrorKind::input);
    }
    run_.spend(1 + (out_.size() - before));
  }

 private:
  template <class Items, class Print>
  void separated(const Items& items, std::string_view separator, Print&& print) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += separator;
      print(items[i]);
    }
  }
  Run& run_;
  std::string& out_;
};

}  // namespace

std::string to_text(Run& run, const Value& value) {
  std::string out;
  Printer(run, out).plain(value);
  return out;
}

std::string to_json(Run& run, const Value& value, int indent) {
  std::string out;
  Printer(run, out).json(value, indent, 0);
  return out;
}

}  // namespace laconic::chat
