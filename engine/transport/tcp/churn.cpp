#include "engine/transport/tcp/churn.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/child_process.h"
#include "engine/base/random.h"
#include "engine/base/scratch_folder.h"
#include "engine/transport/tcp/churn_member.h"
#include "engine/transport/tcp/master.h"

namespace laconic {
namespace {

struct ChurnLine {
  std::string lineage, hash;
  std::uint64_t step = 0;
  double time = 0;
  int process = 0, world = 0;
};

// A process is killed only as a whole, so only the last line may be incomplete.
std::vector<ChurnLine> read_churn_log(const std::filesystem::path& path) {
  std::vector<ChurnLine> lines;
  std::ifstream file(path);
  ChurnLine line;
  while (file >> line.lineage >> line.step >> line.hash >> line.time >> line.process >> line.world)
    lines.push_back(line);
  return lines;
}

std::size_t accepted_peers(const Master& master) {
  const control::Status status = master.status();
  return static_cast<std::size_t>(
      std::count_if(status.peers.begin(), status.peers.end(), [](const control::PeerStatus& peer) {
        return peer.phase != control::PeerPhase::registered && peer.phase != control::PeerPhase::connecting;
      }));
}

// A process whose end kills it.
class Member {
 public:
  Member(const std::vector<std::string>& words, std::size_t life)
      : process_(std::make_unique<ChildProcess>(words)), life_(life) {}
  Member(Member&&) = default;
  Member& operator=(Member&& other) {
    if (process_) process_->kill();
    process_ = std::move(other.process_);
    life_ = other.life_;
    return *this;
  }
  ~Member() {
    if (process_) process_->kill();
  }
  bool ended() const { return process_->ended(); }
  int id() const { return process_->id(); }
  std::size_t life() const { return life_; }

 private:
  std::unique_ptr<ChildProcess> process_;
  std::size_t life_;
};

// Of a member, by the machine's clock. Numbers of processes come again within minutes: a line is that of the
// last member that was born with its number before it.
struct Life {
  int process = 0;
  double born = 0, died = 0;
  bool killed = false;
  std::vector<double> lines;
};

class Churning {
 public:
  Churning(const ChurnPlan& plan, const ChurnCommand& command, const ProgressListener& progress)
      : plan_(plan), command_(command), progress_(progress), folder_("churn"), master_(master_options()) {}

  ChurnReport run() {
    disturb();
    const double stopped = machine_seconds();
    report_.aborted_operations = static_cast<std::size_t>(master_.status().aborted_operations);
    for (const Member& member : processes_) lives_[member.life()].died = stopped;
    processes_.clear();
    judge(read_churn_log(log()), stopped);
    return report_;
  }

 private:
  static MasterOptions master_options() {
    MasterOptions options;
    options.listen = {"127.0.0.1", 0};
    options.ping_interval = 1;
    return options;
  }
  std::filesystem::path log() const { return folder_.path() / "log"; }

  void disturb() {
    const RandomStream random(plan_.seed, "churn schedule", "", 0);
    const double begin = machine_seconds();
    for (std::uint64_t event = 0; machine_seconds() < begin + plan_.seconds; ++event) {
      forget_ended();
      const bool spawns = random.bits_at(3 * event) % 10 < 6;
      if ((spawns || processes_.size() < plan_.kill_from) && processes_.size() < plan_.most) {
        Life& life = lives_.emplace_back();
        life.born = machine_seconds();
        processes_.emplace_back(command_(master_.port(), log()), lives_.size() - 1);
        life.process = processes_.back().id();
        ++report_.spawned;
      } else if (accepted_peers(master_) >= plan_.kill_from) {
        const std::size_t victim = random.bits_at(3 * event + 1) % processes_.size();
        Life& life = lives_[processes_[victim].life()];
        life.died = machine_seconds();
        life.killed = true;
        processes_.erase(processes_.begin() + static_cast<std::ptrdiff_t>(victim));
        ++report_.killed;
      }
      const double until = machine_seconds() + plan_.shortest_pause +
                           (plan_.longest_pause - plan_.shortest_pause) * random.uniform_at(3 * event + 2);
      while (machine_seconds() < until) {
        throw_if_interrupted();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      if (progress_) {
        const double gone = machine_seconds() - begin;
        progress_({"churn", static_cast<std::int64_t>(gone), static_cast<std::int64_t>(plan_.seconds), gone});
      }
    }
  }

  void forget_ended() {
    for (std::size_t i = processes_.size(); i-- > 0;) {
      if (!processes_[i].ended()) continue;
      ++report_.ended_by_themselves;
      lives_[processes_[i].life()].died = machine_seconds();
      processes_.erase(processes_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  void judge(const std::vector<ChurnLine>& lines, double stopped) {
    std::map<std::pair<std::string, std::uint64_t>, std::string> hashes;
    std::set<std::string> lineages;
    double last = 0;
    for (const ChurnLine& line : lines) {
      const auto [known, fresh] = hashes.try_emplace({line.lineage, line.step}, line.hash);
      report_.disagreements += !fresh && known->second != line.hash ? 1 : 0;
      lineages.insert(line.lineage);
      const auto life = std::find_if(lives_.rbegin(), lives_.rend(), [&](const Life& one) {
        return one.process == line.process && one.born <= line.time;
      });
      if (life != lives_.rend()) life->lines.push_back(line.time);
      if (last > 0) report_.longest_silence = std::max(report_.longest_silence, line.time - last);
      last = std::max(last, line.time);
      report_.most_members = std::max(report_.most_members, static_cast<std::size_t>(line.world));
    }
    report_.longest_silence = std::max(report_.longest_silence, stopped - last);
    report_.steps = hashes.size();
    report_.lines = lines.size();
    report_.lineages = lineages.size();
    for (const Life& life : lives_) {
      double before = life.born, silence = 0;
      for (const double time : life.lines) {
        silence = std::max(silence, time - before);
        before = time;
      }
      report_.hung += std::max(silence, life.died - before) > plan_.silence ? 1 : 0;
    }
    for (const Life& death : lives_) {
      if (!death.killed || death.lines.empty()) continue;  // or it had not begun
      for (const Life& life : lives_) {
        const std::vector<double>& own = life.lines;
        if (own.empty() || own.front() >= death.died || life.died < death.died + 2) continue;
        // The first step after the death may have been done with the dead one; the second was not.
        auto next = std::upper_bound(own.begin(), own.end(), death.died);
        if (next != own.end()) ++next;
        const double back = next == own.end() ? life.died : *next;
        report_.slowest_recovery = std::max(report_.slowest_recovery, back - death.died);
        ++report_.recoveries;
      }
    }
  }

  const ChurnPlan& plan_;
  const ChurnCommand& command_;
  const ProgressListener& progress_;
  ScratchFolder folder_;
  Master master_;
  std::vector<Member> processes_;
  std::vector<Life> lives_;  // in the order of their births
  ChurnReport report_;
};

}  // namespace

ChurnReport measure_churn(const ChurnPlan& plan, const ChurnCommand& command,
                          const ProgressListener& progress) {
  return Churning(plan, command, progress).run();
}

}  // namespace laconic
