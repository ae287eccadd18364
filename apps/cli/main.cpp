#include "apps/cli/cli.h"

int main(int argc, char** argv) {
  using namespace laconic::cli;
  return run({list_verb(),
              info_verb(),
              compress_verb(),
              decompress_verb(),
              inspect_verb(),
              diff_verb(),
              eval_verb(),
              generate_verb(),
              train_verb(),
              kv_train_verb(),
              kv_save_verb(),
              kv_load_verb(),
              kv_inspect_verb(),
              kv_serve_verb(),
              kv_fetch_verb(),
              logs_compress_verb(),
              logs_decompress_verb(),
              logs_cat_verb(),
              logs_grep_verb(),
              logs_templates_verb(),
              logs_stats_verb(),
              logs_verify_verb(),
              logs_bench_verb(),
              master_verb(),
              peer_bench_verb(),
              reproduce_verb(),
              bench_verb(),
              demo_verb()},
             argc, argv);
}
