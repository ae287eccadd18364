// A log of JSON lines that is made up: the same seed gives the same bytes. Twenty kinds of lines, each with
// its own keys, message and services, Zipf frequent; requests whose lines share a trace, a session, a user
// and an address over several kinds; nested objects, arrays, values that are null at times.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/random.h"

namespace laconic::logzip {

class JsonLog {
 public:
  static constexpr std::uint32_t kinds = 20;
  enum class TimeKey : std::uint8_t { first, amid };

  explicit JsonLog(std::uint64_t seed, TimeKey time_key = TimeKey::first)
      : random_(seed, "json log", "lines"), time_key_(time_key) {
    for (std::uint32_t kind = 0; kind < kinds; ++kind) {
      for (std::uint32_t field = 0; field < field_kinds; ++field)
        if (random_.below(3) == 0) fields_[kind].push_back(field);
      if (fields_[kind].empty()) fields_[kind].push_back(kind % field_kinds);
      services_[kind] = {random_.below(8), random_.below(8)};
    }
    begin_request();
  }

  void append_line(std::string& text) {
    if (random_.below(6) == 0) begin_request();
    clock_ += random_.below(40);
    std::uint32_t kind = random_.below(kinds);
    kind = random_.below(kind + 1);
    const bool bad = random_.below(25) == 0;
    text += '{';
    if (time_key_ == TimeKey::first) append_time(text);
    text += std::string("\"level\":\"") + (bad ? "error" : kind % 5 == 0 ? "debug" : "info") + "\",";
    text += "\"service\":\"" + std::string(names_of_services[services_[kind][random_.below(2)]]) + "\",";
    if (time_key_ == TimeKey::amid) append_time(text);
    text += "\"host\":\"node-" + std::to_string(random_.below(12));
    text +=
        "\",\"caller\":\"server/part" + std::to_string(kind / 3) + ".go:" + std::to_string(100 + 13 * kind);
    text += "\",\"msg\":\"";
    append_message(kind, text);
    text += '"';
    for (const std::uint32_t field : fields_[kind]) append_field(field, bad, text);
    text += "}\n";
  }

  std::string make(std::size_t lines) {
    std::string text;
    for (std::size_t i = 0; i < lines; ++i) append_line(text);
    return text;
  }

 private:
  static constexpr std::uint32_t field_kinds = 12;
  static constexpr std::array<std::string_view, 8> names_of_services{
      "auth", "billing", "cart", "catalog", "gateway", "mailer", "search", "stock"};

  void begin_request() {
    trace_ = hex(16);
    session_ = hex(8);
    for (const std::size_t digits : {4, 4, 4, 12}) session_ += '-' + hex(digits);
    user_ = random_.below(random_.below(3000) + 1);
    address_ = "10.0";
    for (int i = 0; i < 2; ++i) address_ += '.' + std::to_string(random_.below(i == 0 ? 4 : 256));
  }
  std::string hex(std::size_t digits) {
    std::string text;
    while (digits-- > 0) text += "0123456789abcdef"[random_.below(16)];
    return text;
  }
  void append_time(std::string& text) {
    const std::uint64_t second = clock_ / 1000 % 86400;
    std::array<char, 64> time{};
    std::snprintf(time.data(), time.size(), "\"ts\":\"2026-03-%02uT%02u:%02u:%02u.%03uZ\",",
                  static_cast<unsigned>(1 + clock_ / 86400000 % 28), static_cast<unsigned>(second / 3600),
                  static_cast<unsigned>(second / 60 % 60), static_cast<unsigned>(second % 60),
                  static_cast<unsigned>(clock_ % 1000));
    text += time.data();
  }
  void append_message(std::uint32_t kind, std::string& text) {
    static constexpr std::array<std::string_view, 10> words{"request", "cache entry", "session",    "payment",
                                                            "page",    "order",       "connection", "query",
                                                            "message", "upload"};
    text += words[kind % words.size()];
    switch (kind % 4) {
      case 0:
        text += " finished in " + std::to_string(duration()) + " ms";
        break;
      case 1:
        text += " of user u" + std::to_string(user_) + (kind < 10 ? " accepted" : " dropped, will retry");
        break;
      case 2:
        text += kind < 10 ? " started" : " closed by peer";
        break;
      default:
        text += " \\\"" + hex(8) + "\\\" not found, asked " + address_;
    }
  }
  std::uint32_t duration() { return random_.below(20) == 0 ? random_.below(30000) : 3 + random_.below(200); }
  void append_field(std::uint32_t field, bool bad, std::string& text) {
    switch (field) {
      case 0:
        text += ",\"trace\":\"" + trace_ + '"';
        break;
      case 1:
        text += ",\"user\":{\"id\":" + std::to_string(user_) + ",\"address\":\"" + address_ + "\"}";
        break;
      case 2:
        text += ",\"duration_ms\":" + std::to_string(duration());
        break;
      case 3:
        text += std::string(",\"http\":{\"method\":\"") + (random_.below(4) == 0 ? "POST" : "GET");
        text += "\",\"path\":\"/api/v1/items/" + std::to_string(random_.below(5000));
        text += std::string("\",\"status\":") + (bad ? "500" : random_.below(9) == 0 ? "404" : "200") + '}';
        break;
      case 4:
        text += ",\"cached\":" + std::string(random_.below(3) == 0 ? "true" : "false");
        break;
      case 5:
        text += ",\"bytes\":" + std::to_string(random_.below(1U << (8 + random_.below(12))));
        break;
      case 6:
        text += ",\"error\":" +
                (bad ? "\"E" + std::to_string(1000 + random_.below(9)) + '"' : std::string("null"));
        break;
      case 7: {
        text += ",\"tags\":[";
        for (std::uint32_t i = random_.below(4); i-- > 0;)
          text += "\"t" + std::to_string(random_.below(30)) + (i > 0 ? "\"," : "\"");
        text += ']';
        break;
      }
      case 8: {
        text += ",\"items\":[";
        for (std::uint32_t i = 1 + random_.below(2); i-- > 0;) {
          text += "{\"sku\":\"S-" + std::to_string(random_.below(900));
          text += "\",\"count\":" + std::to_string(1 + random_.below(5)) + (i > 0 ? "}," : "}");
        }
        text += ']';
        break;
      }
      case 9:
        text += ",\"session\":\"" + session_ + '"';
        break;
      case 10:
        text += ",\"load\":0." + std::to_string(random_.below(100));
        text += ",\"seq\":" + std::to_string(++sequence_);
        break;
      default:
        text += ",\"region\":\"" + std::string(random_.below(2) == 0 ? "north east" : "south west") + '"';
    }
  }

  RandomStream random_;
  TimeKey time_key_;
  std::array<std::vector<std::uint32_t>, kinds> fields_;
  std::array<std::array<std::uint32_t, 2>, kinds> services_{};
  std::uint64_t clock_ = 3'600'000, sequence_ = 700'000;
  std::uint32_t user_ = 0;
  std::string trace_, session_, address_;
};

}  // namespace laconic::logzip
