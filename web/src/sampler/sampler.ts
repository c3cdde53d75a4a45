/** What draws a frame: the texture, warped by delta_uv, plus the low-frequency layer, masked. docs/bundle.md, "The frame". */

import type { Bundle } from "../bundle";
import type { Patch } from "../lids";
import { PLANES } from "../outputs";
import { CpuSampler } from "./cpu";
import { WebglSampler } from "./webgl";
import { WebgpuSampler } from "./webgpu";

/** What of a frame is drawn: all of it, the texture as the warp brings it, the layer over it, or where pixels look. */
export const VIEWS = ["frame", "texture", "layer", "warp"] as const;
export type View = (typeof VIEWS)[number];

export const SAMPLERS = ["webgpu", "webgl2", "cpu"] as const;
export type SamplerKind = (typeof SAMPLERS)[number];

export interface Sampler {
  readonly kind: SamplerKind;
  readonly canvas: HTMLCanvasElement; // shows the last frame, transparent where the person is not
  /** Kept when it can draw no more: its graphics processor was reset or went away, or `dispose` was called. */
  readonly lost: Promise<void>;
  /** Lays texels into the texture that it draws of, which is the bundle's own at first. */
  lay(patch: Patch): void;
  /** Draws the frame of the planes (6, S, S) of `gather`. */
  draw(planes: Float32Array, view?: View): void;
  /** The last frame's RGBA bytes, row by row, straight colours. */
  read(): Promise<Uint8ClampedArray>;
  dispose(): void;
}

/** The sampler of one kind; null where the browser does not have it. */
export async function openSampler(kind: SamplerKind, bundle: Bundle, software = false): Promise<Sampler | null> {
  if (kind === "webgpu") return WebgpuSampler.open(bundle, software);
  return kind === "webgl2" ? WebglSampler.open(bundle, software) : new CpuSampler(bundle);
}

/** The quickest sampler that there is: on a graphics processor, else in plain code, which beats an emulated one. */
export async function bestSampler(bundle: Bundle): Promise<Sampler> {
  for (const kind of SAMPLERS) {
    try {
      const sampler = await openSampler(kind, bundle);
      sampler?.draw(new Float32Array(PLANES * bundle.contract.image_size ** 2));
      await sampler?.read(); // a broken driver shows here, while there is another way
      if (sampler) return sampler;
    } catch {
      // the next kind
    }
  }
  throw new Error("unreachable: the last kind is always there");
}

/** Between which two of `size` values each of `frame` pixels lies, and the second's weight: runtime/sampler/resize.py. */
export function taps(size: number, frame: number): { first: Int32Array; second: Int32Array; weight: Float32Array } {
  const [first, second, weight] = [new Int32Array(frame), new Int32Array(frame), new Float32Array(frame)];
  for (let pixel = 0; pixel < frame; pixel++) {
    const place = Math.min(Math.max((2 * pixel + 1) * size - frame, 0), 2 * frame * (size - 1));
    first[pixel] = Math.floor(place / (2 * frame));
    const rest = place - first[pixel] * 2 * frame;
    second[pixel] = first[pixel] + (rest > 0 ? 1 : 0);
    weight[pixel] = rest / (2 * frame);
  }
  return { first, second, weight };
}

/** Texels of the packed texture in one unit of u or v, and where -1 lies. */
export function geometry(bundle: Bundle): { scale: number; origin: number } {
  const { texture_size: T, align_corners } = bundle.contract;
  return align_corners ? { scale: (T - 1) / 2, origin: 1 } : { scale: T / 2, origin: 0.5 };
}

export function frameCanvas(bundle: Bundle): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = bundle.contract.frame_size;
  return canvas;
}
