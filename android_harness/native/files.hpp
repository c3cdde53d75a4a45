// Raw files: arrays of little-endian float32 in, whole files out, which appear in their place only when complete.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "errors.hpp"

namespace runner {

using File = std::unique_ptr<FILE, int (*)(FILE *)>;

inline File open_file(const std::string &path, const char *mode) {
    return File(std::fopen(path.c_str(), mode), [](FILE *file) { return std::fclose(file); });
}

// All floats of a file that holds one or more arrays of `each` floats.
inline std::vector<float> read_floats(const std::string &path, size_t each, const std::string &what) {
    const long long longest = 1LL << 31;
    File file = open_file(path, "rb");
    if (!file) throw Failure(bad_input, path + ": cannot be read: " + reason());
    const bool sought = std::fseek(file.get(), 0, SEEK_END) == 0;
    const long long bytes = sought ? std::ftell(file.get()) : -1;
    if (bytes < 0 || bytes > longest) throw Failure(bad_input, path + ": no file of at most 2 GB");
    const long long one = static_cast<long long>(each) * 4;
    if (bytes == 0 || bytes % one)
        throw Failure(bad_input, path + ": expected " + std::to_string(one) + " bytes for each " + what + ", found " +
                                     std::to_string(bytes) + " in all");
    std::vector<float> values(static_cast<size_t>(bytes) / 4);
    std::rewind(file.get());
    if (std::fread(values.data(), 4, values.size(), file.get()) != values.size())
        throw Failure(bad_input, path + ": cannot be read: " + reason());
    return values;
}

inline void write_bytes(const std::string &path, const void *content, size_t bytes) {
    const std::string part = path + ".part";
    FILE *file = std::fopen(part.c_str(), "wb");
    if (!file) throw Failure(bad_input, path + ": cannot be written: " + reason());
    const bool written = std::fwrite(content, 1, bytes, file) == bytes;
    if (std::fclose(file) != 0 || !written || std::rename(part.c_str(), path.c_str()) != 0) {
        const std::string why = reason();
        std::remove(part.c_str());
        throw Failure(bad_input, path + ": cannot be written: " + why);
    }
}

// FNV-1a, to see without a copy whether two runs gave the same bytes.
inline std::string checksum(const std::vector<uint8_t> &bytes) {
    uint64_t hash = 14695981039346656037u;
    for (const uint8_t byte : bytes) hash = (hash ^ byte) * 1099511628211u;
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
    return text;
}

}  // namespace runner
