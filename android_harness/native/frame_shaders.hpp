// Made of runtime/sampler/shaders/frame.wgsl by tests/shader_text.py.
//
// frame_vertex with frame_fetched or frame_filtered: OpenGL ES 3.1. frame_compute: Vulkan, with buffers alone, the
// texture in 5.
#pragma once

namespace bilayer {

constexpr char frame_vertex[] = R"(#version 310 es
precision highp float;
precision highp int;
precision highp sampler2D;
struct Corner {
    vec4 position;
    vec2 place;
};
const uint STRAIGHT = 0u;
const uint PREMULTIPLIED = 1u;
const uint OVER = 2u;

layout(location = 0) smooth out vec2 place_in_frame;

void main() {
    uint number = uint(gl_VertexID);
    vec2 place = (vec2(float((number & 1u)), float((number >> 1u))) * 2.0);
    Corner _tmp_return = Corner(vec4(((place.x * 2.0) - 1.0), (1.0 - (place.y * 2.0)), 0.0, 1.0), place);
    gl_Position = _tmp_return.position;
    place_in_frame = _tmp_return.place;
    return;
}
)";

constexpr char frame_fetched[] = R"(#version 310 es
precision highp float;
precision highp int;
precision highp sampler2D;
struct Settings {
    uvec2 frame;
    uvec2 fields;
    vec2 scale;
    vec2 step_;
    float origin;
    float rounding;
    uint alpha;
    uint masked;
    uvec4 delta_uv;
    uvec4 lf_rgb;
    uvec4 seg;
    vec2 delta_uv_affine;
    vec2 lf_rgb_affine;
    vec2 seg_affine;
    vec2 last;
    vec4 background;
};
struct Outputs {
    vec2 delta_uv;
    vec3 low;
    float mask;
};
struct Tap {
    uint first;
    uint second;
    float weight;
};
struct Corner {
    vec4 position;
    vec2 place;
};
const uint STRAIGHT = 0u;
const uint PREMULTIPLIED = 1u;
const uint OVER = 2u;

layout(std430, binding = 1) readonly buffer Block1 { float delta_uv_values[]; };

layout(std430, binding = 2) readonly buffer Block2 { float lf_rgb_values[]; };

layout(std430, binding = 3) readonly buffer Block3 { float seg_values[]; };

layout(std140, binding = 4) uniform Block4 { Settings settings; };

layout(binding = 5) uniform sampler2D packed_texture;

layout(location = 0) smooth in vec2 place_in_frame;
layout(location = 0) out vec4 _fs2p_location0;

float clamped(float value, float top) {
    return min(((value > 0.0) ? value : 0.0), top);
}

Outputs outputs_at(uint pixel) {
    Outputs found = Outputs(vec2(0.0), vec3(0.0), 0.0);
    uint _e4 = settings.delta_uv.x;
    uint _e8 = settings.delta_uv.z;
    uint uv = (_e4 + (pixel * _e8));
    uint _e14 = settings.lf_rgb.x;
    uint _e18 = settings.lf_rgb.z;
    uint low = (_e14 + (pixel * _e18));
    uint to_v = settings.delta_uv.y;
    uint to_green = settings.lf_rgb.y;
    float _e33 = delta_uv_values[uv];
    float _e37 = delta_uv_values[(uv + to_v)];
    float _e42 = settings.delta_uv_affine.x;
    float _e47 = settings.delta_uv_affine.y;
    found.delta_uv = ((vec2(_e33, _e37) * _e42) + vec2(_e47));
    float _e53 = lf_rgb_values[low];
    float _e57 = lf_rgb_values[(low + to_green)];
    float _e63 = lf_rgb_values[(low + (2u * to_green))];
    float _e68 = settings.lf_rgb_affine.x;
    float _e73 = settings.lf_rgb_affine.y;
    found.low = ((vec3(_e53, _e57, _e63) * _e68) + vec3(_e73));
    found.mask = 1.0;
    uint _e80 = settings.masked;
    if ((_e80 != 0u)) {
        uint _e88 = settings.seg.x;
        uint _e92 = settings.seg.z;
        float _e96 = seg_values[(_e88 + (pixel * _e92))];
        found.mask = _e96;
    }
    Outputs _e97 = found;
    return _e97;
}

