#include "apps/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace laconic {
namespace {

constexpr double width = 760, left = 64, right = 170, top = 20, plot_height = 300, bottom = 48;
constexpr double plot_width = width - left - right;

struct Axis {
  bool logarithmic = false;
  std::vector<double> ticks;
  double low = 0, high = 1;
  double position(double value) const {  // 0 to 1
    if (logarithmic) return (std::log(value) - std::log(low)) / (std::log(high) - std::log(low));
    return (value - low) / (high - low);
  }
};

bool drawable(double value, bool logarithmic) { return std::isfinite(value) && (!logarithmic || value > 0); }

Axis make_axis(const std::vector<double>& values, bool logarithmic) {
  Axis axis;
  axis.logarithmic = logarithmic;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  axis.ticks = axis_ticks(*low, *high, logarithmic);
  axis.low = std::min(*low, axis.ticks.front());
  axis.high = std::max(*high, axis.ticks.back());
  return axis;
}

}  // namespace

std::vector<double> axis_ticks(double low, double high, bool logarithmic) {
  std::vector<double> ticks;
  if (logarithmic) {
    if (!(high > low)) low /= 2, high *= 2;
    // 1, 2, 5 in every decade; where that is too few, every integer multiple.
    for (const bool fine : {false, true}) {
      ticks.clear();
      double decade = std::pow(10.0, std::floor(std::log10(low)));
      for (; decade <= high; decade *= 10) {
        for (int digit = 1; digit < 10; ++digit) {
          if (!fine && digit != 1 && digit != 2 && digit != 5) continue;
          const double tick = decade * digit;
          if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push_back(tick);
        }
      }
      if (ticks.size() >= 3) break;
    }
    while (ticks.size() > 8) {
      std::vector<double> fewer;
      for (std::size_t i = 0; i < ticks.size(); i += 3) fewer.push_back(ticks[i]);
      ticks = std::move(fewer);
    }
    if (ticks.size() < 2) ticks = {low, std::sqrt(low * high), high};
    return ticks;
  }
  if (!(high > low)) {
    const double margin = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= margin;
    high += margin;
  }
  const double raw = (high - low) / 5, power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = power * 10;
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (raw <= power * digit) {
      step = power * digit;
      break;
    }
  }
  for (double k = std::floor(low / step); k <= std::ceil(high / step); ++k) ticks.push_back(k * step);
  return ticks;
}

std::string tick_text(double value) {
  const double size = std::abs(value);
  if (size >= 1e9) return fmt::format("{:.4g}G", value / 1e9);
  if (size >= 1e6) return fmt::format("{:.4g}M", value / 1e6);
  if (size >= 1e4) return fmt::format("{:.4g}k", value / 1e3);
  return fmt::format("{:.4g}", size < 1e-12 ? 0.0 : value);
}

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // Control characters are not allowed in HTML text.
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return out;
}

std::string chart_svg(const Chart& chart) {
  std::vector<ChartSeries> series;
  std::vector<double> xs, ys;
  for (const ChartSeries& one : chart.series) {
    ChartSeries kept{one.name, {}};
    for (const auto& [x, y] : one.points) {
      if (!drawable(x, chart.log_x) || !drawable(y, chart.log_y)) continue;
      kept.points.emplace_back(x, y);
      xs.push_back(x);
      ys.push_back(y);
    }
    std::sort(kept.points.begin(), kept.points.end());
    series.push_back(std::move(kept));
  }
  const std::string title = html_escaped(chart.title);
  if (xs.empty()) return fmt::format("<p class=\"empty\">{}: nothing to draw</p>\n", title);
  const Axis x = make_axis(xs, chart.log_x), y = make_axis(ys, chart.log_y);
  const auto at_x = [&](double value) { return left + plot_width * x.position(value); };
  const auto at_y = [&](double value) { return top + plot_height * (1 - y.position(value)); };
  const double needed = std::max(plot_height + bottom, 18.0 * static_cast<double>(series.size()) + 10) + top;
  std::string svg = fmt::format(
      "<figure><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {} {:.0f}\" role=\"img\" aria-label=\"{}\">\n",
      title, width, needed, title);
  for (const double tick : x.ticks) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>"
        "<text class=\"tick\" x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n",
        at_x(tick), top, top + plot_height, top + plot_height + 16, tick_text(tick));
  }
  for (const double tick : y.ticks) {
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0}\" y1=\"{1:.1f}\" x2=\"{2}\" y2=\"{1:.1f}\"/>"
        "<text class=\"tick\" x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>\n",
        left, at_y(tick), left + plot_width, left - 6, at_y(tick) + 4, tick_text(tick));
  }
  svg += fmt::format("<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                     left + plot_width / 2, top + plot_height + 38, html_escaped(chart.x_label));
  svg += fmt::format(
      "<text class=\"label\" transform=\"translate(14 {:.1f}) rotate(-90)\" "
      "text-anchor=\"middle\">{}</text>\n",
      top + plot_height / 2, html_escaped(chart.y_label));
  for (std::size_t i = 0; i < series.size(); ++i) {
    // The second eight have the colours of the first, as rings.
    const std::size_t colour = i % 8;
    const char* ring = i / 8 % 2 == 1 ? " ring" : "";
    const ChartSeries& one = series[i];
    if (one.points.size() > 1) {
      std::string path;
      for (const auto& [px, py] : one.points) path += fmt::format("{:.1f},{:.1f} ", at_x(px), at_y(py));
      svg += fmt::format("<polyline class=\"line s{}\" points=\"{}\"/>\n", colour, path);
    }
    for (const auto& [px, py] : one.points) {
      svg += fmt::format(
          "<circle class=\"dot s{}{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"><title>{}: {}, {:.5g}"
          "</title></circle>\n",
          colour, ring, at_x(px), at_y(py), html_escaped(one.name), tick_text(px), py);
    }
    const double line = top + 10 + 18 * static_cast<double>(i);
    svg += fmt::format(
        "<circle class=\"dot s{}{}\" cx=\"{}\" cy=\"{:.1f}\" r=\"4\"/><text class=\"key\" x=\"{}\" "
        "y=\"{:.1f}\">{}</text>\n",
        colour, ring, left + plot_width + 20, line - 4, left + plot_width + 30, line, html_escaped(one.name));
  }
  return svg + "</svg></figure>\n";
}

}  // namespace laconic
