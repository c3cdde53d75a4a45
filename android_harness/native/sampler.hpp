// The bi-layer texture sampler in portable C++17, with NEON on 64-bit ARM: the readable twin of the Python package's
// Numba kernels (runtime/sampler/numba_kernels.py), and like them the phone's stand-in for the grid_sample that SNPE lacks.
//
// Header only, no allocation but in pack_texture, nothing checked: pointers and sizes must be right, the values in the
// arrays may be anything, NaN and infinities included. Threads may share a picture by rows.
//
// Compiled with -ffp-contract=off it gives the kernels' bits; without, the last bit may differ (GCC and Clang fuse a
// multiplication and an addition where the processor can).
//
// Layouts: planar (C, h, w), as torch and ONNX have it; interleaved (h, w, C), as SNPE's outputs are. Coordinates run from
// -1 to 1, x right and y down: between the texture's outer edges, or with align_corners between the centres of its
// outer texels. Outside is zero.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

// BILAYER_PORTABLE leaves NEON out. The names of the two variants differ, so that one program may hold both.
#if !defined(BILAYER_PORTABLE) && defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
#define BILAYER_NEON 1
#define BILAYER_VARIANT neon
#else
#define BILAYER_NEON 0
#define BILAYER_VARIANT portable
#endif

namespace bilayer {
inline namespace BILAYER_VARIANT {

enum class Layout { planar, interleaved };
enum class Alpha { straight, premultiplied };  // colours whole, or times the mask as Android's Bitmap wants them
enum class Rounding { truncate, nearest };     // of colours; truncate as published

// A texture with a border of zeros and four channels a texel, so that no tap needs a branch.
struct PackedTexture {
    int height, width;          // of the texture itself
    std::vector<float> texels;  // (height + 3, width + 3, 4); texel (y, x) lies at (y + 1, x + 1)
};

struct Rows {
    int begin, end;
};

// A network's outputs for one frame, h x w pixels.
struct FrameInputs {
    const float *delta_uv;  // (2, h, w), or (h, w, 2) if interleaved: offsets from the pixel centres, x before y
    const float *lf_rgb;    // (3, h, w), or (h, w, 3) if interleaved: -1..1
    Layout layout;
    const float *mask;              // (h, w), times mask_scale + mask_offset, clamped to 0..1; or null for ones
    float mask_scale, mask_offset;  // 1 and 0; or 0.5 and 0.5 where the mask comes out of a tanh
    const uint8_t *background;      // (h, w, 4): the frame becomes opaque over it; or null
};

// Once per avatar, from (channels, height, width), 1 to 4 channels.
inline PackedTexture pack_texture(const float *texture, int channels, int height, int width) {
    PackedTexture packed{height, width, std::vector<float>(size_t(height + 3) * (width + 3) * 4)};
    for (int c = 0; c < channels; ++c)
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x)
                packed.texels[(size_t(y + 1) * (width + 3) + x + 1) * 4 + c] =
                    texture[(size_t(c) * height + y) * width + x];
    return packed;
}

namespace detail {

// Four floats, and what the sampler does with them: four pixels of one channel, or one texel of four channels.
#if BILAYER_NEON

struct Four {
    float32x4_t lanes;

    static Four load(const float *from) { return {vld1q_f32(from)}; }
    static Four all(float value) { return {vdupq_n_f32(value)}; }
    void store(float *to) const { vst1q_f32(to, lanes); }
    friend Four operator+(Four a, Four b) { return {vaddq_f32(a.lanes, b.lanes)}; }
    friend Four operator-(Four a, Four b) { return {vsubq_f32(a.lanes, b.lanes)}; }
    friend Four operator*(Four a, Four b) { return {vmulq_f32(a.lanes, b.lanes)}; }
    // 0 <= value <= top, and NaN gives 0: maxnm and minnm prefer a number to NaN.
    Four clamped(float top) const { return {vminnmq_f32(vmaxnmq_f32(lanes, vdupq_n_f32(0)), vdupq_n_f32(top))}; }
    Four whole() const { return {vrndq_f32(lanes)}; }  // the fraction cut off
    void store_integers(int32_t *to) const { vst1q_s32(to, vcvtq_s32_f32(lanes)); }
};

inline void transpose(Four (&m)[4]) {
    const float32x4_t ab0 = vtrn1q_f32(m[0].lanes, m[1].lanes), ab1 = vtrn2q_f32(m[0].lanes, m[1].lanes);
    const float32x4_t cd0 = vtrn1q_f32(m[2].lanes, m[3].lanes), cd1 = vtrn2q_f32(m[2].lanes, m[3].lanes);
    const auto wide = [](float32x4_t v) { return vreinterpretq_f64_f32(v); };
    const auto narrow = [](float64x2_t v) { return Four{vreinterpretq_f32_f64(v)}; };
    m[0] = narrow(vtrn1q_f64(wide(ab0), wide(cd0)));
    m[1] = narrow(vtrn1q_f64(wide(ab1), wide(cd1)));
    m[2] = narrow(vtrn2q_f64(wide(ab0), wide(cd0)));
    m[3] = narrow(vtrn2q_f64(wide(ab1), wide(cd1)));
}

// Levels with their fractions cut off, as four RGBA pixels.
inline void store_pixels(Four red, Four green, Four blue, Four alpha, uint8_t *to) {
    uint32x4_t word = vcvtq_u32_f32(red.lanes);
    word = vorrq_u32(word, vshlq_n_u32(vcvtq_u32_f32(green.lanes), 8));
    word = vorrq_u32(word, vshlq_n_u32(vcvtq_u32_f32(blue.lanes), 16));
    word = vorrq_u32(word, vshlq_n_u32(vcvtq_u32_f32(alpha.lanes), 24));
    vst1q_u8(to, vreinterpretq_u8_u32(word));
}

#else

struct Four {
    float lanes[4];