Tap tap_of(uint index, uint size, uint pixels) {
    uint step_ = (2u * pixels);
    uint place_2 = uint(min(max((int((((2u * index) + 1u) * size)) - int(pixels)), 0), int((step_ * (size - 1u)))));
    uint first = (place_2 / step_);
    uint rest = (place_2 - (first * step_));
    return Tap(first, (first + ((rest > 0u) ? 1u : 0u)), (float(rest) / float(step_)));
}

Outputs between(Outputs a, Outputs b, float weight) {
    return Outputs((a.delta_uv + (weight * (b.delta_uv - a.delta_uv))), (a.low + (weight * (b.low - a.low))), (a.mask + (weight * (b.mask - a.mask))));
}

Outputs outputs_of(uvec2 pixel_1) {
    uint width = settings.fields.x;
    uvec2 _e7 = settings.frame;
    uvec2 _e10 = settings.fields;
    if (all(equal(_e7, _e10))) {
        Outputs _e17 = outputs_at(((pixel_1.y * width) + pixel_1.x));
        return _e17;
    }
    uint _e22 = settings.frame.x;
    Tap _e23 = tap_of(pixel_1.x, width, _e22);
    uint _e28 = settings.fields.y;
    uint _e32 = settings.frame.y;
    Tap _e33 = tap_of(pixel_1.y, _e28, _e32);
    uint top_1 = (_e33.first * width);
    uint bottom = (_e33.second * width);
    Outputs _e40 = outputs_at((top_1 + _e23.first));
    Outputs _e43 = outputs_at((top_1 + _e23.second));
    Outputs _e45 = between(_e40, _e43, _e23.weight);
    Outputs _e48 = outputs_at((bottom + _e23.first));
    Outputs _e51 = outputs_at((bottom + _e23.second));
    Outputs _e53 = between(_e48, _e51, _e23.weight);
    Outputs _e55 = between(_e45, _e53, _e33.weight);
    return _e55;
}

vec2 place_of(uvec2 pixel_2, vec2 offset) {
    vec2 _e8 = settings.step_;
    float _e12 = settings.origin;
    vec2 _e17 = settings.scale;
    vec2 place_3 = ((((vec2(pixel_2) + vec2(0.5)) * _e8) + vec2(_e12)) + (offset * _e17));
    float _e24 = settings.last.x;
    float _e25 = clamped(place_3.x, _e24);
    float _e30 = settings.last.y;
    float _e31 = clamped(place_3.y, _e30);
    return vec2(_e25, _e31);
}

vec3 blended(vec2 part, vec3 a_1, vec3 b_1, vec3 below_a, vec3 below_b) {
    vec3 left = (a_1 + (part.y * (below_a - a_1)));
    vec3 right = (b_1 + (part.y * (below_b - b_1)));
    return (left + (part.x * (right - left)));
}

vec3 fetched(vec2 place) {
    ivec2 at_1 = ivec2(place);
    vec4 _e6 = texelFetch(packed_texture, at_1, 0);
    vec4 _e14 = texelFetch(packed_texture, (at_1 + ivec2(1, 0)), 0);
    vec4 _e22 = texelFetch(packed_texture, (at_1 + ivec2(0, 1)), 0);
    vec4 _e30 = texelFetch(packed_texture, (at_1 + ivec2(1, 1)), 0);
    vec3 _e32 = blended((place - vec2(at_1)), _e6.xyz, _e14.xyz, _e22.xyz, _e30.xyz);
    return _e32;
}

