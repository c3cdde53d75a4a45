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
#include <vector>

#include "four.hpp"

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

// A network's outputs for one frame, h x w pixels; of another size than the frame they are resized on the way.
struct FrameInputs {
    const float *delta_uv;  // (2, h, w), or (h, w, 2) if interleaved: offsets from the pixel centres, x before y
    const float *lf_rgb;    // (3, h, w), or (h, w, 3) if interleaved: -1..1
    Layout layout;
    const float *mask;              // (h, w), times mask_scale + mask_offset, clamped to 0..1; or null for ones
    float mask_scale, mask_offset;  // 1 and 0; or 0.5 and 0.5 where the mask comes out of a tanh
    const uint8_t *background;      // (height, width, 4) of the frame, which becomes opaque over it; or null
    int height = 0, width = 0;      // h and w; 0: those of the frame
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

constexpr int stretch = 256;  // columns of a frame whose resized outputs are kept at a time

// Between which two of `size` values one of `frame` pixels lies, and the weight of the second: pixel centres, in whole
// numbers of which 2 * frame are from one value to the next.
struct Tap {
    int first, second;
    float weight;

    Tap(int index, int size, int frame) {
        const int64_t step = 2 * int64_t(frame), last = step * (size - 1);
        const int64_t place = std::min(std::max((2 * int64_t(index) + 1) * size - frame, int64_t(0)), last);
        first = int(place / step);
        second = first + (place % step > 0);
        weight = float(place % step) / float(step);
    }
};

inline float between(float a, float b, float weight) { return a + weight * (b - a); }

// A network's outputs, read four at a time from arrays of the frame's size.
class PlainOutputs {
   public:
    PlainOutputs(const FrameInputs &inputs, int height, int width)
        : inputs_(inputs), pixels_(size_t(height) * width), width_(width) {}

    void load(int i, int j, int count, Four (&uv)[2], Four (&low)[3], Four (&mask)[1]) const {
        const size_t at = size_t(i) * width_ + j;
        load_planes(inputs_.delta_uv, inputs_.layout, pixels_, at, count, uv);
        load_planes(inputs_.lf_rgb, inputs_.layout, pixels_, at, count, low);
        if (inputs_.mask) load_planes(inputs_.mask, Layout::planar, pixels_, at, count, mask);
    }

   private:
    const FrameInputs &inputs_;
    const size_t pixels_;
    const int width_;
};

// The same of another size than the frame's, a stretch of columns at a time. Each row of the outputs is spread over those
// columns once, and each row of the frame is a mean of two such rows.
class ResizedOutputs {
   public:
    ResizedOutputs(const FrameInputs &inputs, int height, int width)
        : inputs_(inputs), height_(height), width_(width) {}

    // Columns `begin` to `end` from now on, at most `stretch`.
    void move_to(int begin, int end) { begin_ = begin, end_ = end, held_[0] = held_[1] = -1; }

    // Row i of the frame from now on.
    void move_down_to(int i) {
        const Tap tap(i, inputs_.height, height_);
        hold(tap.first), hold(tap.second);
        upper_ = spread_[tap.first & 1], lower_ = spread_[tap.second & 1], weight_ = Four::all(tap.weight);
    }

    void load(int, int j, int, Four (&uv)[2], Four (&low)[3], Four (&mask)[1]) const {
        const auto mean = [&](int channel) {
            const Four a = Four::load(upper_[channel] + j - begin_), b = Four::load(lower_[channel] + j - begin_);
            return a + weight_ * (b - a);
        };
        for (int c = 0; c < 2; ++c) uv[c] = mean(c);
        for (int c = 0; c < 3; ++c) low[c] = mean(2 + c);
        if (inputs_.mask) mask[0] = mean(5);
    }

   private:
    const FrameInputs &inputs_;
    const int height_, width_;
    int begin_ = 0, end_ = 0, held_[2] = {-1, -1};
    float spread_[2][6][stretch] = {};  // two rows of the outputs, the even one and the odd one
    const float (*upper_)[stretch] = spread_[0], (*lower_)[stretch] = spread_[0];
    Four weight_ = Four::all(0);

