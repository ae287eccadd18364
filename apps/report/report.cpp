#include "apps/report/report.h"

#include <fmt/format.h>

#include <algorithm>

namespace laconic {
namespace {

// Colours: eight hues that keep their order of lightness for readers who do not see red and green apart.
constexpr std::string_view style = R"(
:root { color-scheme: light dark; --page: #fcfcfb; --ink: #1d1d1f; --soft: #62626a; --rule: #d9d9de;
  --c0: #4c566a; --c1: #0072b2; --c2: #d55e00; --c3: #009e73; --c4: #cc4c99; --c5: #8a6d00; --c6: #3fa7d6; --c7: #7b4fb5; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16171a; --ink: #ececf0; --soft: #a3a3ad; --rule: #34353b;
    --c0: #aab2c5; --c1: #56a8e8; --c2: #f08a4b; --c3: #3ccf9f; --c4: #ea86bd; --c5: #d9b93b; --c6: #8fd3f4; --c7: #b596e8; } }
body { background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; max-width: 56rem;
  margin: 2.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; } figcaption { font-weight: 600; margin-bottom: .3rem; } svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg .tick { fill: var(--soft); font-size: 11px; }
.grid { stroke: var(--rule); stroke-width: 1; } .line { fill: none; stroke-width: 2; }
blockquote { margin: .6rem 0; padding-left: 1rem; border-left: 3px solid var(--rule); }
blockquote b { display: block; font-size: .85rem; color: var(--soft); }
.met { color: var(--c3); } .missed { color: var(--c2); } .claim { margin: 1rem 0; } .claim small, .empty { color: var(--soft); }
)";

std::string colour_rules() {
  std::string rules;
  for (int i = 0; i < 8; ++i) {
    rules += fmt::format(
        ".line.s{0} {{ stroke: var(--c{0}); }} .dot.s{0} {{ fill: var(--c{0}); stroke: var(--c{0}); }}\n", i);
  }
  return rules + ".dot.ring { fill: var(--page); stroke-width: 2; }\n";
}

std::string value_and_bytes(double value, std::uint64_t bytes) {
  return bytes == 0 ? fmt::format("{:.5g}", value) : fmt::format("{:.5g} at {} bytes", value, bytes);
}

}  // namespace

void HtmlReport::heading(std::string_view text) { body_ += fmt::format("<h2>{}</h2>\n", html_escaped(text)); }

void HtmlReport::paragraph(std::string_view text) { body_ += fmt::format("<p>{}</p>\n", html_escaped(text)); }

void HtmlReport::quotation(std::string_view who, std::string_view text) {
  body_ += fmt::format("<blockquote><b>{}</b>{}</blockquote>\n", html_escaped(who), html_escaped(text));
}

void HtmlReport::table(const std::vector<std::vector<std::string>>& rows) {
  body_ += "<div class=\"scroll\"><table>\n";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const char* cell = r == 0 ? "th" : "td";
    body_ += "<tr>";
    for (const std::string& text : rows[r]) body_ += fmt::format("<{0}>{1}</{0}>", cell, html_escaped(text));
    body_ += "</tr>\n";
  }
  body_ += "</table></div>\n";
}

void HtmlReport::chart(const Chart& chart) { body_ += chart_svg(chart); }

std::string HtmlReport::html() const {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n"
      "<style>{1}{2}</style></head>\n<body><h1>{0}</h1>\n{3}</body></html>\n",
      html_escaped(title_), style, colour_rules(), body_);
}

std::string reproduction_html(const Reproduction& reproduction, const std::string& title) {
  HtmlReport report(title);
  std::size_t met = 0;
  for (const Claim& claim : reproduction.claims) met += claim.met;
  report.paragraph(
      fmt::format("{} of {} claims met; seed {}.", met, reproduction.claims.size(), reproduction.seed));
  report.heading("Claims");
  std::vector<std::vector<std::string>> rows = {{"claim", "baseline", "measured", "threshold", "result"}};
  for (const Claim& claim : reproduction.claims) {
    rows.push_back({claim.claim, value_and_bytes(claim.baseline_value, claim.baseline_bytes),
                    value_and_bytes(claim.measured_value, claim.measured_bytes), claim.threshold,
                    claim.met ? "met" : "NOT MET"});
  }
  report.table(rows);
  for (const Claim& claim : reproduction.claims) {
    if (!claim.note.empty()) report.paragraph(claim.claim + ": " + claim.note);
  }
  std::vector<Chart> charts;
  for (const ReproductionCurve& curve : reproduction.curves) {
    auto chart =
        std::find_if(charts.begin(), charts.end(), [&](const Chart& c) { return c.title == curve.chart; });
    if (chart == charts.end()) {
      charts.push_back({curve.chart, curve.x_label, curve.y_label, false, false, {}});
      chart = charts.end() - 1;
    }
    chart->series.push_back({curve.name, curve.points});
  }
  if (!charts.empty()) report.heading("Charts");
  for (const Chart& chart : charts) report.chart(chart);
  for (const ReproductionTable& table : reproduction.tables) {
    report.heading(table.title);
    report.table(table.rows);
  }
  if (!reproduction.notes.empty()) report.heading("Notes");
  for (const std::string& note : reproduction.notes) report.paragraph(note);
  return report.html();
}

}  // namespace laconic
