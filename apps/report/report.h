// One HTML file that opens anywhere: no scripts, no other files, light and dark.
#pragma once

#include <string>
#include <vector>

#include "apps/report/chart.h"
#include "methods/reproduce.h"

namespace laconic {

class HtmlReport {
 public:
  explicit HtmlReport(std::string title) : title_(std::move(title)) {}
  void heading(std::string_view text);
  void paragraph(std::string_view text);
  void table(const std::vector<std::vector<std::string>>& rows);  // first row is the head
  void chart(const Chart& chart);
  void quotation(std::string_view who, std::string_view text);
  std::string html() const;

 private:
  std::string title_, body_;
};

// Claims, tables, curves and notes of a reproduction.
std::string reproduction_html(const Reproduction& reproduction, const std::string& title);

}  // namespace laconic
