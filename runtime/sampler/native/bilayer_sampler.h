/* The bi-layer texture sampler for the CPU: `bilayer-sampler build` makes the object file that defines these functions.
 *
 * Plain C, no allocation, no global state, no other library, 40 KB of stack. The functions read and write what they are
 * told and check nothing; any value in the arrays is safe, NaN and infinities included. Threads may share a picture by
 * rows: call once per thread with its own row_begin and row_end (0 and height for all of it).
 *
 * Results are the same bits as the Python package's, on every processor.
 *
 * Layouts: planar (C, h, w), as torch and ONNX have it; interleaved (h, w, C), as SNPE's outputs are. Flags are 0 or 1.
 * Coordinates run from -1 to 1, x right and y down: with align_corners 0 between the outer edges of the texture, with 1
 * between the centres of its outer texels. Outside is zero.
 */
#ifndef BILAYER_SAMPLER_H
#define BILAYER_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Floats in a packed texture, (height + 3, width + 3, 4): under 2^31, and no side above 2^23. */
#define BILAYER_PACKED_FLOATS(height, width) (((size_t)(height) + 3) * ((size_t)(width) + 3) * 4)

/* What becomes of a frame's mask. A background overrides it. */
#define BILAYER_STRAIGHT 0      /* alpha is the mask, colours stay whole */
#define BILAYER_PREMULTIPLIED 1 /* alpha is the mask, colours are multiplied by it: Android's Bitmap and surfaces */

/* Once per avatar: texture (channels, height, width), 1 to 4 channels, into packed (height + 3, width + 3, 4). */
void bilayer_pack_texture(const float *texture, int32_t channels, int32_t height, int32_t width, float *packed);

/* Arguments stand with what they belong to. */
/* clang-format off */

/* grid_sample, bilinear, zero padding. grid (2, h, w) or interleaved (h, w, 2), x before y; out (channels, h, w) or
 * interleaved (h, w, channels), 1 to 4 channels. */
void bilayer_sample(const float *packed, int32_t texture_height, int32_t texture_width,
                    const float *grid, int32_t grid_interleaved,
                    float *out, int32_t out_interleaved,
                    int32_t channels, int32_t height, int32_t width,
                    int32_t align_corners, int32_t row_begin, int32_t row_end);

/* A frame: lf_rgb + the texture sampled at (pixel centres + delta_uv), -1..1 shown as 0..255, under the mask.
 *
 * delta_uv (2, h, w) and lf_rgb (3, h, w), or both interleaved. mask (h, w), times mask_scale + mask_offset and clamped
 * to 0..1, or NULL for ones; scale and offset are 1 and 0, or 0.5 and 0.5 where the mask comes out of a tanh.
 * background (h, w, 4) RGBA8, whose alpha is not read, makes an opaque frame over it; or NULL. Both pictures are aligned
 * to 4 bytes. nearest 0 cuts the colours' fractions off, as published; 1 rounds them. */
void bilayer_frame(const float *packed, int32_t texture_height, int32_t texture_width,
                   const float *delta_uv, const float *lf_rgb, int32_t interleaved,
                   const float *mask, float mask_scale, float mask_offset,
                   const uint8_t *background, uint8_t *rgba,
                   int32_t height, int32_t width,
                   int32_t align_corners, int32_t alpha, int32_t nearest, int32_t row_begin, int32_t row_end);

/* The same of results (result_height, result_width), delta_uv, lf_rgb and mask, that have another size than the frame
 * (height, width): they are resized on the way, bilinearly between pixel centres, the outermost values held (torch's
 * interpolate with align_corners False, whatever the warp's is). The identity that delta_uv is added to is the frame's. */
void bilayer_resized_frame(const float *packed, int32_t texture_height, int32_t texture_width,
                           const float *delta_uv, const float *lf_rgb, int32_t interleaved,
                           const float *mask, float mask_scale, float mask_offset,
                           int32_t result_height, int32_t result_width,
                           const uint8_t *background, uint8_t *rgba,
                           int32_t height, int32_t width,
                           int32_t align_corners, int32_t alpha, int32_t nearest, int32_t row_begin, int32_t row_end);

/* clang-format on */

#ifdef __cplusplus
}
#endif
#endif
