/** The sampler as a WGSL fragment shader: the same arithmetic as in WebGL. */

import type { Bundle } from "../bundle";
import { PLANES } from "../outputs";
import { frameCanvas, geometry, type Sampler, type View, VIEWS } from "./sampler";

const SHADER = `
struct Settings { S: i32, F: i32, T: i32, view: i32, scale: f32, origin: f32, premultiplied: i32 }
@group(0) @binding(0) var<uniform> given: Settings;
@group(0) @binding(1) var<storage, read> atlas: array<vec4f>;
@group(0) @binding(2) var<storage, read> fields: array<f32>;

@vertex fn corner(@builtin(vertex_index) n: u32) -> @builtin(position) vec4f {
  return vec4f(vec2f(f32(n & 1u), f32(n >> 1u)) * 4.0 - 1.0, 0.0, 1.0);
}
fn value(plane: i32, x: i32, y: i32) -> f32 { return fields[(plane * given.S + y) * given.S + x]; }
fn field(plane: i32, tap: vec4i, weight: vec2f) -> f32 {
  let upper = value(plane, tap.x, tap.z) + weight.x * (value(plane, tap.y, tap.z) - value(plane, tap.x, tap.z));
  let lower = value(plane, tap.x, tap.w) + weight.x * (value(plane, tap.y, tap.w) - value(plane, tap.x, tap.w));
  return upper + weight.y * (lower - upper);
}
fn texel(x: i32, y: i32) -> vec4f { return atlas[y * (given.T + 3) + x]; }

@fragment fn colour(@builtin(position) position: vec4f) -> @location(0) vec4f {
  let pixel = vec2i(position.xy);
  let place = clamp((2 * pixel + 1) * given.S - given.F, vec2i(0), vec2i(2 * given.F * (given.S - 1)));
  let first = place / (2 * given.F);
  let rest = place - first * 2 * given.F;
  let second = first + min(rest, vec2i(1));
  let tap = vec4i(first.x, second.x, first.y, second.y);
  let weight = vec2f(rest) / f32(2 * given.F);
  let uv = vec2f(field(0, tap, weight), field(1, tap, weight));
  var rgb = vec3f(0.0);
  if (given.view == 0 || given.view == 2) {
    rgb = vec3f(field(2, tap, weight), field(3, tap, weight), field(4, tap, weight));
  }
  if (given.view <= 1) {
    let start = (vec2f(pixel) + 0.5) * (given.scale * 2.0 / f32(given.F)) + given.origin;
    let at = clamp(start + uv * given.scale, vec2f(0.0), vec2f(f32(given.T + 1)));
    let near = vec2i(at);
    let part = at - vec2f(near);
    let left = mix4(texel(near.x, near.y), texel(near.x, near.y + 1), part.y);
    let right = mix4(texel(near.x + 1, near.y), texel(near.x + 1, near.y + 1), part.y);
    rgb += mix4(left, right, part.x).rgb;
  }
  if (given.view == 3) {
    rgb = vec3f(uv - 1.0 + vec2f(2 * pixel + 1) / f32(given.F), 128.5 / 127.5 - 1.0);
  }
  let alpha = select(1.0, clamp(field(5, tap, weight), 0.0, 1.0), given.view == 0);
  let bytes = vec4f(floor(clamp((rgb + 1.0) * 127.5, vec3f(0.0), vec3f(255.0))), floor(alpha * 255.0 + 0.5)) / 255.0;
  return select(bytes, vec4f(bytes.rgb * bytes.a, bytes.a), given.premultiplied == 1);
}
fn mix4(a: vec4f, b: vec4f, part: f32) -> vec4f { return a + part * (b - a); }
`;

export class WebgpuSampler implements Sampler {
  readonly kind = "webgpu";

  private constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly device: GPUDevice,
    private readonly context: GPUCanvasContext,
    private readonly pipeline: GPURenderPipeline,
    private readonly settings: GPUBuffer,
    private readonly fields: GPUBuffer,
    private readonly atlas: GPUBuffer,
  ) {}

  /** Null where there is no WebGPU, or, unless `software` is allowed, only an emulated one. */
  static async open(bundle: Bundle, software = false): Promise<WebgpuSampler | null> {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter || (adapter.info?.isFallbackAdapter && !software)) return null;
    const device = await adapter.requestDevice();
    const canvas = frameCanvas(bundle);
    const context = canvas.getContext("webgpu");
    if (!context) return null;
    context.configure({ device, format: "rgba8unorm", alphaMode: "premultiplied" });
    const module = device.createShaderModule({ code: SHADER });
    const pipeline = await device.createRenderPipelineAsync({
      layout: "auto",
      vertex: { module },
      fragment: { module, targets: [{ format: "rgba8unorm" }] },
    });
    const { image_size: S, frame_size: F, texture_size: T } = bundle.contract;
    const buffer = (size: number, usage: GPUBufferUsageFlags) => device.createBuffer({ size, usage: usage | GPUBufferUsage.COPY_DST });
    const settings = buffer(32, GPUBufferUsage.UNIFORM);
    const { scale, origin } = geometry(bundle);
    device.queue.writeBuffer(settings, 0, Int32Array.of(S, F, T, 0));
    device.queue.writeBuffer(settings, 16, Float32Array.of(scale, origin));
    const atlas = buffer(bundle.texture.byteLength, GPUBufferUsage.STORAGE);
    device.queue.writeBuffer(atlas, 0, bundle.texture as BufferSource);
    const fields = buffer(PLANES * S * S * 4, GPUBufferUsage.STORAGE);
    return new WebgpuSampler(canvas, device, context, pipeline, settings, fields, atlas);
  }

  draw(planes: Float32Array, view: View = "frame"): void {
    this.device.queue.writeBuffer(this.settings, 12, Int32Array.of(VIEWS.indexOf(view)));
    this.device.queue.writeBuffer(this.fields, 0, planes as BufferSource);
    this.#render(this.context.getCurrentTexture(), true);
  }

  async read(): Promise<Uint8ClampedArray> {
    const { width, height } = this.canvas;
    const row = Math.ceil((width * 4) / 256) * 256; // WebGPU's alignment
    const usage = GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.COPY_SRC;
    const texture = this.device.createTexture({ size: [width, height], format: "rgba8unorm", usage });
    const copy = this.device.createBuffer({ size: row * height, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    this.#render(texture, false, (encoder) =>
      encoder.copyTextureToBuffer({ texture }, { buffer: copy, bytesPerRow: row }, [width, height]),
    );
    await copy.mapAsync(GPUMapMode.READ);
    const padded = new Uint8Array(copy.getMappedRange());
    const bytes = new Uint8ClampedArray(width * height * 4);
    for (let i = 0; i < height; i++) bytes.set(padded.subarray(i * row, i * row + width * 4), i * width * 4);
    copy.destroy();
    texture.destroy();
    return bytes;
  }

  dispose(): void {
    this.device.destroy();
  }

  #render(target: GPUTexture, premultiplied: boolean, then: (encoder: GPUCommandEncoder) => void = () => {}): void {
    const { device, pipeline, settings, atlas, fields } = this;
    device.queue.writeBuffer(settings, 24, Int32Array.of(premultiplied ? 1 : 0));

    const entries = [settings, atlas, fields].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginRenderPass({
      colorAttachments: [{ view: target.createView(), loadOp: "clear", storeOp: "store", clearValue: [0, 0, 0, 0] }],
    });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.draw(3);
    pass.end();
    then(encoder);
    device.queue.submit([encoder.finish()]);
  }
}
