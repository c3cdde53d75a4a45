// A frame of an avatar on a GPU: the texture sampled at the warp, plus the low-frequency layer, under the mask.
//
// It reads a network's outputs where they lie, in float32, and does what the CPU's kernels do (numpy_kernels.py, resize.py)
// in their order of operations. `draw` is for a surface and needs no read-back; `compose` leaves the frame's bytes in memory.
// Ways to the texture: four fetches blended in float32, which is the CPU's result but for what a GPU's compiler fuses; the same
// out of a buffer (`_buffer`); or the texture unit's own filter (`_filtered`), whose weights may have 8 bits: docs/sampler.md.
//
// Browsers and wgpu take this file; phones what is made of it: docs/sampler.md, On a GPU.

// Offsets in bytes; vectors are x before y. 144 bytes in all.
struct Settings {
    frame: vec2<u32>,          //   0 width and height of the frame
    fields: vec2<u32>,         //   8 of the network's outputs; where they differ, those are resized
    scale: vec2<f32>,          //  16 texels in one unit of u and of v: extent / 2, the extent being W, H, or W - 1, H - 1
    step: vec2<f32>,           //  24 texels in one pixel of the frame: extent / frame           with align_corners
    origin: f32,               //  32 where u = v = -1 lies in the packed texture: 0.5, or 1 with align_corners
    rounding: f32,             //  36 0 cuts the fraction of a colour's level off, as published; 0.5 rounds
    alpha: u32,                //  40 STRAIGHT, PREMULTIPLIED or OVER
    masked: u32,               //  44 0: there is no mask, all is foreground
    delta_uv: vec4<u32>,       //  48 number of the output's first value, from channel to channel, from pixel to pixel, 0
    lf_rgb: vec4<u32>,         //  64 likewise
    seg: vec4<u32>,            //  80 likewise
    delta_uv_affine: vec2<f32>, // 96 what a value is times, and what is added to it
    lf_rgb_affine: vec2<f32>,  // 104 likewise
    seg_affine: vec2<f32>,     // 112 likewise
    last: vec2<f32>,           // 120 W + 1 and H + 1: still on the border of zeros around the texture, as is 0
    background: vec4<f32>,     // 128 levels 0..255 of red, green, blue, where alpha is OVER
}

const STRAIGHT = 0u;       // colours whole, A = mask
const PREMULTIPLIED = 1u;  // colours times mask: what a surface that is blended over others wants
const OVER = 2u;           // over the background, A = 255

// The numbers are those of GLES and Vulkan too, where 5 is texture and sampler in one. The same buffer may stand in 1, 2 and 3.
@group(0) @binding(0) var<storage, read_write> frame: array<u32>;  // RGBA bytes, row after row; `compose` alone
@group(0) @binding(1) var<storage, read> delta_uv: array<f32>;
@group(0) @binding(2) var<storage, read> lf_rgb: array<f32>;
@group(0) @binding(3) var<storage, read> seg: array<f32>;  // anything where there is no mask
@group(0) @binding(4) var<uniform> settings: Settings;
@group(0) @binding(5) var packed: texture_2d<f32>;  // (H + 3, W + 3), texel (y, x) at (y + 1, x + 1), zeros around
@group(0) @binding(6) var bilinear: sampler;        // linear, clamped to the edge; `_filtered` alone
@group(0) @binding(7) var<storage, read> texels: array<vec4<f32>>;  // what is in `packed`; `_buffer` alone

struct Outputs {
    delta_uv: vec2<f32>,
    low: vec3<f32>,
    mask: f32,
}

// 0..top; NaN, which is greater than nothing, becomes 0
fn clamped(value: f32, top: f32) -> f32 {
    return min(select(0.0, value, value > 0.0), top);
}