vec4 levels_of(vec3 colour, Outputs outputs) {
    vec3 levels = vec3(0.0);
    float opacity = 1.0;
    float alpha = 0.0;
    vec3 raised = (((colour + outputs.low) + vec3(1.0)) * 127.5);
    float _e11 = clamped(raised.x, 255.0);
    float _e14 = clamped(raised.y, 255.0);
    float _e17 = clamped(raised.z, 255.0);
    levels = vec3(_e11, _e14, _e17);
    uint _e24 = settings.masked;
    if ((_e24 != 0u)) {
        float _e31 = settings.seg_affine.x;
        float _e36 = settings.seg_affine.y;
        float _e39 = clamped(((outputs.mask * _e31) + _e36), 1.0);
        opacity = _e39;
    }
    float _e40 = opacity;
    alpha = ((_e40 * 255.0) + 0.5);
    uint _e48 = settings.alpha;
    if ((_e48 != STRAIGHT)) {
        vec3 _e51 = levels;
        float _e52 = opacity;
        levels = (_e51 * _e52);
    }
    uint _e56 = settings.alpha;
    if ((_e56 == OVER)) {
        vec3 _e59 = levels;
        vec4 _e62 = settings.background;
        float _e64 = opacity;
        levels = (_e59 + (_e62.xyz * (1.0 - _e64)));
        alpha = 255.0;
    }
    vec3 _e70 = levels;
    float _e73 = settings.rounding;
    float _e76 = alpha;
    return floor(vec4((_e70 + vec3(_e73)), _e76));
}

vec4 fetched_levels(uvec2 pixel_3) {
    Outputs _e1 = outputs_of(pixel_3);
    vec2 _e3 = place_of(pixel_3, _e1.delta_uv);
    vec3 _e4 = fetched(_e3);
    vec4 _e5 = levels_of(_e4, _e1);
    return _e5;
}

uvec2 pixel_at(vec2 place_1) {
    uvec2 _e3 = settings.frame;
    uvec2 _e9 = settings.frame;
    return min(uvec2((place_1 * vec2(_e3))), (_e9 - uvec2(1u)));
}

void main() {
    Corner at = Corner(gl_FragCoord, place_in_frame);
    uvec2 _e2 = pixel_at(at.place);
    vec4 _e3 = fetched_levels(_e2);
    _fs2p_location0 = (_e3 / vec4(255.0));
    return;
}
)";

constexpr char frame_filtered[] = R"(#version 310 es
precision highp float;
precision highp int;
precision highp sampler2D;
struct Settings {
    uvec2 frame;
    uvec2 fields;
    vec2 scale;
    vec2 step_;
    float origin;
    float rounding;
    uint alpha;
    uint masked;
    uvec4 delta_uv;
    uvec4 lf_rgb;
    uvec4 seg;
    vec2 delta_uv_affine;
    vec2 lf_rgb_affine;
    vec2 seg_affine;
    vec2 last;
    vec4 background;
};
struct Outputs {
    vec2 delta_uv;
    vec3 low;
    float mask;
};
struct Tap {
    uint first;
    uint second;
    float weight;
};
struct Corner {
    vec4 position;
    vec2 place;
};
const uint STRAIGHT = 0u;
const uint PREMULTIPLIED = 1u;
const uint OVER = 2u;

layout(std430, binding = 1) readonly buffer Block1 { float delta_uv_values[]; };

layout(std430, binding = 2) readonly buffer Block2 { float lf_rgb_values[]; };

layout(std430, binding = 3) readonly buffer Block3 { float seg_values[]; };

layout(std140, binding = 4) uniform Block4 { Settings settings; };

layout(binding = 5) uniform sampler2D packed_texture;

layout(location = 0) smooth in vec2 place_in_frame;
layout(location = 0) out vec4 _fs2p_location0;

float clamped(float value, float top) {
    return min(((value > 0.0) ? value : 0.0), top);
}

