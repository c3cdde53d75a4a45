// Which cores are big and which are little, and threads that stay on them.
#pragma once

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "errors.hpp"

namespace runner {

struct Core {
    int number;
    long max_khz;      // 0 where the system does not tell
    std::string kind;  // little, big, prime; empty where it cannot be told
};

// The cores that `sysfs` (/sys) has a clock of. Those of the lowest top clock are little; of the others those of the
// highest are prime if there are three clocks or more, else big. Cores of one kind are all big.
inline std::vector<Core> read_cores(const std::string &sysfs) {
    const int most = 64;
    std::vector<Core> cores;
    std::vector<long> clocks;
    for (int number = 0; number < most; ++number) {
        const std::string folder = sysfs + "/devices/system/cpu/cpu" + std::to_string(number);
        long khz = 0;
        if (!(std::ifstream(folder + "/cpufreq/cpuinfo_max_freq") >> khz) || khz <= 0) continue;
        cores.push_back({number, khz, "big"});
        clocks.push_back(khz);
    }
    std::sort(clocks.begin(), clocks.end());
    clocks.erase(std::unique(clocks.begin(), clocks.end()), clocks.end());
    for (Core &core : cores) {
        if (clocks.size() > 1 && core.max_khz == clocks.front()) core.kind = "little";
        if (clocks.size() > 2 && core.max_khz == clocks.back()) core.kind = "prime";
    }
    return cores;
}

// Cores for so many threads: none for "any", which pins nothing; those of a kind; or those of a list such as 4,5.
inline std::vector<int> choose_cores(const std::vector<Core> &cores, const std::string &wanted, int threads) {
    std::vector<int> chosen;
    if (wanted == "any") return chosen;
    if (wanted == "little" || wanted == "big" || wanted == "prime") {
        for (const Core &core : cores)
            if (core.kind == wanted) chosen.push_back(core.number);
        if (chosen.empty())
            throw Failure(bad_input, "--cores " + wanted +
                                         ": the device has none, or does not tell its cores' clocks; " +
                                         "use any, or numbers such as 4,5");
    } else {
        for (const std::string &word : words_of(wanted)) {
            if (word.empty() || word.size() > 4 || word.find_first_not_of("0123456789") != std::string::npos)
                throw Failure(
                    usage, "--cores: expected any, little, big, prime or numbers such as 4,5, found '" + wanted + "'");
            chosen.push_back(std::stoi(word));
        }
    }
    if (chosen.size() < size_t(threads))
        throw Failure(bad_input, "--cores " + wanted + ": " + std::to_string(chosen.size()) + " of them, for " +
                                     std::to_string(threads) + " threads; use fewer --threads");
    chosen.resize(size_t(threads));
    return chosen;
}

// Keep the calling thread on one core.
inline void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (core < CPU_SETSIZE) CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        throw Failure(bad_input, "core " + std::to_string(core) + ": threads cannot be put there: " + reason());
}

}  // namespace runner
