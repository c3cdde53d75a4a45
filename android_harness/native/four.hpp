// Four floats, and what the sampler does with them: four pixels of one channel, or one texel of four channels.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

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
namespace detail {

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

}  // namespace detail
}  // namespace BILAYER_VARIANT
}  // namespace bilayer