Outputs outputs_at(uint pixel) {
    Outputs found = Outputs(vec2(0.0), vec3(0.0), 0.0);
    uint _e4 = settings.delta_uv.x;
    uint _e8 = settings.delta_uv.z;
    uint uv = (_e4 + (pixel * _e8));
    uint _e14 = settings.lf_rgb.x;
    uint _e18 = settings.lf_rgb.z;
    uint low = (_e14 + (pixel * _e18));
    uint to_v = settings.delta_uv.y;
    uint to_green = settings.lf_rgb.y;
    float _e33 = delta_uv_values[uv];
    float _e37 = delta_uv_values[(uv + to_v)];
    float _e42 = settings.delta_uv_affine.x;
    float _e47 = settings.delta_uv_affine.y;
    found.delta_uv = ((vec2(_e33, _e37) * _e42) + vec2(_e47));
    float _e53 = lf_rgb_values[low];
    float _e57 = lf_rgb_values[(low + to_green)];
    float _e63 = lf_rgb_values[(low + (2u * to_green))];
    float _e68 = settings.lf_rgb_affine.x;
    float _e73 = settings.lf_rgb_affine.y;
    found.low = ((vec3(_e53, _e57, _e63) * _e68) + vec3(_e73));
    found.mask = 1.0;
    uint _e80 = settings.masked;
    if ((_e80 != 0u)) {
        uint _e88 = settings.seg.x;
        uint _e92 = settings.seg.z;
        float _e96 = seg_values[(_e88 + (pixel * _e92))];
        found.mask = _e96;
    }
    Outputs _e97 = found;
    return _e97;
}

Tap tap_of(uint index, uint size, uint pixels) {
    uint step_ = (2u * pixels);
    uint place_2 = uint(min(max((int((((2u * index) + 1u) * size)) - int(pixels)), 0), int((step_ * (size - 1u)))));
    uint first = (place_2 / step_);
    uint rest = (place_2 - (first * step_));
    return Tap(first, (first + ((rest > 0u) ? 1u : 0u)), (float(rest) / float(step_)));
}

Outputs between(Outputs a, Outputs b, float weight) {
    return Outputs((a.delta_uv + (weight * (b.delta_uv - a.delta_uv))), (a.low + (weight * (b.low - a.low))), (a.mask + (weight * (b.mask - a.mask))));
}

Outputs outputs_of(uvec2 pixel_1) {
    uint width = settings.fields.x;
    uvec2 _e7 = settings.frame;
    uvec2 _e10 = settings.fields;
    if (all(equal(_e7, _e10))) {
        Outputs _e17 = outputs_at(((pixel_1.y * width) + pixel_1.x));
        return _e17;
    }
    uint _e22 = settings.frame.x;
    Tap _e23 = tap_of(pixel_1.x, width, _e22);
    uint _e28 = settings.fields.y;
    uint _e32 = settings.frame.y;
    Tap _e33 = tap_of(pixel_1.y, _e28, _e32);
    uint top_1 = (_e33.first * width);
    uint bottom = (_e33.second * width);
    Outputs _e40 = outputs_at((top_1 + _e23.first));
    Outputs _e43 = outputs_at((top_1 + _e23.second));
    Outputs _e45 = between(_e40, _e43, _e23.weight);
    Outputs _e48 = outputs_at((bottom + _e23.first));
    Outputs _e51 = outputs_at((bottom + _e23.second));
    Outputs _e53 = between(_e48, _e51, _e23.weight);
    Outputs _e55 = between(_e45, _e53, _e33.weight);
    return _e55;
}

vec2 place_of(uvec2 pixel_2, vec2 offset) {
    vec2 _e8 = settings.step_;
    float _e12 = settings.origin;
    vec2 _e17 = settings.scale;
    vec2 place_3 = ((((vec2(pixel_2) + vec2(0.5)) * _e8) + vec2(_e12)) + (offset * _e17));
    float _e24 = settings.last.x;
    float _e25 = clamped(place_3.x, _e24);
    float _e30 = settings.last.y;
    float _e31 = clamped(place_3.y, _e30);
    return vec2(_e25, _e31);
}

