// A command line of `--name value` pairs.
#pragma once

#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "errors.hpp"

namespace runner {

class Arguments {
   public:
    // All names are known from the start: a mistyped one is refused, not passed over.
    Arguments(int count, char **words, const std::set<std::string> &known) {
        for (int i = 1; i < count; i += 2) {
            const std::string name = words[i];
            if (!known.count(name)) throw Failure(usage, name + ": no such option; see --help");
            if (i + 1 == count) throw Failure(usage, name + ": expected a value after it");
            if (!given_.emplace(name, words[i + 1]).second) throw Failure(usage, name + ": given twice");
        }
    }

    std::string text(const std::string &name, const std::string &fallback) const {
        const auto found = given_.find(name);
        return found == given_.end() ? fallback : found->second;
    }

    std::string text(const std::string &name) const {
        if (!given_.count(name)) throw Failure(usage, name + ": missing; see --help");
        return given_.at(name);
    }

    std::string one_of(const std::string &name,
                       const std::vector<std::string> &choices) const {  // the first if not given
        const std::string value = text(name, choices[0]);
        std::string all;
        for (const std::string &choice : choices) {
            if (value == choice) return value;
            all += (all.empty() ? "" : ", ") + choice;
        }
        throw Failure(usage, name + ": expected one of " + all + ", found '" + value + "'");
    }

    long whole(const std::string &name, long fallback, long low, long high) const {
        const std::string value = text(name, std::to_string(fallback));
        return whole_of(name, value, low, high);
    }

    double real(const std::string &name, double fallback) const {
        if (!given_.count(name)) return fallback;
        const std::string &value = given_.at(name);
        char *end = nullptr;
        const double number = std::strtod(value.c_str(), &end);
        if (value.empty() || *end || !(number > -1e30 && number < 1e30))
            throw Failure(usage, name + ": expected a number, found '" + value + "'");
        return number;
    }

    struct Size {
        int height, width;
    };

    Size size(const std::string &name) const {
        const std::string value = text(name);
        const size_t cross = value.find('x');
        if (cross == std::string::npos) throw Failure(usage, name + ": expected HEIGHTxWIDTH, found '" + value + "'");
        const long height = whole_of(name, value.substr(0, cross), 1, max_side);
        return {int(height), int(whole_of(name, value.substr(cross + 1), 1, max_side))};
    }

   private:
    static constexpr long max_side = 8192;  // pixels; a frame is 256 or 512
    std::map<std::string, std::string> given_;

    static long whole_of(const std::string &name, const std::string &value, long low, long high) {
        char *end = nullptr;
        errno = 0;
        const long number = std::strtol(value.c_str(), &end, 10);
        if (value.empty() || *end || errno || number < low || number > high)
            throw Failure(usage, name + ": expected a whole number from " + std::to_string(low) + " to " +
                                     std::to_string(high) + ", found '" + value + "'");
        return number;
    }
};

// The words of a list with commas.
inline std::vector<std::string> words_of(const std::string &list) {
    std::vector<std::string> words;
    for (size_t start = 0; start <= list.size();) {
        const size_t end = std::min(list.find(',', start), list.size());
        words.push_back(list.substr(start, end - start));
        start = end + 1;
    }
    return words;
}

}  // namespace runner
