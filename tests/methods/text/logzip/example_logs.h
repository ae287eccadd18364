// Made logs for tests: lines of a few kinds with ids, addresses, counters and now and then a stack trace.
#pragma once

#include <string>

#include "engine/base/random.h"

namespace laconic::logzip {

inline std::string padded(std::uint64_t number, std::size_t width) {
  std::string text = std::to_string(number);
  return text.size() < width ? std::string(width - text.size(), '0') + text : text;
}

inline std::string example_log(std::size_t lines, std::uint64_t seed = 1) {
  RandomStream random(seed, "example log", "lines");
  std::string text;
  std::uint64_t milliseconds = 0, job = 100;
  for (std::size_t i = 0; i < lines; ++i) {
    milliseconds += random.bits() % 700;
    const std::uint64_t seconds = milliseconds / 1000;
    text += "2024-03-" + padded(1 + seconds / 86400 % 28, 2) + " " + padded(seconds / 3600 % 24, 2) + ":" +
            padded(seconds / 60 % 60, 2) + ":" + padded(seconds % 60, 2) + "," +
            padded(milliseconds % 1000, 3);
    const std::string client =
        "10.1." + std::to_string(random.bits() % 4) + "." + std::to_string(random.bits() % 9);
    switch (random.bits() % 6) {
      case 0:
        text += " INFO app.Queue: job_" + std::to_string(++job) + " accepted from " + client + ":" +
                std::to_string(1024 + random.bits() % 60000) + "\n";
        break;
      case 1:
        text += " INFO app.Queue: job_" + std::to_string(job - random.bits() % 5) + " done in " +
                std::to_string(random.bits() % 900) + " ms\n";
        break;
      case 2:
        text += " WARN app.Disk: volume /data/vol" + std::to_string(random.bits() % 3) + " is " +
                std::to_string(70 + random.bits() % 30) + "% full\n";
        break;
      case 3:
        text += " INFO app.Login: user " + std::string(1, static_cast<char>('a' + random.bits() % 26)) +
                "user logged in from " + client + "\n";
        break;
      case 4:
        text += " ERROR app.Worker: request " + padded(random.bits(), 10) +
                " failed\n\tat app.Worker.run(Worker.java:" + std::to_string(random.bits() % 300) +
                ")\n\tat java.lang.Thread.run(Thread.java:745)\n";
        break;
      default:
        text += " INFO app.Cache: hit ratio 0." + padded(random.bits() % 10000, 4) + ", delta=-" +
                std::to_string(random.bits() % 50) + "\n";
        break;
    }
  }
  return text;
}

}  // namespace laconic::logzip
