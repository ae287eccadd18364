// laconic logs templates, stats, verify: what an archive holds and whether it is sound.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/logs_options.h"
#include "engine/base/error.h"
#include "methods/text/logzip/template_report.h"

namespace laconic::cli {
namespace {

std::string csv_field(std::string_view text) {
  std::string field = "\"";
  for (const char c : text) {
    if (c == '"') field += '"';
    field += c;
  }
  return field + '"';
}

int show_templates(const Arguments& arguments, const Session& session) {
  const logzip::ArchiveReader archive(arguments.text("archive"));
  DamageReport damage;
  print_archive_state(archive, damage);
  const auto counts = logzip::count_templates(archive, damage.listener());
  StandardOutput out;
  if (session.json) {
    nlohmann::json json = nlohmann::json::array();
    for (const logzip::TemplateCount& one : counts)
      json.push_back({{"lines", one.lines}, {"template", one.text}});
    out.write(json_text(json));
  } else if (arguments.flag("csv")) {
    out.write("EventId,EventTemplate,Occurrences\n");
    std::size_t number = 0;
    for (const logzip::TemplateCount& one : counts)
      out.write(fmt::format("E{},{},{}\n", ++number, csv_field(one.text), one.lines));
  } else {
    for (const logzip::TemplateCount& one : counts)
      out.write(fmt::format("{:>10}  {}\n", one.lines, one.text));
  }
  out.flush();
  return damage.found() > 0 ? 3 : 0;
}

std::string format_name(const logzip::ArchiveSection& section) {
  if (!section.known) return "(lost)";
  return section.format.empty() ? "(none)" : section.format.text();
}

int show_stats(const Arguments& arguments, const Session& session) {
  const logzip::ArchiveReader archive(arguments.text("archive"));
  DamageReport damage;
  print_archive_state(archive, damage);
  static constexpr const char* modes[] = {"fast", "best", "max"};
  const double ratio = static_cast<double>(archive.bytes()) / static_cast<double>(archive.stored());
  const char* mode = modes[static_cast<int>(archive.header().mode)];
  if (session.json) {
    nlohmann::json sections = nlohmann::json::array();
    for (const logzip::ArchiveSection& section : archive.sections())
      sections.push_back({{"name", section.entry.name},
                          {"bytes", section.bytes},
                          {"lines", section.lines},
                          {"blocks", section.blocks},
                          {"format", format_name(section)}});
    const nlohmann::json json = {{"archive", archive.where()},
                                 {"mode", mode},
                                 {"lossy", archive.header().lossy},
                                 {"bytes", archive.bytes()},
                                 {"stored", archive.stored()},
                                 {"ratio", ratio},
                                 {"lines", archive.lines()},
                                 {"blocks", archive.blocks().size()},
                                 {"lost_blocks", archive.lost_blocks()},
                                 {"inputs", sections}};
    print_json(json);
  } else {
    fmt::print("{}: {} of log in {}, {:.2f} times smaller; {} lines, {} blocks, mode {}{}\n", archive.where(),
               human_bytes(archive.bytes()), human_bytes(archive.stored()), ratio, archive.lines(),
               archive.blocks().size(), mode, archive.header().lossy ? ", lossy" : "");
    std::vector<std::vector<std::string>> rows = {{"input", "bytes", "lines", "blocks", "format"}};
    for (const logzip::ArchiveSection& section : archive.sections())
      rows.push_back({section.entry.name.empty() ? "-" : section.entry.name, human_bytes(section.bytes),
                      std::to_string(section.lines), std::to_string(section.blocks), format_name(section)});
    fmt::print("{}", format_table(rows));
  }
  return damage.found() > 0 ? 3 : 0;
}

int verify_logs(const Arguments& arguments, const Session& session) {
  int code = 0;
  nlohmann::json json = nlohmann::json::array();
  for (const std::string& path : arguments.list("archives")) {
    DamageReport damage;
    try {
      const logzip::ArchiveReader archive(path);
      print_archive_state(archive, damage);
      if (archive.stray_bytes() > 0) code = 3;
      LogProgress progress(session.progress, "verifying " + path, archive.bytes());
      const logzip::VerifyResult result =
          archive.verify(damage.listener(), [&](std::uint64_t bytes) { progress.show(bytes, 0); });
      if (session.json) {
        json.push_back({{"archive", path},
                        {"sound_blocks", result.sound_blocks},
                        {"damaged_blocks", result.damaged_blocks},
                        {"lost_blocks", result.lost_blocks},
                        {"damaged_aids", result.damaged_aids},
                        {"sound_bytes", result.sound_bytes}});
      } else {
        fmt::print("{}: {} of {} blocks sound, {} of log\n", path, result.sound_blocks,
                   result.sound_blocks + result.damaged_blocks + result.lost_blocks,
                   human_bytes(result.sound_bytes));
      }
    } catch (const Error& error) {
      if (!is_of_one_file(error)) throw;
      print_notice(std::string("laconic: ") + error.what());
      code = std::max(code, error.exit_code());
    }
    if (damage.found() > 0) code = std::max(code, 3);
  }
  if (session.json) print_json(json);
  return code;
}

}  // namespace

Verb logs_templates_verb() {
  using Kind = OptionSpec::Kind;
  return {"logs templates",
          "List the templates of a log archive by how many lines have them",
          "  laconic logs templates app.log.lzl | head\n"
          "  laconic logs templates app.log.lzl --csv > templates.csv\n",
          {{"archive", Kind::text, "a log archive", true},
           {"--csv", Kind::flag, "as EventId,EventTemplate,Occurrences"}},
          show_templates};
}

Verb logs_stats_verb() {
  using Kind = OptionSpec::Kind;
  return {"logs stats",
          "Show what a log archive holds",
          "  laconic logs stats app.log.lzl\n",
          {{"archive", Kind::text, "a log archive", true}},
          show_stats};
}

Verb logs_verify_verb() {
  using Kind = OptionSpec::Kind;
  return {"logs verify",
          "Decode every block of log archives and check it",
          "  laconic logs verify app.log.lzl\n"
          "  laconic logs verify *.lzl --json\n",
          {{"archives", Kind::list, "log archives", true}},
          verify_logs};
}

}  // namespace laconic::cli
