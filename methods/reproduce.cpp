#include "methods/reproduce.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/hash.h"
#include "engine/base/json.h"

namespace laconic {
namespace {

// JSON has no infinity and no NaN, and a broken arm may have either: numbers are kept as their shortest text.
std::string number_text(double value) {
  char text[40];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return {text, end};
}

std::optional<double> parsed_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct StoredArm {
  ArmNumbers numbers;
  double seconds = 0;
};

// Nothing when the file is absent, damaged or of another key: then the arm is computed anew.
std::optional<StoredArm> read_arm(const std::filesystem::path& path, std::string_view key) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    const nlohmann::json value = parse_json(read_text_file(path, std::size_t{64} << 20), path.string());
    if (value.at("key") != key) return std::nullopt;
    StoredArm arm;
    arm.seconds = parsed_number(value.at("seconds").get<std::string>()).value();
    for (const auto& [name, number] : value.at("numbers").items()) {
      arm.numbers[name] = parsed_number(number.get<std::string>()).value();
    }
    return arm;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace

bool Reproduction::met() const {
  return !claims.empty() && std::all_of(claims.begin(), claims.end(), [](const Claim& c) { return c.met; });
}

Claim& Reproduction::judge(std::string claim, std::string paper, std::string baseline_name, double baseline,
                           double measured, std::string threshold, bool met, std::string note) {
  Claim one;
  one.claim = std::move(claim);
  one.paper = std::move(paper);
  one.baseline_name = std::move(baseline_name);
  one.baseline_value = baseline;
  one.measured_value = measured;
  one.threshold = std::move(threshold);
  one.met = met;
  one.note = std::move(note);
  claims.push_back(std::move(one));
  return claims.back();
}

ArmCache::ArmCache(std::filesystem::path directory, std::function<void(const ArmRecord&)> listener)
    : directory_(std::move(directory)), listener_(std::move(listener)) {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) {
    fail(ErrorKind::io, "the cache of arms cannot be made: " + error.message(), directory_.string(),
         "choose another place with --cache");
  }
}

std::filesystem::path ArmCache::file_of(std::string_view key) const {
  return directory_ / (to_hex(xxh3_128(as_byte_span(key))) + ".json");
}

std::filesystem::path ArmCache::work_directory(std::string_view key) const {
  return directory_ / ("work-" + to_hex(xxh3_128(as_byte_span(key))));
}

bool ArmCache::contains(std::string_view key) const { return read_arm(file_of(key), key).has_value(); }

void ArmCache::put_text(std::string_view key, std::string_view text) const {
  write_file(file_of(key).replace_extension(".txt"), text);
}

std::optional<std::string> ArmCache::text(std::string_view key) const {
  const std::filesystem::path path = file_of(key).replace_extension(".txt");
  if (!std::filesystem::exists(path)) return std::nullopt;
  return read_text_file(path, std::size_t{1} << 20);
}

ArmNumbers ArmCache::arm(std::string_view name, std::string_view key,
                         const std::function<ArmNumbers()>& compute) {
  throw_if_interrupted();
  const std::filesystem::path path = file_of(key);
  ArmRecord record{std::string(name), true, 0};
  ArmNumbers numbers;
  if (auto stored = read_arm(path, key)) {
    numbers = std::move(stored->numbers);
    record.seconds = stored->seconds;
    ++cached_;
  } else {
    record.cached = false;
    const auto start = std::chrono::steady_clock::now();
    numbers = compute();
    record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    nlohmann::json value = {
        {"name", record.name}, {"key", std::string(key)}, {"seconds", number_text(record.seconds)}};
    value["numbers"] = nlohmann::json::object();
    for (const auto& [label, number] : numbers) value["numbers"][label] = number_text(number);
    write_file(path, value.dump(1));
    std::error_code ignored;
    std::filesystem::remove_all(work_directory(key), ignored);
    ++fresh_;
  }
  records_.push_back(record);
  if (listener_) listener_(record);
  return numbers;
}

std::filesystem::path default_arm_cache() {
  const auto variable = [](const char* name) -> std::filesystem::path {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  // The XDG rules: a relative path is ignored.
  if (const auto cache = variable("XDG_CACHE_HOME"); cache.is_absolute()) return cache / "laconic" / "arms";
  if (const auto home = variable("HOME"); home.is_absolute()) return home / ".cache" / "laconic" / "arms";
  return std::filesystem::temp_directory_path() / "laconic-arms";
}

}  // namespace laconic
