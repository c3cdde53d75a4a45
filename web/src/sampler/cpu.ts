/** The sampler in plain code: where there is no graphics processor, and what the shaders are compared with. */

import type { Bundle } from "../bundle";
import { PADDING } from "../bundle";
import { frameCanvas, geometry, type Sampler, taps, type View } from "./sampler";

export class CpuSampler implements Sampler {
  readonly kind = "cpu";
  readonly canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #image: ImageData;

  constructor(private readonly bundle: Bundle) {
    this.canvas = frameCanvas(bundle);
    this.#context = this.canvas.getContext("2d")!;
    this.#image = this.#context.createImageData(this.canvas.width, this.canvas.height);
  }

  draw(planes: Float32Array, view: View = "frame"): void {
    compose(this.bundle, planes, this.#image.data, view);
    this.#context.putImageData(this.#image, 0, 0);
  }

  async read(): Promise<Uint8ClampedArray> {
    return this.#image.data.slice(); // not from the canvas, which keeps colours multiplied by their alpha
  }

  dispose(): void {}
}

/** A frame (F, F, 4) of the planes (6, S, S), into `out`. */
export function compose(bundle: Bundle, planes: Float32Array, out: Uint8ClampedArray, view: View = "frame"): void {
  const { contract, texture } = bundle;
  const { image_size: S, frame_size: F, texture_size: T } = contract;
  const { scale, origin } = geometry(bundle);
  const [side, area, limit] = [T + PADDING, S * S, T + 1];
  const along = taps(S, F);
  const plain = F === S;
  const [withTexture, withLayer] = [view === "frame" || view === "texture", view === "frame" || view === "layer"];
  const field = (plane: number, i: number, j: number): number => {
    const start = plane * area;
    if (plain) return planes[start + i * S + j];
    const [upper, lower] = [start + along.first[i] * S, start + along.second[i] * S];
    const [left, right, across] = [along.first[j], along.second[j], along.weight[j]];
    const a = planes[upper + left] + across * (planes[upper + right] - planes[upper + left]);
    const b = planes[lower + left] + across * (planes[lower + right] - planes[lower + left]);
    return a + along.weight[i] * (b - a);
  };
  const clamp = (value: number, top: number) => (value > 0 ? (value < top ? value : top) : 0); // NaN is 0
  const step = (scale * 2) / F;
  for (let i = 0, pixel = 0; i < F; i++) {
    const row = (i + 0.5) * step + origin;
    for (let j = 0; j < F; j++, pixel += 4) {
      const [u, v] = [field(0, i, j), field(1, i, j)];
      if (view === "warp") {
        out[pixel] = Math.floor(clamp((u + (2 * j + 1) / F) * 127.5, 255));
        out[pixel + 1] = Math.floor(clamp((v + (2 * i + 1) / F) * 127.5, 255));
        out[pixel + 2] = 128;
      } else {
        const x = clamp((j + 0.5) * step + origin + u * scale, limit);
        const y = clamp(row + v * scale, limit);
        const [left, top] = [Math.floor(x), Math.floor(y)];
        const [right, down] = [x - left, y - top];
        const near = (top * side + left) * 4;
        const far = near + side * 4;
        for (let c = 0; c < 3; c++) {
          let colour = withLayer ? field(2 + c, i, j) : 0;
          if (withTexture) {
            const a = texture[near + c] + down * (texture[far + c] - texture[near + c]);
            const b = texture[near + 4 + c] + down * (texture[far + 4 + c] - texture[near + 4 + c]);
            colour += a + right * (b - a);
          }
          out[pixel + c] = Math.floor(clamp((colour + 1) * 127.5, 255)); // the fraction is cut off
        }
      }
      out[pixel + 3] = view === "frame" ? Math.floor(clamp(field(5, i, j), 1) * 255 + 0.5) : 255;
    }
  }
}
