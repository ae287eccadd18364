// Builds with -fsanitize=thread: what the sanitizer cannot know of sockets whose two ends are in one process.
//
// It takes the kernel's reading of a buffer in sendmsg() for an access that ends after the call. A byte that
// another thread receives was copied before it came, so memory may be written again as soon as an answer to
// it has arrived: a ring all-reduce receives the final numbers of a chunk over the partial sums that it has
// sent, and those cannot be final before all of the partial sums have gone round. The sanitizer sees no order
// between the two and reports every such chunk.
//
// So the reads of send calls are not watched. Nothing else is left out; TSAN_OPTIONS=intercept_send=1 watches
// them again, and the tests of links (Bulk*) must be silent then too: there, who sends waits for SendProgress
// or calls end() before it frees what it has sent.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LACONIC_THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define LACONIC_THREAD_SANITIZER 1
#endif

#if defined(LACONIC_THREAD_SANITIZER)
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "intercept_send=0"; }
#endif
