// What a runner runs on, and whether its times mean anything: only those of a real ARM processor do.
#pragma once

#include <sys/utsname.h>

#include <fstream>
#include <string>
#include <vector>

#include "json.hpp"

namespace runner {

struct Machine {
    std::string architecture, kernel, cpu;
    std::vector<std::string> emulation;  // why times mean nothing; empty on a phone
};

namespace detail {

inline std::string first_with(const std::string &path, const std::vector<std::string> &words) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
        for (const std::string &word : words)
            if (line.find(word) != std::string::npos) return line;
    return "";
}

}  // namespace detail

// qemu shows its guest a false name of the processor and a false /proc/self/maps, but neither another /proc/cpuinfo nor
// the maps of a thread (qemu 7). In doubt it is an emulation.
inline Machine read_machine(const std::string &proc = "/proc") {
    Machine machine;
    utsname names{};
    if (uname(&names) == 0) machine.architecture = names.machine, machine.kernel = names.release;
    const std::string implementer = detail::first_with(proc + "/cpuinfo", {"CPU implementer"});
    machine.cpu = detail::first_with(proc + "/cpuinfo", {"Hardware", "model name", "CPU part"});
    const size_t colon = machine.cpu.find(':');
    if (colon != std::string::npos && colon + 2 <= machine.cpu.size()) machine.cpu = machine.cpu.substr(colon + 2);
#if !defined(__aarch64__)
    machine.emulation.push_back("built for another processor than 64-bit ARM");
#endif
    if (implementer.empty()) machine.emulation.push_back("/proc/cpuinfo is not that of an ARM processor");
    if (!detail::first_with(proc + "/thread-self/maps", {"/qemu-"}).empty() ||
        !detail::first_with(proc + "/self/smaps", {"/qemu-"}).empty() ||
        !detail::first_with(proc + "/self/status", {"Name:\tqemu-"}).empty())
        machine.emulation.push_back("run by qemu");
    for (const char *name : {"qemu-aarch64", "qemu-arm64"})
        if (std::ifstream(proc + "/sys/fs/binfmt_misc/" + name).good()) {
            machine.emulation.push_back("this system runs ARM programs by qemu");
            break;
        }
    return machine;
}

inline void put(Json &json, const Machine &machine) {
    json.open("machine")
        .text("architecture", machine.architecture)
        .text("kernel", machine.kernel)
        .text("cpu", machine.cpu);
    json.open_list("emulation");
    for (const std::string &why : machine.emulation) json.text(nullptr, why);
    json.close().close();
}

}  // namespace runner