    static Four load(const float *from) { return {{from[0], from[1], from[2], from[3]}}; }
    static Four all(float value) { return {{value, value, value, value}}; }
    void store(float *to) const { std::memcpy(to, lanes, sizeof lanes); }
    template <class Operation>
    static Four each(Operation operation) {
        return {{operation(0), operation(1), operation(2), operation(3)}};
    }
    friend Four operator+(Four a, Four b) {
        return each([&](int i) { return a.lanes[i] + b.lanes[i]; });
    }
    friend Four operator-(Four a, Four b) {
        return each([&](int i) { return a.lanes[i] - b.lanes[i]; });
    }
    friend Four operator*(Four a, Four b) {
        return each([&](int i) { return a.lanes[i] * b.lanes[i]; });
    }
    // 0 <= value <= top, and NaN, which is greater than nothing, gives 0.
    Four clamped(float top) const {
        return each([&](int i) {
            const float positive = lanes[i] > 0 ? lanes[i] : 0;
            return positive < top ? positive : top;
        });
    }
    Four whole() const {  // the fraction cut off
        return each([&](int i) { return float(int32_t(lanes[i])); });
    }
    void store_integers(int32_t *to) const {
        for (int i = 0; i < 4; ++i) to[i] = int32_t(lanes[i]);
    }
};

inline void transpose(Four (&m)[4]) {
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < i; ++j) std::swap(m[i].lanes[j], m[j].lanes[i]);
}

// Levels with their fractions cut off, as four RGBA pixels.
inline void store_pixels(Four red, Four green, Four blue, Four alpha, uint8_t *to) {
    for (int i = 0; i < 4; ++i)
        for (const Four *channel : {&red, &green, &blue, &alpha}) *to++ = uint8_t(channel->lanes[i]);
}

#endif

// How coordinates map to a packed texture: x = column * x_step + origin + u * u_scale, and so for y.
struct Geometry {
    float u_scale, v_scale, origin, x_extent, y_extent, last_x, last_y;

    Geometry(const PackedTexture &texture, bool align_corners) {
        x_extent = float(texture.width - align_corners), y_extent = float(texture.height - align_corners);
        u_scale = x_extent * 0.5f, v_scale = y_extent * 0.5f;
        origin = align_corners ? 1.0f : 0.5f;
        last_x = float(texture.width + 1), last_y = float(texture.height + 1);  // still on the border, as is 0
    }
};

// Four bilinear samples at coordinates of the packed texture, as planes: colours[c] has channel c of each.
inline void blend(const PackedTexture &texture, const Geometry &geometry, Four x, Four y, Four (&colours)[4]) {
    x = x.clamped(geometry.last_x), y = y.clamped(geometry.last_y);
    int32_t left[4], top[4];
    float right[4], down[4];
    x.store_integers(left), y.store_integers(top);
    (x - x.whole()).store(right), (y - y.whole()).store(down);
    const size_t pitch = size_t(texture.width + 3) * 4;
    for (int i = 0; i < 4; ++i) {
        const float *upper = texture.texels.data() + size_t(top[i]) * pitch + size_t(left[i]) * 4,
                    *lower = upper + pitch;
        const auto vertical = [&](int at) {
            const Four a = Four::load(upper + at), b = Four::load(lower + at);
            return a + Four::all(down[i]) * (b - a);
        };
        const Four a = vertical(0), b = vertical(4);
        colours[i] = a + Four::all(right[i]) * (b - a);
    }
    transpose(colours);
}

// Channels of `count` pixels, at most 4, from pixel `at` on, as planes; lanes beyond the count are zero.
template <int channels>
inline void load_planes(const float *image, Layout layout, size_t pixels, size_t at, int count,
                        Four (&planes)[channels]) {
    for (int c = 0; c < channels; ++c) {
        if (layout == Layout::planar && count == 4) {
            planes[c] = Four::load(image + c * pixels + at);
            continue;
        }
        float lanes[4] = {};
        for (int i = 0; i < count; ++i)
            lanes[i] = layout == Layout::planar ? image[c * pixels + at + i] : image[(at + i) * channels + c];
        planes[c] = Four::load(lanes);
    }
}

}  // namespace detail

