#include "apps/report/report.h"

#include <gtest/gtest.h>

#include <cmath>

namespace laconic {
namespace {

TEST(AxisTicks, AreRoundAndCoverTheData) {
  EXPECT_EQ(axis_ticks(0.3, 9.7, false), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(axis_ticks(1, 100, true), (std::vector<double>{1, 2, 5, 10, 20, 50, 100}));
  for (const bool logarithmic : {false, true}) {
    for (const double high : {5.0, 5.001, 6.0, 50.0, 5e9}) {
      const std::vector<double> ticks = axis_ticks(5, high, logarithmic);
      EXPECT_GE(ticks.size(), 2U) << high;
      EXPECT_LE(ticks.size(), 9U) << high;
    }
  }
}

TEST(ChartSvg, DrawsFinitePointsInOrderAndEscapesNames) {
  Chart chart{"a < b", "bytes", "perplexity", true, false, {}};
  chart.series.push_back({"x & y", {{200, 3}, {100, 5}, {0, 1}, {300, std::nan("")}}});
  const std::string svg = chart_svg(chart);
  EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
  EXPECT_NE(svg.find("x &amp; y"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  std::size_t dots = 0;
  for (auto at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1)) ++dots;
  EXPECT_EQ(dots, 3U);  // two points and the key
  chart.series[0].points.clear();
  EXPECT_NE(chart_svg(chart).find("nothing to draw"), std::string::npos);
}

TEST(ChartSvg, SeriesBeyondTheColoursAreRings) {
  Chart chart{"many", "x", "y", false, false, {}};
  for (int i = 0; i < 9; ++i) chart.series.push_back({std::to_string(i), {{i, i}}});
  const std::string svg = chart_svg(chart);
  // A point and a key for each of them.
  const auto count = [&](const std::string& what) {
    int found = 0;
    for (std::size_t at = svg.find(what); at != std::string::npos; at = svg.find(what, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("class=\"dot s0\""), 2);
  EXPECT_EQ(count("class=\"dot s0 ring\""), 2);
  EXPECT_EQ(count("ring"), 2);
}

TEST(HtmlReport, IsSelfContained) {
  Reproduction result;
  result.claims.push_back({"smaller <b>", "9.5", "rtn", 2, 100, 1, 90, "<= 1", false, "why"});
  result.tables.push_back({"rows", {{"arm", "ppl"}, {"rtn", "3"}}});
  result.curves.push_back({"chart", "rtn", {{1, 2}, {2, 1}}, "bytes", "perplexity"});
  const std::string html = reproduction_html(result, "title");
  for (const char* outside : {"<script", "http:", "https:", "src=", "@import", "url("}) {
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  }
  for (const char* inside :
       {"smaller &lt;b&gt;", "NOT MET", "<svg", "prefers-color-scheme: dark", "<td>rtn</td>"}) {
    EXPECT_NE(html.find(inside), std::string::npos) << inside;
  }
}

}  // namespace
}  // namespace laconic
