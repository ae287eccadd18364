#include "methods/text/logzip/log_generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "engine/base/error.h"
#include "methods/text/logzip/time_layout.h"

namespace laconic::logzip {
namespace {

// Words that the made-up program speaks.
constexpr const char* generator_components[] = {
    "net.SessionPool", "net.Listener",   "store.BlockWriter", "store.Compactor", "store.Index",
    "auth.TokenCache", "auth.Directory", "query.Planner",     "query.Executor",  "job.Scheduler",
    "job.Worker",      "cluster.Lease",  "cluster.Gossip",    "metrics.Reporter"};
constexpr const char* generator_levels[] = {"INFO",  "INFO",  "INFO", "INFO",
                                            "DEBUG", "DEBUG", "WARN", "ERROR"};
constexpr const char* generator_verbs[] = {"Opened",    "Closed",   "Received", "Rejected",
                                           "Scheduled", "Finished", "Replayed", "Verified",
                                           "Evicted",   "Renewed",  "Retrying", "Skipped"};
constexpr const char* generator_nouns[] = {"connection", "session",    "segment",     "snapshot",
                                           "request",    "replica",    "partition",   "lease",
                                           "batch",      "checkpoint", "transaction", "cursor"};
constexpr const char* generator_joints[] = {"from", "for", "to", "after", "with", "of", "on", "by"};
constexpr const char* generator_tails[] = {"",
                                           ", will retry",
                                           " (cached)",
                                           " in the background",
                                           " as planned",
                                           "; queue is full",
                                           " without changes",
                                           " again"};
constexpr const char* generator_classes[] = {"SessionPool", "BlockWriter", "Compactor", "TokenCache",
                                             "Planner",     "Executor",    "Scheduler", "Worker",
                                             "Lease",       "Gossip"};
constexpr const char* generator_methods[] = {"run",    "accept", "flush",   "commit",
                                             "lookup", "plan",   "execute", "renew"};
constexpr const char* generator_faults[] = {"java.io.IOException: connection reset by peer",
                                            "java.lang.IllegalStateException: segment is closed",
                                            "java.util.concurrent.TimeoutException: no answer"};

constexpr std::size_t generator_users = 2000, generator_addresses = 400, generator_paths = 5000,
                      generator_threads = 32, generator_frames = 80;

}  // namespace

LogGenerator::Choice LogGenerator::Choice::zipf(std::size_t count, std::uint64_t offset) {
  Choice choice;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i)
    choice.ends.push_back(sum += (std::uint64_t{1} << 30) / (i + offset));
  require(sum >> 32 < std::uint64_t{1} << 31, "weights that a draw can tell apart");
  std::uint64_t before = 0;
  for (const std::uint64_t end : choice.ends) {
    choice.bits.push_back(std::log2(static_cast<double>(sum) / static_cast<double>(end - before)));
    before = end;
  }
  return choice;
}

LogGenerator::LogGenerator(std::uint64_t seed)
    : random_(seed, "logzip", "generated log"),
      template_choice_(Choice::zipf(templates, 1)),
      user_choice_(Choice::zipf(generator_users, 3)),
      address_choice_(Choice::zipf(generator_addresses, 5)),
      path_choice_(Choice::zipf(generator_paths, 2)),
      thread_choice_(Choice::zipf(generator_threads, 8)),
      frame_choice_(Choice::zipf(generator_frames, 4)) {
  make_templates();
}

std::size_t LogGenerator::draw(const Choice& choice) {
  const std::uint64_t high = random_.bits(), bits = high << 32 | random_.bits();
  // The high part of bits * sum: uniform over [0, sum) but for 2^-32.
  const std::uint64_t at =
      static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits) * choice.ends.back()) >> 64);
  const auto found = std::ranges::upper_bound(choice.ends, at);
  const auto index = static_cast<std::size_t>(found - choice.ends.begin());
  entropy_bits_ += choice.bits[index];
  return index;
}

std::uint64_t LogGenerator::uniform(std::uint64_t bound, double bits) {
  entropy_bits_ += bits;
  if (bound <= 0xFFFFFFFFu) return random_.below(static_cast<std::uint32_t>(bound));
  const std::uint64_t high = random_.bits();
  return (high << 32 | random_.bits()) % bound;
}

LogGenerator::LineTemplate LogGenerator::make_template(std::size_t number) {
  LineTemplate made;
  const auto pick = [&](const auto& words) {
    return words[random_.below(static_cast<std::uint32_t>(std::size(words)))];
  };
  made.component = pick(generator_components);
  made.level = pick(generator_levels);
  // The number in the words keeps templates apart.
  std::string text =
      fmt::format("{} {} ", pick(generator_verbs), generator_nouns[number % std::size(generator_nouns)]);
  const std::uint32_t values = random_.below(4);
  for (std::uint32_t i = 0; i < values; ++i) {
    const auto value = static_cast<Value>(random_.below(9));
    text += fmt::format("{} ", pick(generator_joints));
    made.pieces.push_back({text, Value::count, false});
    made.pieces.push_back({"", value, true});
    text = value == Value::milliseconds ? " ms " : " ";
  }
  const char* tail = pick(generator_tails);
  const char* noun = pick(generator_nouns);
  text += fmt::format("{} {}{}", pick(generator_joints), noun, tail);
  made.pieces.push_back({text, Value::count, false});
  return made;
}