// grid_sample, bilinear, zero padding: grid (2, h, w) or (h, w, 2), x before y; out (channels, h, w) or (h, w, channels).
inline void sample(const PackedTexture &texture, const float *grid, Layout grid_layout, float *out, Layout out_layout,
                   int channels, int height, int width, bool align_corners, Rows rows) {
    using namespace detail;
    const Geometry geometry(texture, align_corners);
    const Four x0 = Four::all(geometry.u_scale + geometry.origin), y0 = Four::all(geometry.v_scale + geometry.origin);
    const size_t pixels = size_t(height) * width;
    for (int i = rows.begin; i < rows.end; ++i)
        for (int j = 0; j < width; j += 4) {
            const size_t at = size_t(i) * width + j;
            const int count = std::min(4, width - j);
            Four uv[2], colours[4];
            load_planes(grid, grid_layout, pixels, at, count, uv);
            const Four x = x0 + uv[0] * Four::all(geometry.u_scale), y = y0 + uv[1] * Four::all(geometry.v_scale);
            blend(texture, geometry, x, y, colours);
            for (int c = 0; c < channels; ++c) {
                float lanes[4];
                colours[c].store(lanes);
                for (int k = 0; k < count; ++k)
                    out[out_layout == Layout::planar ? c * pixels + at + k : (at + k) * channels + c] = lanes[k];
            }
        }
}

// A frame, RGBA (h, w, 4): low frequency + the texture sampled at (pixel centres + delta_uv), clamped to -1..1 and shown
// as 0..255, under the mask. A background overrides alpha. The mask is always rounded to the nearest level.
inline void compose(const PackedTexture &texture, const FrameInputs &inputs, uint8_t *rgba, int height, int width,
                    bool align_corners, Alpha alpha, Rounding rounding, Rows rows) {
    using namespace detail;
    const Geometry geometry(texture, align_corners);
    const float x_step = geometry.x_extent / float(width), y_step = geometry.y_extent / float(height);
    const Four one = Four::all(1), half = Four::all(0.5f), full = Four::all(255), origin = Four::all(geometry.origin);
    const Four rest = Four::all(rounding == Rounding::nearest ? 0.5f : 0.0f);
    const float ramp[4] = {0.5f, 1.5f, 2.5f, 3.5f};
    const size_t pixels = size_t(height) * width;
    for (int i = rows.begin; i < rows.end; ++i) {
        const Four row = Four::all((float(i) + 0.5f) * y_step + geometry.origin);
        for (int j = 0; j < width; j += 4) {
            const size_t at = size_t(i) * width + j;
            const int count = std::min(4, width - j);
            Four uv[2], low[3], mask[1], colours[4];
            load_planes(inputs.delta_uv, inputs.layout, pixels, at, count, uv);
            load_planes(inputs.lf_rgb, inputs.layout, pixels, at, count, low);
            Four m = one;
            if (inputs.mask) {
                load_planes(inputs.mask, Layout::planar, pixels, at, count, mask);
                m = (mask[0] * Four::all(inputs.mask_scale) + Four::all(inputs.mask_offset)).clamped(1);
            }

            const Four column = (Four::load(ramp) + Four::all(float(j))) * Four::all(x_step) + origin;
            const Four x = column + uv[0] * Four::all(geometry.u_scale), y = row + uv[1] * Four::all(geometry.v_scale);
            blend(texture, geometry, x, y, colours);

            for (int c = 0; c < 3; ++c) {
                Four level = ((colours[c] + low[c] + one) * Four::all(127.5f)).clamped(255);
                if (inputs.background) {
                    float behind[4] = {};
                    for (int k = 0; k < count; ++k) behind[k] = inputs.background[(at + k) * 4 + c];
                    level = level * m + Four::load(behind) * (one - m);
                } else if (alpha == Alpha::premultiplied) {
                    level = level * m;
                }
                colours[c] = level + rest;
            }
            colours[3] = inputs.background ? full : m * full + half;

            uint8_t frame[16];
            store_pixels(colours[0], colours[1], colours[2], colours[3], count == 4 ? rgba + at * 4 : frame);
            if (count < 4) std::memcpy(rgba + at * 4, frame, size_t(count) * 4);
        }
    }
}

}  // namespace BILAYER_VARIANT
}  // namespace bilayer
