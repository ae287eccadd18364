// Reference models with text that calibrates and text that reports (convention C15).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "methods/reproduce.h"

namespace laconic {

struct HeldOutText {
  std::string name;  // "wikitext-2"
  std::string text;
};

struct TrialSubject {
  std::string name;  // "lm-5m"
  std::filesystem::path model;
  std::string calibration;
  std::vector<HeldOutText> held_out;  // never seen in training or calibration
  bool short_rows = false;            // rows of 64: side information weighs so much that it is reported apart
};

// The models there are: `stories260K-hf` and `lm-5m` of the data directory (convention C15: calibration on
// TinyStories 1-2000 and the start of Dickens' train part, reports on TinyStories 2001-2316 and WikiText-2
// test with its " @-@ ", " @,@ ", " @.@ " joined), and `stories`, the model the project carries, with
// generated stories. Error(input) when there is none.
std::vector<TrialSubject> trial_subjects(const ReproduceRequest& request);
// By name; Error(input) when it is not there.
TrialSubject trial_subject(const ReproduceRequest& request, std::string_view name);
// `long`, the model with a long context that the project carries, and text none of it was trained on;
// Error(input) when it is not found.
TrialSubject long_context_subject(const ReproduceRequest& request);
// The directory of the model the project carries; empty when it is not found (LACONIC_ASSETS names the
// place).
std::filesystem::path bundled_model();

}  // namespace laconic
