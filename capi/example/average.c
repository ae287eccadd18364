/* Peers that share a vector and average what each adds to it, until the vector has been changed ROUNDS times:
 *
 *   laconic master &
 *   ./average tcp://127.0.0.1 2 20 & ./average tcp://127.0.0.1 2 20
 *
 * More may be started, and any may be killed, while it runs. */
#include <laconic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NUMBERS = 1000 };

static void check(laconic_result result, const char* what) {
  if (result == LACONIC_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, laconic_result_name(result), laconic_last_error());
  exit(1);
}

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: %s tcp://MASTER LEAST_PEERS ROUNDS\n", argv[0]);
    return 2;
  }
  const int least = atoi(argv[2]), rounds = atoi(argv[3]);

  laconic_peer_options options;
  laconic_peer_options_init(&options);
  options.master = argv[1];
  options.settings = "average 1";
  laconic_peer* peer = NULL;
  check(laconic_peer_create(&options, &peer), "create");
  check(laconic_peer_join(peer), "join");

  /* What all peers hold alike. */
  float shared[NUMBERS] = {0};
  uint64_t round = 0, revision = 0;
  laconic_entry state[2] = {{"vector", LACONIC_F32, shared, NUMBERS, 0},
                            {"round", LACONIC_U64, &round, 1, 0}};
  int synchronised = 0;

  while (round < (uint64_t)rounds) {
    /* All peers do the same in the same order: newcomers, and those who let them in, begin with the state. */
    if (!synchronised) {
      const laconic_result result =
          laconic_synchronise(peer, state, 2, LACONIC_ENFORCE_POPULAR, &revision, NULL);
      if (result == LACONIC_ABORTED) continue;
      check(result, "synchronise");
      synchronised = 1;
    }
    int pending = 0;
    check(laconic_peer_newcomers_pending(peer, &pending), "question");
    if (pending) {
      check(laconic_peer_update_topology(peer), "update");
      synchronised = 0;
      continue;
    }
    if (laconic_peer_group_size(peer) < least && round == 0) {
      usleep(10000);
      continue;
    }

    float own[NUMBERS];
    for (int i = 0; i < NUMBERS; ++i) own[i] = (float)(rand() % 100);
    laconic_reduce reduce;
    laconic_reduce_init(&reduce);
    reduce.op = LACONIC_AVG;
    reduce.source = reduce.destination = own;
    reduce.count = NUMBERS;
    laconic_reduce_report report;
    const laconic_result result = laconic_all_reduce(peer, &reduce, &report);
    if (result == LACONIC_ABORTED) continue; /* somebody died: once more, among those who are left */
    if (result == LACONIC_TOO_FEW_PEERS) {   /* alone: wait for company */
      usleep(10000);
      continue;
    }
    check(result, "all-reduce");
    for (int i = 0; i < NUMBERS; ++i) shared[i] += own[i];
    ++round;
  }
  /* Every peer gets here after the same round; the sum says that they hold the same vector. */
  double sum = 0;
  for (int i = 0; i < NUMBERS; ++i) sum += shared[i] * (i + 1);
  printf("%.17g\n", sum);
  laconic_peer_complete(peer);
  laconic_peer_destroy(peer);
  return 0;
}
