// sampler.hpp as a Kernel: included once for each of its variants.
#pragma once

#include "kernels.hpp"
#include "sampler.hpp"

namespace {

class HeaderKernel : public runner::Kernel {
   public:
    HeaderKernel(const runner::Settings &settings, const float *texture)
        : settings_(settings),
          texture_(bilayer::pack_texture(texture, 3, settings.texture_height, settings.texture_width)) {}

    void compose(const runner::Planes &planes, uint8_t *rgba, int begin, int end) const override {
        const runner::Settings &s = settings_;
        const bilayer::Layout layout = s.interleaved ? bilayer::Layout::interleaved : bilayer::Layout::planar;
        const bilayer::FrameInputs inputs{planes.delta_uv, planes.lf_rgb, layout,          planes.mask,   s.mask_scale,
                                          s.mask_offset,   nullptr,       s.result_height, s.result_width};
        bilayer::compose(texture_, inputs, rgba, s.height, s.width, s.align_corners,
                         s.premultiplied ? bilayer::Alpha::premultiplied : bilayer::Alpha::straight,
                         s.nearest ? bilayer::Rounding::nearest : bilayer::Rounding::truncate, {begin, end});
    }

   private:
    const runner::Settings settings_;
    const bilayer::PackedTexture texture_;
};

}  // namespace
