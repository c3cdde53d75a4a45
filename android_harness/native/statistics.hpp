// What is told of many frames' durations.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "json.hpp"

namespace runner {

struct Statistics {
    double min, median, p90, p99, max, mean;  // in the unit of the values
};

// Percentiles are values that occurred: the smallest that at least so many per cent do not exceed. The median of an even
// number lies between the two in the middle. There must be at least one value.
inline Statistics statistics(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const size_t count = values.size();
    const auto rank = [&](double share) { return values[size_t(std::ceil(share * double(count))) - 1]; };
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / double(count);
    const double median = (values[(count - 1) / 2] + values[count / 2]) / 2;
    return {values.front(), median, rank(0.90), rank(0.99), values.back(), mean};
}

inline void put(Json &json, const char *key, const Statistics &of) {
    json.open(key).number("min", of.min).number("median", of.median).number("p90", of.p90).number("p99", of.p99);
    json.number("max", of.max).number("mean", of.mean).close();
}

}  // namespace runner
