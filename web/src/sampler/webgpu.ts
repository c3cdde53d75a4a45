/** The sampler as a WGSL fragment shader: the one that phones and Python have, runtime/sampler/shaders/frame.wgsl. */

import shader from "../../../runtime/sampler/shaders/frame.wgsl?raw";
import type { Bundle } from "../bundle";
import { PADDING } from "../contract";
import type { Patch } from "../lids";
import { PLANES } from "../outputs";
import { frameCanvas, geometry, type Sampler, type View, VIEWS } from "./sampler";

// What is not the whole frame: the texture as the warp brings it, the layer over it, where each pixel looks
const VIEWS_SHADER = `
@fragment fn draw_texture(at: Corner) -> @location(0) vec4f {
  let pixel = pixel_at(at.place);
  let outputs = Outputs(outputs_of(pixel).delta_uv, vec3f(0.0), 1.0);
  return vec4f(levels_of(fetched(place_of(pixel, outputs.delta_uv)), outputs).rgb / 255.0, 1.0);
}
@fragment fn draw_layer(at: Corner) -> @location(0) vec4f {
  return vec4f(levels_of(vec3f(0.0), outputs_of(pixel_at(at.place))).rgb / 255.0, 1.0);
}
@fragment fn draw_warp(at: Corner) -> @location(0) vec4f {
  let pixel = pixel_at(at.place);
  let uv = (vec2f(2u * pixel + 1u) / vec2f(settings.frame) + outputs_of(pixel).delta_uv) * 127.5;
  return vec4f(floor(clamp(uv, vec2f(0.0), vec2f(255.0))), 128.0, 255.0) / 255.0;
}`;
const ENTRIES: Record<View, string> = { frame: "draw", texture: "draw_texture", layer: "draw_layer", warp: "draw_warp" };
const [STRAIGHT, PREMULTIPLIED] = [0, 1]; // what becomes of the mask
const ALPHA = 40; // where it stands in the settings

export class WebgpuSampler implements Sampler {
  readonly kind = "webgpu";
  readonly lost: Promise<void>;
  #view: View = "frame";

  private constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly device: GPUDevice,
    private readonly context: GPUCanvasContext,
    private readonly pipelines: Record<View, GPURenderPipeline>,
    private readonly group: GPUBindGroup,
    private readonly settings: GPUBuffer,
    private readonly fields: GPUBuffer,
    private readonly atlas: GPUTexture,
  ) {
    this.lost = device.lost.then(() => {});
  }

  /** Null where there is no WebGPU, or, unless `software` is allowed, only an emulated one. */
  static async open(bundle: Bundle, software = false): Promise<WebgpuSampler | null> {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter || (adapter.info?.isFallbackAdapter && !software)) return null;
    const device = await adapter.requestDevice();
    const canvas = frameCanvas(bundle);
    const context = canvas.getContext("webgpu");
    if (!context) return null;
    context.configure({ device, format: "rgba8unorm", alphaMode: "premultiplied" });
    const module = device.createShaderModule({ code: shader + VIEWS_SHADER });
    const { FRAGMENT } = GPUShaderStage;
    const layout = device.createBindGroupLayout({
      entries: [
        ...[1, 2, 3].map((binding) => ({ binding, visibility: FRAGMENT, buffer: { type: "read-only-storage" as const } })),
        { binding: 4, visibility: FRAGMENT, buffer: {} },
        { binding: 5, visibility: FRAGMENT, texture: { sampleType: "unfilterable-float" as const } },
      ],
    });
    const pipelines = {} as Record<View, GPURenderPipeline>;
    for (const view of VIEWS) {
      pipelines[view] = await device.createRenderPipelineAsync({
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        vertex: { module, entryPoint: "corner" },
        fragment: { module, entryPoint: ENTRIES[view], targets: [{ format: "rgba8unorm" }] },
      });
    }
    const { image_size: S, texture_size: T } = bundle.contract;
    const { COPY_DST, UNIFORM, STORAGE } = GPUBufferUsage;
    const settings = device.createBuffer({ size: 144, usage: UNIFORM | COPY_DST });
    device.queue.writeBuffer(settings, 0, settingsOf(bundle));
    const fields = device.createBuffer({ size: PLANES * S * S * 4, usage: STORAGE | COPY_DST });
    const side = T + PADDING;
    const usage = GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST;
    const atlas = device.createTexture({ size: [side, side], format: "rgba32float", usage });
    device.queue.writeTexture({ texture: atlas }, bundle.texture as BufferSource, { bytesPerRow: side * 16 }, [side, side]);
    const entries = [
      ...[1, 2, 3].map((binding) => ({ binding, resource: { buffer: fields } })),
      { binding: 4, resource: { buffer: settings } },
      { binding: 5, resource: atlas.createView() },
    ];
    const group = device.createBindGroup({ layout, entries });
    return new WebgpuSampler(canvas, device, context, pipelines, group, settings, fields, atlas);
  }

  lay({ left, top, width, height, texels }: Patch): void {
    const to = { texture: this.atlas, origin: [left, top] };
    this.device.queue.writeTexture(to, texels as BufferSource, { bytesPerRow: width * 16 }, [width, height]);
  }

  draw(planes: Float32Array, view: View = "frame"): void {
    this.#view = view;
    this.device.queue.writeBuffer(this.fields, 0, planes as BufferSource);
    this.#render(this.context.getCurrentTexture(), PREMULTIPLIED);
  }

  async read(): Promise<Uint8ClampedArray> {
    const { width, height } = this.canvas;
    const row = Math.ceil((width * 4) / 256) * 256; // WebGPU's alignment
    const usage = GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.COPY_SRC;
    const texture = this.device.createTexture({ size: [width, height], format: "rgba8unorm", usage });
    const copy = this.device.createBuffer({ size: row * height, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    this.#render(texture, STRAIGHT, (encoder) =>
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

  #render(target: GPUTexture, alpha: number, then: (encoder: GPUCommandEncoder) => void = () => {}): void {
    const { device } = this;
    device.queue.writeBuffer(this.settings, ALPHA, Uint32Array.of(alpha));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginRenderPass({
      colorAttachments: [{ view: target.createView(), loadOp: "clear", storeOp: "store", clearValue: [0, 0, 0, 0] }],
    });
    pass.setPipeline(this.pipelines[this.#view]);
    pass.setBindGroup(0, this.group);
    pass.draw(3);
    pass.end();
    then(encoder);
    device.queue.submit([encoder.finish()]);
  }
}

/** The shader's settings (frame.wgsl) for the planes of `gather`: whole planes behind one another, scaled already. */
function settingsOf(bundle: Bundle): ArrayBuffer {
  const { image_size: S, frame_size: F, texture_size: T } = bundle.contract;
  const { scale, origin } = geometry(bundle);
  const bytes = new ArrayBuffer(144);
  const [whole, floats, area] = [new Uint32Array(bytes), new Float32Array(bytes), S * S];
  whole.set([F, F, S, S], 0);
  floats.set([scale, scale, (2 * scale) / F, (2 * scale) / F, origin, 0], 4);
  whole.set([STRAIGHT, 1, 0, area, 1, 0, 2 * area, area, 1, 0, 5 * area, area, 1, 0], 10);
  floats.set([1, 0, 1, 0, 1, 0, T + 1, T + 1], 24);
  return bytes;
}
