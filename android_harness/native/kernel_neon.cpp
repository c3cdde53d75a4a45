// sampler.hpp with NEON, on processors that have it.
#include "header_kernel.hpp"

std::unique_ptr<runner::Kernel> runner::neon_kernel(const Settings &settings, const float *texture) {
    return BILAYER_NEON ? std::make_unique<HeaderKernel>(settings, texture) : nullptr;
}
