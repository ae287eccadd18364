#pragma once
#include <cstdlib>
#include <string>
namespace laconic {
inline int tune(const char* name, int def) { const char* v = std::getenv(name); return v ? std::atoi(v) : def; }
#define TUNES(T) \
  T(lr2, 5) T(dd, 30) T(dm, 40) T(hseen, 10) T(leanlimit, 30) T(ml, 12) T(ms, 5) T(w0, 8000) T(w1, 0) T(w2, 9000) \
  T(lr, 32) T(lr0, 110) T(lrT, 1500) T(ar, 5) T(slots, 0) T(cl, 11) T(clm, 6) T(mlimit, 255) T(prd, 1) T(aw, 1) T(st,0) T(nolean,0) T(w3,0) T(ws,0) T(nos,0) T(noc,0) T(m2,0) T(inh,0) T(rr,1) T(lr1,120) T(lrU,100) T(ax,2) T(a0,1) T(a1,1) T(a2,2) T(t0,19) T(t1,25) T(t2,18) T(t3,0) T(n0,8) T(n1,25) T(n2,3) T(n3,0) T(s3,3) T(s5,1) T(s6,3) T(ch,2) T(pdecay,6) T(pth,12) T(tsh,5) T(tth,45000)
struct Tuning {
#define T(n, d) int n = tune(#n, d);
  TUNES(T)
#undef T
};
inline const Tuning tuning;
#define TUNE(n, d) (tuning.n)
}
