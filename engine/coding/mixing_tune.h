#pragma once
#include <cstdlib>
#include <string>
namespace laconic {
inline int tune(const char* name, int def) { const char* v = std::getenv(name); return v ? std::atoi(v) : def; }
}
#define TUNE(name, def) ([]{ static const int v = tune(#name, def); return v; }())
