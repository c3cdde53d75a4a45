// The object file of `bilayer-sampler build`, made of the Python sampler's own code; BILAYER_NUMBA says it is linked.
#include "kernels.hpp"

#ifdef BILAYER_NUMBA
#include "bilayer_sampler.h"

namespace {

class NumbaKernel : public runner::Kernel {
   public:
    NumbaKernel(const runner::Settings &settings, const float *texture)
        : settings_(settings), packed_(BILAYER_PACKED_FLOATS(settings.texture_height, settings.texture_width)) {
        bilayer_pack_texture(texture, 3, settings.texture_height, settings.texture_width, packed_.data());
    }

    void compose(const runner::Planes &planes, uint8_t *rgba, int begin, int end) const override {
        const runner::Settings &s = settings_;
        if (s.result_height != s.height || s.result_width != s.width)
            bilayer_resized_frame(packed_.data(), s.texture_height, s.texture_width, planes.delta_uv, planes.lf_rgb,
                                  s.interleaved, planes.mask, s.mask_scale, s.mask_offset, s.result_height,
                                  s.result_width, nullptr, rgba, s.height, s.width, s.align_corners,
                                  s.premultiplied ? BILAYER_PREMULTIPLIED : BILAYER_STRAIGHT, s.nearest, begin, end);
        else
            bilayer_frame(packed_.data(), s.texture_height, s.texture_width, planes.delta_uv, planes.lf_rgb,
                          s.interleaved, planes.mask, s.mask_scale, s.mask_offset, nullptr, rgba, s.height, s.width,
                          s.align_corners, s.premultiplied ? BILAYER_PREMULTIPLIED : BILAYER_STRAIGHT, s.nearest, begin,
                          end);
    }

   private:
    const runner::Settings settings_;
    std::vector<float> packed_;
};

}  // namespace

std::unique_ptr<runner::Kernel> runner::numba_kernel(const Settings &settings, const float *texture) {
    return std::make_unique<NumbaKernel>(settings, texture);
}
#else
std::unique_ptr<runner::Kernel> runner::numba_kernel(const Settings &, const float *) { return nullptr; }
#endif
