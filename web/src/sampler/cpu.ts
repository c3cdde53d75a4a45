/** The sampler in plain code: where there is no graphics processor, and what the shaders are compared with. */

import type { Bundle } from "../bundle";
import { PADDING } from "../contract";
import type { Patch } from "../lids";
import { PLANES } from "../outputs";
import { frameCanvas, geometry, type Sampler, taps, type View } from "./sampler";

export class CpuSampler implements Sampler {
  readonly kind = "cpu";
  readonly canvas: HTMLCanvasElement;
  readonly lost = new Promise<void>(() => {}); // never
  readonly #context: CanvasRenderingContext2D;
  readonly #image: ImageData;
  readonly #bundle: Bundle;

  constructor(bundle: Bundle) {
    this.#bundle = { ...bundle, texture: bundle.texture.slice() }; // which is written to
    this.canvas = frameCanvas(bundle);
    this.#context = this.canvas.getContext("2d")!;
    this.#image = this.#context.createImageData(this.canvas.width, this.canvas.height);
  }

  lay({ left, top, width, height, texels }: Patch): void {
    const { contract, texture } = this.#bundle;
    for (let row = 0; row < height; row++) {
      const part = texels.subarray(row * width * 4, (row + 1) * width * 4);
      texture.set(part, ((top + row) * (contract.texture_size + PADDING) + left) * 4);
    }
  }

  draw(planes: Float32Array, view: View = "frame"): void {
    compose(this.#bundle, planes, this.#image.data, view);
    this.#context.putImageData(this.#image, 0, 0);
  }

  async read(): Promise<Uint8ClampedArray> {
    return this.#image.data.slice(); // not from the canvas, which keeps colours multiplied by their alpha
  }

  dispose(): void {}
}

const clamp = (value: number, top: number) => (value > 0 ? (value < top ? value : top) : 0); // NaN is 0

/** A frame (F, F, 4) of the planes (6, S, S), into `out`. */
export function compose(bundle: Bundle, planes: Float32Array, out: Uint8ClampedArray, view: View = "frame"): void {
  const { contract, texture } = bundle;
  const { image_size: S, frame_size: F, texture_size: T } = contract;
  const fields = F === S ? planes : resized(planes, S, F); // (6, F, F)
  const area = F * F;
  if (view === "warp") return warpColours(fields, F, out);
  const { scale, origin } = geometry(bundle);
  const [side, limit, step] = [4 * (T + PADDING), T + 1, (scale * 2) / F];
  const [withTexture, withLayer] = [view === "layer" ? 0 : 1, view === "texture" ? 0 : 1];
  for (let i = 0, n = 0, byte = 0; i < F; i++) {
    const row = (i + 0.5) * step + origin;
    for (let j = 0; j < F; j++, n++, byte += 4) {
      const x = clamp((j + 0.5) * step + origin + fields[n] * scale, limit);
      const y = clamp(row + fields[area + n] * scale, limit);
      const left = x | 0;
      const top = y | 0;
      const right = x - left;
      const down = y - top;
      const near = top * side + 4 * left;
      const far = near + side;
      for (let c = 0; c < 3; c++) {
        const a = texture[near + c] + down * (texture[far + c] - texture[near + c]);
        const b = texture[near + 4 + c] + down * (texture[far + 4 + c] - texture[near + 4 + c]);
        const colour = withTexture * (a + right * (b - a)) + (withLayer && fields[(2 + c) * area + n]);
        out[byte + c] = clamp((colour + 1) * 127.5, 255) | 0; // the fraction is cut off
      }
      out[byte + 3] = view === "frame" ? (clamp(fields[5 * area + n], 1) * 255 + 0.5) | 0 : 255;
    }
  }
}

/** Where each pixel looks: x as red, y as green. */
function warpColours(fields: Float32Array, F: number, out: Uint8ClampedArray): void {
  for (let i = 0, n = 0; i < F; i++) {
    for (let j = 0; j < F; j++, n++) {
      out[4 * n] = clamp((fields[n] + (2 * j + 1) / F) * 127.5, 255) | 0;
      out[4 * n + 1] = clamp((fields[F * F + n] + (2 * i + 1) / F) * 127.5, 255) | 0;
      out[4 * n + 2] = 128;
      out[4 * n + 3] = 255;
    }
  }
}

/** Planes (6, S, S) at the frame's size (6, F, F): along the rows, then down the columns. */
function resized(planes: Float32Array, S: number, F: number): Float32Array {
  const { first, second, weight } = taps(S, F);
  const wide = new Float32Array(PLANES * S * F);
  for (let row = 0, n = 0; row < PLANES * S; row++) {
    const start = row * S;
    for (let j = 0; j < F; j++, n++) {
      const value = planes[start + first[j]];
      wide[n] = value + weight[j] * (planes[start + second[j]] - value);
    }
  }
  const result = new Float32Array(PLANES * F * F);
  for (let plane = 0, n = 0; plane < PLANES; plane++) {
    for (let i = 0; i < F; i++) {
      const [upper, lower, part] = [(plane * S + first[i]) * F, (plane * S + second[i]) * F, weight[i]];
      for (let j = 0; j < F; j++, n++) result[n] = wide[upper + j] + part * (wide[lower + j] - wide[upper + j]);
    }
  }
  return result;
}