vec3 filtered(vec2 place) {
    vec2 _e8 = settings.last;
    vec4 _e14 = textureLod(packed_texture, vec2(((place + vec2(0.5)) / (_e8 + vec2(2.0)))), 0.0);
    return _e14.xyz;
}

vec4 levels_of(vec3 colour, Outputs outputs) {
    vec3 levels = vec3(0.0);
    float opacity = 1.0;
    float alpha = 0.0;
    vec3 raised = (((colour + outputs.low) + vec3(1.0)) * 127.5);
    float _e11 = clamped(raised.x, 255.0);
    float _e14 = clamped(raised.y, 255.0);
    float _e17 = clamped(raised.z, 255.0);
    levels = vec3(_e11, _e14, _e17);
    uint _e24 = settings.masked;
    if ((_e24 != 0u)) {
        float _e31 = settings.seg_affine.x;
        float _e36 = settings.seg_affine.y;
        float _e39 = clamped(((outputs.mask * _e31) + _e36), 1.0);
        opacity = _e39;
    }
    float _e40 = opacity;
    alpha = ((_e40 * 255.0) + 0.5);
    uint _e48 = settings.alpha;
    if ((_e48 != STRAIGHT)) {
        vec3 _e51 = levels;
        float _e52 = opacity;
        levels = (_e51 * _e52);
    }
    uint _e56 = settings.alpha;
    if ((_e56 == OVER)) {
        vec3 _e59 = levels;
        vec4 _e62 = settings.background;
        float _e64 = opacity;
        levels = (_e59 + (_e62.xyz * (1.0 - _e64)));
        alpha = 255.0;
    }
    vec3 _e70 = levels;
    float _e73 = settings.rounding;
    float _e76 = alpha;
    return floor(vec4((_e70 + vec3(_e73)), _e76));
}

vec4 filtered_levels(uvec2 pixel_3) {
    Outputs _e1 = outputs_of(pixel_3);
    vec2 _e3 = place_of(pixel_3, _e1.delta_uv);
    vec3 _e4 = filtered(_e3);
    vec4 _e5 = levels_of(_e4, _e1);
    return _e5;
}

uvec2 pixel_at(vec2 place_1) {
    uvec2 _e3 = settings.frame;
    uvec2 _e9 = settings.frame;
    return min(uvec2((place_1 * vec2(_e3))), (_e9 - uvec2(1u)));
}

void main() {
    Corner at = Corner(gl_FragCoord, place_in_frame);
    uvec2 _e2 = pixel_at(at.place);
    vec4 _e3 = filtered_levels(_e2);
    _fs2p_location0 = (_e3 / vec4(255.0));
    return;
}
)";

constexpr char frame_compute[] = R"(#version 450
layout(local_size_x = 8, local_size_y = 8, local_size_z = 1) in;

struct Settings {
    uvec2 frame;
    uvec2 fields;
    vec2 scale;
    vec2 step_;
    float origin;
    float rounding;
    uint alpha;
    uint masked;
    uvec4 delta_uv;
    uvec4 lf_rgb;
    uvec4 seg;
    vec2 delta_uv_affine;
    vec2 lf_rgb_affine;
    vec2 seg_affine;
    vec2 last;
    vec4 background;
};
struct Outputs {
    vec2 delta_uv;
    vec3 low;
    float mask;
};
struct Tap {
    uint first;
    uint second;
    float weight;
};
const uint STRAIGHT = 0u;
const uint PREMULTIPLIED = 1u;
const uint OVER = 2u;

layout(std430, binding = 0) buffer Block0 { uint frame_words[]; };

layout(std430, binding = 1) readonly buffer Block1 { float delta_uv_values[]; };

layout(std430, binding = 2) readonly buffer Block2 { float lf_rgb_values[]; };

layout(std430, binding = 3) readonly buffer Block3 { float seg_values[]; };

layout(std430, binding = 4) readonly buffer Block4 { Settings settings; };

