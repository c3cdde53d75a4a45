// Clocks and temperatures while something runs, noted by a thread of its own.
#pragma once

#include <dirent.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cores.hpp"
#include "json.hpp"

namespace runner {

struct Moment {
    double ms;                                   // since the beginning
    double celsius;                              // of the hottest sensor at CPU, SoC and skin; NaN where there is none
    std::vector<double> cpu_mhz, cpu_limit_mhz;  // of the cores, in their order: now, and what they may run at
};

// From its making to `stop`. The thread is made before anything is pinned, so that it is not kept on the measured cores.
class ConditionLog {
   public:
    ConditionLog(const std::string &sysfs, const std::vector<Core> &cores, int every_ms)
        : sysfs_(sysfs), cores_(cores), sensors_(find_sensors(sysfs)), every_(every_ms), thread_([this] { watch(); }) {}
    ~ConditionLog() { stop(); }
    ConditionLog(const ConditionLog &) = delete;
    ConditionLog &operator=(const ConditionLog &) = delete;

    void stop() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            over_ = true;
        }
        wake_.notify_one();
        if (thread_.joinable()) thread_.join();
    }

    void put_into(Json &json) const {  // after `stop`
        json.open_list("log");
        for (const Moment &moment : moments_) {
            json.open().number("ms", moment.ms).number("celsius", moment.celsius);
            json.open_list("cpu_mhz");
            for (const double mhz : moment.cpu_mhz) json.number(nullptr, mhz);
            json.close().open_list("cpu_limit_mhz");
            for (const double mhz : moment.cpu_limit_mhz) json.number(nullptr, mhz);
            json.close().close();
        }
        json.close();
    }

   private:
    static constexpr size_t most_ = 2000, most_sensors_ = 12;  // a phone has up to a hundred, some of them slow to read
    const std::string sysfs_;
    const std::vector<Core> cores_;
    const std::vector<std::string> sensors_;
    const std::chrono::milliseconds every_;
    std::vector<Moment> moments_;
    std::mutex mutex_;
    std::condition_variable wake_;
    bool over_ = false;
    std::thread thread_;  // last, for it uses all the others

    static std::vector<std::string> find_sensors(const std::string &sysfs) {
        std::vector<std::string> found;
        const std::string folder = sysfs + "/class/thermal";
        DIR *directory = opendir(folder.c_str());
        if (!directory) return found;
        while (const dirent *entry = readdir(directory)) {
            const std::string place = folder + "/" + entry->d_name;
            std::string kind;
            if (!(std::ifstream(place + "/type") >> kind)) continue;
            std::transform(kind.begin(), kind.end(), kind.begin(), [](char c) { return char(c | 0x20); });
            for (const char *word : {"cpu", "soc", "skin"})
                if (kind.find(word) != std::string::npos) {
                    found.push_back(place + "/temp");
                    break;
                }
        }
        closedir(directory);
        std::sort(found.begin(), found.end());
        if (found.size() > most_sensors_) found.resize(most_sensors_);
        return found;
    }

    double clock(const Core &core, const char *name) const {
        double khz = NAN;
        const std::string folder = sysfs_ + "/devices/system/cpu/cpu" + std::to_string(core.number) + "/cpufreq/";
        return std::ifstream(folder + name) >> khz ? khz / 1000 : NAN;
    }

    Moment now(std::chrono::steady_clock::time_point begin) const {
        Moment moment{
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count(), NAN, {}, {}};
        for (const std::string &sensor : sensors_) {
            double value;
            if (!(std::ifstream(sensor) >> value)) continue;
            if (value >= 1000) value /= 1000;  // most give thousandths
            if (value > 1 && value < 150 && !(value <= moment.celsius)) moment.celsius = value;
        }
        for (const Core &core : cores_) {
            moment.cpu_mhz.push_back(clock(core, "scaling_cur_freq"));
            moment.cpu_limit_mhz.push_back(clock(core, "scaling_max_freq"));
        }
        return moment;
    }

    void watch() {
        const auto begin = std::chrono::steady_clock::now();
        bool over = false;
        while (!over && moments_.size() < most_) {
            moments_.push_back(now(begin));
            std::unique_lock<std::mutex> lock(mutex_);
            over = wake_.wait_for(lock, every_, [this] { return over_; });
        }
        if (over) moments_.push_back(now(begin));
    }
};

}  // namespace runner
