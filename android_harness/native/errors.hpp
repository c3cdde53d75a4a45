// How a runner ends when it cannot do what it was asked: one line on stderr, and the exit codes of the Python commands.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace runner {

enum Code { usage = 2, bad_input = 3, missing = 5 };

class Failure : public std::runtime_error {
   public:
    const Code code;
    Failure(Code ending, const std::string &line) : std::runtime_error(line), code(ending) {}
};

// The last system call's reason.
inline std::string reason() { return std::strerror(errno); }

// The whole of a main function: `work` says what went wrong by throwing.
template <class Work>
int ending(Work work) {
    try {
        work();
        return 0;
    } catch (const Failure &failure) {
        std::fprintf(stderr, "error: %s\n", failure.what());
        return failure.code;
    } catch (const std::bad_alloc &) {
        std::fprintf(stderr, "error: not enough memory for pictures of this size\n");
        return bad_input;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return bad_input;
    }
}

}  // namespace runner