layout(std430, binding = 5) readonly buffer Block5 { vec4 texels[]; };

float clamped(float value, float top) {
    return min(((value > 0.0) ? value : 0.0), top);
}

Outputs outputs_at(uint pixel) {
    Outputs found = Outputs(vec2(0.0), vec3(0.0), 0.0);
    uint _e4 = settings.delta_uv.x;
    uint _e8 = settings.delta_uv.z;
    uint uv = (_e4 + (pixel * _e8));
    uint _e14 = settings.lf_rgb.x;
    uint _e18 = settings.lf_rgb.z;
    uint low = (_e14 + (pixel * _e18));
    uint to_v = settings.delta_uv.y;
    uint to_green = settings.lf_rgb.y;
    float _e33 = delta_uv_values[uv];
    float _e37 = delta_uv_values[(uv + to_v)];
    float _e42 = settings.delta_uv_affine.x;
    float _e47 = settings.delta_uv_affine.y;
    found.delta_uv = ((vec2(_e33, _e37) * _e42) + vec2(_e47));
    float _e53 = lf_rgb_values[low];
    float _e57 = lf_rgb_values[(low + to_green)];
    float _e63 = lf_rgb_values[(low + (2u * to_green))];
    float _e68 = settings.lf_rgb_affine.x;
    float _e73 = settings.lf_rgb_affine.y;
    found.low = ((vec3(_e53, _e57, _e63) * _e68) + vec3(_e73));
    found.mask = 1.0;
    uint _e80 = settings.masked;
    if ((_e80 != 0u)) {
        uint _e88 = settings.seg.x;
        uint _e92 = settings.seg.z;
        float _e96 = seg_values[(_e88 + (pixel * _e92))];
        found.mask = _e96;
    }
    Outputs _e97 = found;
    return _e97;
}

Tap tap_of(uint index, uint size, uint pixels) {
    uint step_ = (2u * pixels);
    uint place_1 = uint(min(max((int((((2u * index) + 1u) * size)) - int(pixels)), 0), int((step_ * (size - 1u)))));
    uint first = (place_1 / step_);
    uint rest = (place_1 - (first * step_));
    return Tap(first, (first + ((rest > 0u) ? 1u : 0u)), (float(rest) / float(step_)));
}

Outputs between(Outputs a, Outputs b, float weight) {
    return Outputs((a.delta_uv + (weight * (b.delta_uv - a.delta_uv))), (a.low + (weight * (b.low - a.low))), (a.mask + (weight * (b.mask - a.mask))));
}

Outputs outputs_of(uvec2 pixel_1) {
    uint width = settings.fields.x;
    uvec2 _e7 = settings.frame;
    uvec2 _e10 = settings.fields;
    if (all(equal(_e7, _e10))) {
        Outputs _e17 = outputs_at(((pixel_1.y * width) + pixel_1.x));
        return _e17;
    }
    uint _e22 = settings.frame.x;
    Tap _e23 = tap_of(pixel_1.x, width, _e22);
    uint _e28 = settings.fields.y;
    uint _e32 = settings.frame.y;
    Tap _e33 = tap_of(pixel_1.y, _e28, _e32);
    uint top_1 = (_e33.first * width);
    uint bottom = (_e33.second * width);
    Outputs _e40 = outputs_at((top_1 + _e23.first));
    Outputs _e43 = outputs_at((top_1 + _e23.second));
    Outputs _e45 = between(_e40, _e43, _e23.weight);
    Outputs _e48 = outputs_at((bottom + _e23.first));
    Outputs _e51 = outputs_at((bottom + _e23.second));
    Outputs _e53 = between(_e48, _e51, _e23.weight);
    Outputs _e55 = between(_e45, _e53, _e33.weight);
    return _e55;
}

