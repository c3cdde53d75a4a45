// The settings of the frame shader (runtime/sampler/shaders/frame.wgsl tells them), as its uniform has them in memory.
#pragma once

#include <cstdint>

#include "sampler.hpp"

namespace bilayer {

// Where an output's values lie in its tensor: numbers, not bytes; and what they are times and plus.
struct Place {
    uint32_t start = 0, channel = 0, pixel = 1;  // the first one; from channel to channel; from pixel to pixel
    float scale = 1, offset = 0;
};

// What a network gives for a frame, whose results are height x width.
struct OutputPlaces {
    Place delta_uv, lf_rgb, seg;
    bool masked;
    int height, width;
};

struct FrameSettings {
    uint32_t frame[2], fields[2];
    float scale[2], step[2], origin, rounding;
    uint32_t alpha, masked, places[3][4];
    float affine[3][2], last[2], background[4];

    // Of a texture of texture_height x texture_width, without its border.
    FrameSettings(const OutputPlaces &outputs, int frame_height, int frame_width, int texture_height, int texture_width,
                  bool align_corners, Alpha mode, Rounding nearest)
        : frame{uint32_t(frame_width), uint32_t(frame_height)},
          fields{uint32_t(outputs.width), uint32_t(outputs.height)},
          origin(align_corners ? 1.0f : 0.5f),
          rounding(nearest == Rounding::nearest ? 0.5f : 0.0f),
          alpha(mode == Alpha::premultiplied),
          masked(outputs.masked),
          last{float(texture_width + 1), float(texture_height + 1)},
          background{} {
        const float extent[2] = {float(texture_width - align_corners), float(texture_height - align_corners)};
        for (int axis = 0; axis < 2; ++axis)
            scale[axis] = extent[axis] * 0.5f, step[axis] = extent[axis] / float(frame[axis]);
        const Place *given[3] = {&outputs.delta_uv, &outputs.lf_rgb, &outputs.seg};
        for (int i = 0; i < 3; ++i) {
            places[i][0] = given[i]->start, places[i][1] = given[i]->channel, places[i][2] = given[i]->pixel;
            places[i][3] = 0;
            affine[i][0] = given[i]->scale, affine[i][1] = given[i]->offset;
        }
    }
};
static_assert(sizeof(FrameSettings) == 144, "the shader's layout");

}  // namespace bilayer