fn outputs_at(pixel: u32) -> Outputs {
    let uv = settings.delta_uv.x + pixel * settings.delta_uv.z;
    let low = settings.lf_rgb.x + pixel * settings.lf_rgb.z;
    let to_v = settings.delta_uv.y;
    let to_green = settings.lf_rgb.y;
    var found: Outputs;
    found.delta_uv = vec2(delta_uv[uv], delta_uv[uv + to_v]) * settings.delta_uv_affine.x + settings.delta_uv_affine.y;
    found.low = vec3(lf_rgb[low], lf_rgb[low + to_green], lf_rgb[low + 2u * to_green]) * settings.lf_rgb_affine.x
        + settings.lf_rgb_affine.y;
    found.mask = 1.0;
    if (settings.masked != 0u) {
        found.mask = seg[settings.seg.x + pixel * settings.seg.z];
    }
    return found;
}

struct Tap {
    first: u32,
    second: u32,
    weight: f32,
}

// Between which two of `size` values one of `frame` pixels lies: pixel centres, the outermost values held. In whole
// numbers, 2 * frame of which are from one value to the next.
fn tap_of(index: u32, size: u32, pixels: u32) -> Tap {
    let step = 2u * pixels;
    let place = u32(clamp(i32((2u * index + 1u) * size) - i32(pixels), 0, i32(step * (size - 1u))));
    let first = place / step;
    let rest = place - first * step;
    return Tap(first, first + select(0u, 1u, rest > 0u), f32(rest) / f32(step));
}

fn between(a: Outputs, b: Outputs, weight: f32) -> Outputs {
    return Outputs(
        a.delta_uv + weight * (b.delta_uv - a.delta_uv),
        a.low + weight * (b.low - a.low),
        a.mask + weight * (b.mask - a.mask),
    );
}

// The network's outputs at a pixel of the frame.
fn outputs_of(pixel: vec2<u32>) -> Outputs {
    let width = settings.fields.x;
    if (all(settings.frame == settings.fields)) {
        return outputs_at(pixel.y * width + pixel.x);
    }
    let across = tap_of(pixel.x, width, settings.frame.x);
    let down = tap_of(pixel.y, settings.fields.y, settings.frame.y);
    let top = down.first * width;
    let bottom = down.second * width;
    let upper = between(outputs_at(top + across.first), outputs_at(top + across.second), across.weight);
    let lower = between(outputs_at(bottom + across.first), outputs_at(bottom + across.second), across.weight);
    return between(upper, lower, down.weight);
}

// Where a pixel's colour lies in the packed texture: 0..W + 1 and 0..H + 1, whole numbers being texels' centres.
fn place_of(pixel: vec2<u32>, offset: vec2<f32>) -> vec2<f32> {
    let place = ((vec2<f32>(pixel) + 0.5) * settings.step + settings.origin) + offset * settings.scale;
    return vec2(clamped(place.x, settings.last.x), clamped(place.y, settings.last.y));
}

fn blended(part: vec2<f32>, a: vec3<f32>, b: vec3<f32>, below_a: vec3<f32>, below_b: vec3<f32>) -> vec3<f32> {
    let left = a + part.y * (below_a - a);
    let right = b + part.y * (below_b - b);
    return left + part.x * (right - left);
}

fn fetched(place: vec2<f32>) -> vec3<f32> {
    let at = vec2<i32>(place);
    return blended(
        place - vec2<f32>(at),
        textureLoad(packed, at, 0).rgb,
        textureLoad(packed, at + vec2(1, 0), 0).rgb,
        textureLoad(packed, at + vec2(0, 1), 0).rgb,
        textureLoad(packed, at + vec2(1, 1), 0).rgb,
    );
}

fn loaded(place: vec2<f32>) -> vec3<f32> {
    let at = vec2<u32>(place);
    let pitch = u32(settings.last.x) + 2u;
    let above = at.y * pitch + at.x;
    let below = above + pitch;
    return blended(
        place - vec2<f32>(at), texels[above].rgb, texels[above + 1u].rgb, texels[below].rgb, texels[below + 1u].rgb
    );
}