vec2 place_of(uvec2 pixel_2, vec2 offset) {
    vec2 _e8 = settings.step_;
    float _e12 = settings.origin;
    vec2 _e17 = settings.scale;
    vec2 place_2 = ((((vec2(pixel_2) + vec2(0.5)) * _e8) + vec2(_e12)) + (offset * _e17));
    float _e24 = settings.last.x;
    float _e25 = clamped(place_2.x, _e24);
    float _e30 = settings.last.y;
    float _e31 = clamped(place_2.y, _e30);
    return vec2(_e25, _e31);
}

vec3 blended(vec2 part, vec3 a_1, vec3 b_1, vec3 below_a, vec3 below_b) {
    vec3 left = (a_1 + (part.y * (below_a - a_1)));
    vec3 right = (b_1 + (part.y * (below_b - b_1)));
    return (left + (part.x * (right - left)));
}

vec3 loaded(vec2 place) {
    uvec2 at_1 = uvec2(place);
    float _e5 = settings.last.x;
    uint pitch = (uint(_e5) + 2u);
    uint above = ((at_1.y * pitch) + at_1.x);
    uint below = (above + pitch);
    vec4 _e18 = texels[above];
    vec4 _e24 = texels[(above + 1u)];
    vec4 _e28 = texels[below];
    vec4 _e34 = texels[(below + 1u)];
    vec3 _e36 = blended((place - vec2(at_1)), _e18.xyz, _e24.xyz, _e28.xyz, _e34.xyz);
    return _e36;
}

vec4 levels_of(vec3 colour, Outputs outputs) {
    vec3 levels = vec3(0.0);
    float opacity = 1.0;
    float alpha = 0.0;
    vec3 raised = (((colour + outputs.low) + vec3(1.0)) * 127.5);
    float _e11 = clamped(raised.x, 255.0);
    float _e14 = clamped(raised.y, 255.0);
    float _e17 = clamped(raised.z, 255.0);
    levels = vec3(_e11, _e14, _e17);
    uint _e24 = settings.masked;
    if ((_e24 != 0u)) {
        float _e31 = settings.seg_affine.x;
        float _e36 = settings.seg_affine.y;
        float _e39 = clamped(((outputs.mask * _e31) + _e36), 1.0);
        opacity = _e39;
    }
    float _e40 = opacity;
    alpha = ((_e40 * 255.0) + 0.5);
    uint _e48 = settings.alpha;
    if ((_e48 != STRAIGHT)) {
        vec3 _e51 = levels;
        float _e52 = opacity;
        levels = (_e51 * _e52);
    }
    uint _e56 = settings.alpha;
    if ((_e56 == OVER)) {
        vec3 _e59 = levels;
        vec4 _e62 = settings.background;
        float _e64 = opacity;
        levels = (_e59 + (_e62.xyz * (1.0 - _e64)));
        alpha = 255.0;
    }
    vec3 _e70 = levels;
    float _e73 = settings.rounding;
    float _e76 = alpha;
    return floor(vec4((_e70 + vec3(_e73)), _e76));
}

vec4 loaded_levels(uvec2 pixel_3) {
    Outputs _e1 = outputs_of(pixel_3);
    vec2 _e3 = place_of(pixel_3, _e1.delta_uv);
    vec3 _e4 = loaded(_e3);
    vec4 _e5 = levels_of(_e4, _e1);
    return _e5;
}

void keep(uvec2 pixel_4, vec4 levels_1) {
    uvec4 bytes = uvec4(levels_1);
    uint _e8 = settings.frame.x;
    frame_words[((pixel_4.y * _e8) + pixel_4.x)] = (((bytes.x | (bytes.y << 8u)) | (bytes.z << 16u)) | (bytes.w << 24u));
    return;
}

void main() {
    uvec3 at = gl_GlobalInvocationID;
    uvec2 _e4 = settings.frame;
    if (all(lessThan(at.xy, _e4))) {
        vec4 _e9 = loaded_levels(at.xy);
        keep(at.xy, _e9);
        return;
    } else {
        return;
    }
}
)";

}  // namespace bilayer
