// The samplers that a runner can time, each behind the same call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace runner {

struct Settings {
    int texture_height, texture_width, height, width;
    int result_height, result_width;  // of delta_uv, lf_rgb and mask
    bool interleaved, align_corners, premultiplied, nearest;
    float mask_scale, mask_offset;
};

struct Planes {
    const float *delta_uv, *lf_rgb;  // (2, h, w) and (3, h, w), or (h, w, 2) and (h, w, 3) if interleaved
    const float *mask;               // (h, w), or null; h and w are result_height and result_width
};

class Kernel {
   public:
    virtual ~Kernel() = default;
    // Rows `begin` to `end` of a frame (h, w, 4).
    virtual void compose(const Planes &planes, uint8_t *rgba, int begin, int end) const = 0;
};

// The texture is (3, H, W). Null where the program has no such kernel.
using MakeKernel = std::unique_ptr<Kernel>(const Settings &settings, const float *texture);
MakeKernel portable_kernel, neon_kernel, numba_kernel;

struct NamedKernel {
    const char *name;
    MakeKernel *make;
};

inline const std::vector<NamedKernel> &all_kernels() {
    static const std::vector<NamedKernel> kernels = {
        {"portable", portable_kernel}, {"neon", neon_kernel}, {"numba", numba_kernel}};
    return kernels;
}

}  // namespace runner