fn filtered(place: vec2<f32>) -> vec3<f32> {
    return textureSampleLevel(packed, bilinear, (place + 0.5) / (settings.last + 2.0), 0.0).rgb;
}

// Levels 0..255 of red, green, blue and alpha, whole numbers.
fn levels_of(colour: vec3<f32>, outputs: Outputs) -> vec4<f32> {
    let raised = (colour + outputs.low + 1.0) * 127.5;
    var levels = vec3(clamped(raised.x, 255.0), clamped(raised.y, 255.0), clamped(raised.z, 255.0));
    var opacity = 1.0;
    if (settings.masked != 0u) {
        opacity = clamped(outputs.mask * settings.seg_affine.x + settings.seg_affine.y, 1.0);
    }
    var alpha = opacity * 255.0 + 0.5;
    if (settings.alpha != STRAIGHT) {
        levels = levels * opacity;
    }
    if (settings.alpha == OVER) {
        levels = levels + settings.background.rgb * (1.0 - opacity);
        alpha = 255.0;
    }
    return floor(vec4(levels + settings.rounding, alpha));
}

fn fetched_levels(pixel: vec2<u32>) -> vec4<f32> {
    let outputs = outputs_of(pixel);
    return levels_of(fetched(place_of(pixel, outputs.delta_uv)), outputs);
}

fn loaded_levels(pixel: vec2<u32>) -> vec4<f32> {
    let outputs = outputs_of(pixel);
    return levels_of(loaded(place_of(pixel, outputs.delta_uv)), outputs);
}

fn filtered_levels(pixel: vec2<u32>) -> vec4<f32> {
    let outputs = outputs_of(pixel);
    return levels_of(filtered(place_of(pixel, outputs.delta_uv)), outputs);
}

// --- onto a surface: one triangle that covers it --------------------------------------------------------------------

struct Corner {
    @builtin(position) position: vec4<f32>,
    @location(0) place: vec2<f32>,  // 0..1 across the frame, from its upper left
}

@vertex
fn corner(@builtin(vertex_index) number: u32) -> Corner {
    let place = vec2(f32(number & 1u), f32(number >> 1u)) * 2.0;  // (0, 0), (2, 0), (0, 2)
    return Corner(vec4(place.x * 2.0 - 1.0, 1.0 - place.y * 2.0, 0.0, 1.0), place);
}

fn pixel_at(place: vec2<f32>) -> vec2<u32> {
    return min(vec2<u32>(place * vec2<f32>(settings.frame)), settings.frame - 1u);
}

@fragment
fn draw(at: Corner) -> @location(0) vec4<f32> {
    return fetched_levels(pixel_at(at.place)) / 255.0;
}

@fragment
fn draw_filtered(at: Corner) -> @location(0) vec4<f32> {
    return filtered_levels(pixel_at(at.place)) / 255.0;
}

// --- into memory: a workgroup draws 8 x 8 pixels --------------------------------------------------------------------

fn keep(pixel: vec2<u32>, levels: vec4<f32>) {
    let bytes = vec4<u32>(levels);
    frame[pixel.y * settings.frame.x + pixel.x] = bytes.r | (bytes.g << 8u) | (bytes.b << 16u) | (bytes.a << 24u);
}

@compute @workgroup_size(8, 8)
fn compose(@builtin(global_invocation_id) at: vec3<u32>) {
    if (all(at.xy < settings.frame)) {
        keep(at.xy, fetched_levels(at.xy));
    }
}

@compute @workgroup_size(8, 8)
fn compose_filtered(@builtin(global_invocation_id) at: vec3<u32>) {
    if (all(at.xy < settings.frame)) {
        keep(at.xy, filtered_levels(at.xy));
    }
}

@compute @workgroup_size(8, 8)
fn compose_buffer(@builtin(global_invocation_id) at: vec3<u32>) {
    if (all(at.xy < settings.frame)) {
        keep(at.xy, loaded_levels(at.xy));
    }
}
