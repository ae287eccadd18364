// Line charts as inline SVG that follow the page's light or dark colours (classes s0..s7, CSS in report.cpp).
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace laconic {

struct ChartSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // any order; joined by rising x
};

struct Chart {
  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;  // points that are not positive are left out there
  std::vector<ChartSeries> series;
};

// Ends at round values around the data: 3 to 8 ticks. Logarithmic axes tick at 1, 2, 5 times powers of ten.
std::vector<double> axis_ticks(double low, double high, bool logarithmic);
// "1.5M", "320k", "0.02"
std::string tick_text(double value);

// Points that are not finite are left out; a chart without any point says so. All text is escaped.
std::string chart_svg(const Chart& chart);

std::string html_escaped(std::string_view text);

}  // namespace laconic
