// sampler.hpp without NEON, as the compiler makes it.
#define BILAYER_PORTABLE
#include "header_kernel.hpp"

std::unique_ptr<runner::Kernel> runner::portable_kernel(const Settings &settings, const float *texture) {
    return std::make_unique<HeaderKernel>(settings, texture);
}
