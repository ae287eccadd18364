#pragma once
#include <cstdlib>
#include <string>
namespace laconic {
inline int tune(const char* name, int def) { const char* v = std::getenv(name); return v ? std::atoi(v) : def; }
#define TUNES(T) \
  T(lr2, 8) T(dd, 20) T(dm, 40) T(hseen, 4) T(leanlimit, 30) T(ml, 12) T(ms, 5) T(w0, 10000) T(w1, 4000) T(w2, 12000) \
  T(lr, 48) T(lr0, 192) T(lrT, 2000) T(ar, 6) T(slots, 1) T(cl, 11) T(clm, 6) T(mlimit, 255) T(prd, 1) T(aw, 1) T(st,0) T(nolean,0) T(w3,0) T(ws,16) T(pdecay,4) T(pth,20) T(tsh,4) T(tth,32768)
struct Tuning {
#define T(n, d) int n = tune(#n, d);
  TUNES(T)
#undef T
};
inline const Tuning tuning;
#define TUNE(n, d) (tuning.n)
}
