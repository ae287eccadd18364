/* Fault-tolerant collectives of Laconic for programs in C and whatever calls C: peers that join a run through
 * a master, average numbers with the same bits everywhere, share a state, and survive the death of any of
 * them. What the calls mean is in docs/collectives.md.
 *
 * Every function that returns a laconic_result leaves a text about what went wrong, for the calling thread,
 * in laconic_last_error(). Handles may be used from several threads; a handle must not be destroyed while a
 * call on it runs. Structures begin with their size, which the *_init functions set: a program that was built
 * with an older header goes on working. */
#ifndef LACONIC_H
#define LACONIC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum laconic_result {
  LACONIC_OK = 0,
  LACONIC_ABORTED = 1,            /* failed at all members; try again */
  LACONIC_TOO_FEW_PEERS = 2,      /* nobody else is in the group */
  LACONIC_PENDING_OPERATIONS = 3, /* not while collectives run */
  LACONIC_TAG_RUNNING = 4,        /* an operation of this tag runs */
  LACONIC_BUSY = 5,               /* another call that excludes this one */
  LACONIC_NOT_CONNECTED = 6,      /* laconic_peer_join has not returned yet */
  LACONIC_ENDED = 7,              /* refused, kicked, or no master is left */
  LACONIC_USAGE = 8,              /* the call makes no sense */
  LACONIC_INPUT = 9,              /* the data cannot be used, for instance NaN where it is quantised */
  LACONIC_UNSUPPORTED = 10,
  LACONIC_CORRUPT = 11, /* what arrived is not what was agreed on */
  LACONIC_IO = 12,
  LACONIC_INTERRUPTED = 13,
  LACONIC_INTERNAL = 14
} laconic_result;

const char* laconic_result_name(laconic_result result);
/* Of the last call of this thread that failed; never null. */
const char* laconic_last_error(void);

/* ---- a master */
typedef struct laconic_master laconic_master;
typedef struct laconic_master_options {
  size_t struct_size;
  const char* bind_address; /* null: 127.0.0.1; "": all addresses */
  uint16_t port;            /* or the next free one; 0: any */
  const char* key_file;     /* null: no key */
  int tls, unauthenticated;
  double stall_notice, stall_limit; /* seconds; 0: never */
} laconic_master_options;
void laconic_master_options_init(laconic_master_options* options);
laconic_result laconic_master_create(const laconic_master_options* options, laconic_master** master);
uint16_t laconic_master_port(const laconic_master* master);
void laconic_master_destroy(laconic_master* master); /* null: nothing */

/* ---- a peer */
typedef struct laconic_peer laconic_peer;
typedef struct laconic_peer_options {
  size_t struct_size;
  const char* master;       /* "tcp://ADDRESS[:PORT][,STANDBY..]" */
  const char* bind_address; /* null: 127.0.0.1 beside a master on it, else all addresses */
  const char* key_file;
  int tls, unauthenticated;
  uint32_t group;
  const char* settings;                             /* a text that all peers of the run share; null: "" */
  int pool_size;                                    /* connections to each neighbour, 1 to 64 */
  int stripes;                                      /* of them for one operation */
  int all_pairs;                                    /* connections to everybody, for LACONIC_DIRECT */
  void (*message)(const char* text, void* context); /* what a user should see; any thread; may be null */
  void* message_context;
} laconic_peer_options;
void laconic_peer_options_init(laconic_peer_options* options);
laconic_result laconic_peer_create(const laconic_peer_options* options, laconic_peer** peer);
void laconic_peer_destroy(laconic_peer* peer); /* leaves the run */

/* Waits until the others let newcomers in. */
laconic_result laconic_peer_join(laconic_peer* peer);
int laconic_peer_group_size(const laconic_peer* peer);
int laconic_peer_world_size(const laconic_peer* peer); /* of all groups */
/* All accepted peers call these, and get the same answer. */
laconic_result laconic_peer_newcomers_pending(laconic_peer* peer, int* pending);
laconic_result laconic_peer_update_topology(laconic_peer* peer);
laconic_result laconic_peer_optimize_topology(laconic_peer* peer);
/* The run is complete: late newcomers are refused. */
laconic_result laconic_peer_complete(laconic_peer* peer);

/* ---- all-reduce */
/* Choices travel as integers, since a caller may pass any: those that are not named here are refused. */
typedef int32_t laconic_type;
enum {
  LACONIC_U8,
  LACONIC_U16,
  LACONIC_U32,
  LACONIC_U64,
  LACONIC_I8,
  LACONIC_I16,
  LACONIC_I32,
  LACONIC_I64,
  LACONIC_F16,
  LACONIC_BF16,
  LACONIC_F32,
  LACONIC_F64
};
typedef int32_t laconic_op;
enum { LACONIC_SUM, LACONIC_AVG, LACONIC_PROD, LACONIC_MAX, LACONIC_MIN };
typedef int32_t laconic_quantization;
enum { LACONIC_EXACT, LACONIC_MIN_MAX, LACONIC_ZERO_POINT };
typedef int32_t laconic_algorithm;
enum { LACONIC_RING, LACONIC_DIRECT };

typedef struct laconic_reduce {
  size_t struct_size;
  laconic_type type;
  laconic_op op;
  const void* source;
  void* destination; /* the source itself, or memory that does not overlap it */
  size_t count;      /* numbers */
  uint64_t tag;      /* one operation of a tag at a time */
  laconic_quantization quantization;
  int quantized_bits; /* 8 or 16 */
  laconic_algorithm algorithm;
} laconic_reduce;
void laconic_reduce_init(laconic_reduce* reduce); /* the sum of f32, exact, by the ring */

typedef struct laconic_reduce_report {
  int world; /* peers that the result is of; 0: not done */
  uint64_t sent_bytes, received_bytes;
  double seconds;
} laconic_reduce_report;

/* The report may be null. After LACONIC_ABORTED the ring has been rewired, an in-place source is as it was,
 * another destination is unspecified. */
laconic_result laconic_all_reduce(laconic_peer* peer, const laconic_reduce* reduce,
                                  laconic_reduce_report* report);
typedef struct laconic_operation laconic_operation;
laconic_result laconic_all_reduce_start(laconic_peer* peer, const laconic_reduce* reduce,
                                        laconic_operation** operation);
/* Waits and destroys the operation, whatever the result. */
laconic_result laconic_operation_wait(laconic_operation* operation, laconic_reduce_report* report);
/* Tries what fails again among the survivors. `reports` has one entry for each; LACONIC_TOO_FEW_PEERS when
 * nobody else is left: those with world 0 are not done. */
laconic_result laconic_all_reduce_many(laconic_peer* peer, const laconic_reduce* reduces, size_t count,
                                       int in_flight, laconic_reduce_report* reports);

/* ---- a shared state */
typedef int32_t laconic_strategy;
enum { LACONIC_ENFORCE_POPULAR, LACONIC_RECEIVE_ONLY, LACONIC_SEND_ONLY };
typedef struct laconic_entry {
  const char* key;
  laconic_type type;
  void* data;
  size_t count;
  int allow_inequality; /* never compared, never moved */
} laconic_entry;
typedef struct laconic_sync_report {
  size_t received_keys;
  uint64_t sent_bytes, received_bytes;
} laconic_sync_report;
/* All members of the group. `revision`: 0 at first, then what the last call left there. */
laconic_result laconic_synchronise(laconic_peer* peer, laconic_entry* entries, size_t count,
                                   laconic_strategy strategy, uint64_t* revision,
                                   laconic_sync_report* report);

#ifdef __cplusplus
}
#endif
#endif
