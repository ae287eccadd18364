// laconic train: the verb and its options.
#include "apps/cli/train.h"

#include <algorithm>

namespace laconic::cli {

Verb train_verb() {
  std::vector<OptionSpec> options = task_options();
  // Options of both forms are listed once, with the words of the first.
  for (OptionSpec& option : language_model_options()) {
    const auto same = [&](const OptionSpec& other) { return other.name == option.name; };
    if (std::any_of(options.begin(), options.end(), same)) continue;
    option.help = "without TASK: " + option.help;
    options.push_back(std::move(option));
  }
  return {
      "train", "Train with compressed exchange of gradients, or a small language model",
      "  laconic train a9a --exchange ef21 --workers 4 --steps 500\n"
      "  laconic train mnist --model cnn --exchange dgc -p ratio=0.001 --workers 4 --json run.jsonl\n"
      "  laconic train tinyshakespeare --model lm --exchange auto --launcher mpi --workers 4\n"
      "  mpirun -n 16 laconic train cifar10 --model resnet20 --exchange powersgd -p rank=4\n"
      "  laconic train mnist --exchange dgc --transport tcp://10.0.0.1 --key-file run.key\n"
      "  laconic train mnist --exchange 'ef:outliers(fraction=0.01)' --checkpoint run --checkpoint-every "
      "100\n"
      "  laconic train mnist --exchange 'ef:outliers(fraction=0.01)' --resume run\n"
      "  laconic train -o ./stories --steps 3000 --seed 1\n"
      "TASK is a data set (laconic train --help lists the models it goes with when one is wrong) or a file\n"
      "of your own. Networks need the LibTorch plug-in, ranks over MPI theirs; convex models on threads "
      "need\n"
      "neither. Without TASK, a language model is trained into the directory -o names; the same command\n"
      "continues an interrupted run. Results repeat exactly for the same seed, options, number of workers "
      "and\n"
      "kind of processor.\n",
      std::move(options), [](const Arguments& arguments, const Session& session) {
        return arguments.has("task") ? train_task(arguments, session)
                                     : train_language_model(arguments, session);
      }};
}

}  // namespace laconic::cli