void LogGenerator::make_templates() {
  while (templates_.size() < templates) templates_.push_back(make_template(templates_.size()));
}

void LogGenerator::advance_clock() {
  if (burst_left_ == 0 && uniform(64, 0.116) == 0) burst_left_ = 1 + uniform(400, 8.64);
  if (burst_left_ > 0) {
    --burst_left_;
    clock_ += static_cast<std::int64_t>(uniform(4, 2));
  } else {
    clock_ += static_cast<std::int64_t>(uniform(250, 7.97));
  }
}

void LogGenerator::append_value(Value value, std::string& text) {
  const auto out = std::back_inserter(text);
  switch (value) {
    case Value::count:
      fmt::format_to(out, "{}", uniform(1u << uniform(12, 3.58), 5.5));
      break;
    case Value::milliseconds:
      fmt::format_to(out, "{}", uniform(3000, 11.55));
      break;
    case Value::bytes:
      fmt::format_to(out, "{}", 4096 * uniform(1024, 10));
      break;
    case Value::address: {
      const std::size_t host = draw(address_choice_);
      fmt::format_to(out, "10.{}.{}.{}:{}", host % 4, host / 4 % 16, host * 37 % 251, 8000 + host % 7);
      break;
    }
    case Value::user:
      fmt::format_to(out, "user{:05}", draw(user_choice_) * 7919 % 100000);
      break;
    case Value::path: {
      const std::size_t path = draw(path_choice_);
      fmt::format_to(out, "/srv/data/{}/part-{:05}.seg", generator_nouns[path % std::size(generator_nouns)],
                     path);
      break;
    }
    case Value::block:
      next_block_ += 1 + uniform(3, 1.58);
      fmt::format_to(out, "blk_{}", next_block_);
      break;
    case Value::request:
      fmt::format_to(out, "{:016x}", uniform(~std::uint64_t{0}, 64));
      break;
    case Value::uuid: {
      const std::uint64_t high = uniform(~std::uint64_t{0}, 64), low = uniform(~std::uint64_t{0}, 64);
      fmt::format_to(out, "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, high >> 16 & 0xFFFF,
                     high & 0xFFFF, low >> 48, low & 0xFFFF'FFFF'FFFF);
      break;
    }
  }
}

void LogGenerator::append_head(const LineTemplate& line, std::string& text) {
  const std::int64_t seconds = clock_ / 1000, day_second = seconds % 86400;
  // Days from a fixed month: logs of more than 30 days go on in the next.
  std::int64_t day = seconds / 86400 - days_since_1970(2026, 3, 1);
  std::int64_t month = 3;
  while (day >= 30) {
    day -= 30;
    ++month;
  }
  fmt::format_to(std::back_inserter(text),
                 "{:04}-{:02}-{:02} {:02}:{:02}:{:02},{:03} {} [worker-{}] {}: ", 2026 + (month - 1) / 12,
                 (month - 1) % 12 + 1, day + 1, day_second / 3600, day_second / 60 % 60, day_second % 60,
                 clock_ % 1000, line.level, draw(thread_choice_), line.component);
}

void LogGenerator::append_line(std::string& text) {
  advance_clock();
  const LineTemplate& line = templates_[draw(template_choice_)];
  append_head(line, text);
  for (const Piece& piece : line.pieces) {
    if (piece.is_value) {
      append_value(piece.value, text);
    } else {
      text += piece.text;
    }
  }
  text += '\n';
  ++lines_;
  if (trace_left_ == 0 && line.level == "ERROR" && uniform(8, 0.54) == 0) {
    trace_left_ = 4 + uniform(16, 4);
    text += generator_faults[uniform(std::size(generator_faults), 1.58)];
    text += '\n';
    ++lines_;
  }
}

void LogGenerator::append_trace_line(std::string& text) {
  const std::size_t frame = draw(frame_choice_);
  const char* name = generator_classes[frame % std::size(generator_classes)];
  fmt::format_to(std::back_inserter(text), "\tat com.example.engine.{}.{}({}.java:{})\n", name,
                 generator_methods[frame / 10 % std::size(generator_methods)], name, 20 + frame * 13);
  ++lines_;
  --trace_left_;
}

void LogGenerator::append(std::size_t bytes, std::string& text) {
  const std::size_t end = text.size() + bytes;
  while (text.size() < end) {
    if (trace_left_ > 0 && uniform(4, 0.81) != 0) {
      append_trace_line(text);
    } else {
      append_line(text);
    }
  }
}

std::string LogGenerator::make(std::size_t bytes) {
  std::string text;
  append(bytes, text);
  return text;
}

}  // namespace laconic::logzip
