#pragma once
#include <cstdlib>
#include <string>
namespace laconic {
inline int tune(const char* name, int def) { const char* v = std::getenv(name); return v ? std::atoi(v) : def; }
#define TUNES(T) \
  T(lr2, 8) T(dd, 20) T(dm, 40) T(hseen, 4) T(leanlimit, 30) T(ml, 12) T(ms, 5) T(w0, 12000) T(w1, 6000) T(w2, 16000) \
  T(lr, 48) T(lr0, 192) T(lrT, 2000) T(ar, 6) T(slots, 3) T(cl, 15) T(clm, 4) T(mlimit, 255) T(prd, 1) T(aw, 1) T(st,0) T(pdecay,4) T(pth,20) T(tsh,4) T(tth,32768)
struct Tuning {
#define T(n, d) int n = tune(#n, d);
  TUNES(T)
#undef T
};
inline const Tuning tuning;
#define TUNE(n, d) (tuning.n)
}