    void hold(int row) {
        if (held_[row & 1] == row) return;
        held_[row & 1] = row;
        const size_t plane = size_t(inputs_.height) * inputs_.width, at = size_t(row) * inputs_.width;
        float(*out)[stretch] = spread_[row & 1];
        const auto spread_all = [&](const float *from, int channels, float(*to)[stretch]) {
            for (int c = 0; c < channels; ++c)
                if (inputs_.layout == Layout::planar)
                    spread(from + c * plane + at, 1, to[c]);
                else
                    spread(from + at * channels + c, channels, to[c]);
        };
        spread_all(inputs_.delta_uv, 2, out);
        spread_all(inputs_.lf_rgb, 3, out + 2);
        if (inputs_.mask) spread(inputs_.mask + at, 1, out[5]);
    }

    // A row whose values are `step` floats apart, at the columns.
    void spread(const float *row, int step, float *to) const {
        const auto value = [&](int j) { return row[size_t(j) * step]; };
        const auto put = [&](int j) {
            const Tap tap(j, inputs_.width, width_);
            to[j - begin_] = between(value(tap.first), value(tap.second), tap.weight);
        };
        if (width_ != 2 * inputs_.width) {
            for (int j = begin_; j < end_; ++j) put(j);
            return;
        }
        put(begin_), put(end_ - 1);
        for (int j = begin_ + 1; j < end_ - 1; j += 2) {  // between two values lie two columns
            const float a = value(j / 2), b = value(j / 2 + 1);
            to[j - begin_] = between(a, b, 0.25f);
            to[j + 1 - begin_] = between(a, b, 0.75f);
        }
    }
};

// Columns `begin` to `end` of row i of a frame, from what `outputs` load.
template <class Outputs>
inline void compose_row(const PackedTexture &texture, const Geometry &geometry, const FrameInputs &inputs,
                        const Outputs &outputs, uint8_t *rgba, int height, int width, Alpha alpha, Rounding rounding,
                        int i, int begin, int end) {
    const float x_step = geometry.x_extent / float(width), y_step = geometry.y_extent / float(height);
    const Four one = Four::all(1), half = Four::all(0.5f), full = Four::all(255), origin = Four::all(geometry.origin);
    const Four rest = Four::all(rounding == Rounding::nearest ? 0.5f : 0.0f);
    const float ramp[4] = {0.5f, 1.5f, 2.5f, 3.5f};
    const Four row = Four::all((float(i) + 0.5f) * y_step + geometry.origin);
    for (int j = begin; j < end; j += 4) {
        const size_t at = size_t(i) * width + j;
        const int count = std::min(4, end - j);
        Four uv[2], low[3], mask[1] = {one}, colours[4];
        outputs.load(i, j, count, uv, low, mask);
        Four m = one;
        if (inputs.mask) m = (mask[0] * Four::all(inputs.mask_scale) + Four::all(inputs.mask_offset)).clamped(1);

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
    if (inputs.height == 0 || (inputs.height == height && inputs.width == width)) {
        const PlainOutputs outputs(inputs, height, width);
        for (int i = rows.begin; i < rows.end; ++i)
            compose_row(texture, geometry, inputs, outputs, rgba, height, width, alpha, rounding, i, 0, width);
        return;
    }
    ResizedOutputs outputs(inputs, height, width);
    for (int j = 0; j < width; j += stretch) {
        const int end = std::min(width, j + stretch);
        outputs.move_to(j, end);
        for (int i = rows.begin; i < rows.end; ++i) {
            outputs.move_down_to(i);
            compose_row(texture, geometry, inputs, outputs, rgba, height, width, alpha, rounding, i, j, end);
        }
    }
}

}  // namespace BILAYER_VARIANT
}  // namespace bilayer
