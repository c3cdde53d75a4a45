/** The turned square around a face: what a network is shown, and the way back. As bilayer.runtime.face.region. */

import { EYES, middle, NUM_LANDMARKS } from "../motion/landmarks";

export const MARGIN = 1.5; // side of a region over the longer side of the face in it
const FOREHEAD = 0.19; // height of the forehead over the height from chin to brows

/** Pixels with the centre of the top left one at (0, 0); the angle is in radians, clockwise in the picture. */
export interface Region {
  x: number;
  y: number;
  side: number;
  angle: number;
}

export type Picture = HTMLVideoElement | HTMLCanvasElement | ImageBitmap;

export const sizeOf = (picture: Picture): [number, number] =>
  picture instanceof HTMLVideoElement ? [picture.videoWidth, picture.videoHeight] : [picture.width, picture.height];

/** A square cut out of pictures, at a network's size. */
export class Cutter {
  readonly #context: CanvasRenderingContext2D;

  constructor(readonly size: number) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = size;
    this.#context = canvas.getContext("2d", { willReadFrequently: true })!;
  }

  /** The square as the network's input (1, 3, size, size), bytes times `scale` plus `offset`; black outside. */
  cut(picture: Picture, region: Region, scale: number, offset: number): Float32Array {
    const { size } = this;
    const context = this.#context;
    const [cos, sin] = [Math.cos(region.angle) * (size / region.side), Math.sin(region.angle) * (size / region.side)];
    const [x, y] = [region.x + 0.5, region.y + 0.5];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, size, size);
    context.setTransform(cos, -sin, sin, cos, size / 2 - (cos * x + sin * y), size / 2 - (cos * y - sin * x));
    context.imageSmoothingQuality = region.side < 2 * size ? "low" : "high"; // bilinear sampling alone would skip pixels
    context.drawImage(picture, 0, 0);
    const { data } = context.getImageData(0, 0, size, size);
    const area = size * size;
    const planes = new Float32Array(3 * area);
    for (let pixel = 0; pixel < area; pixel++) {
      for (let c = 0; c < 3; c++) planes[c * area + pixel] = data[4 * pixel + c] * scale + offset;
    }
    return planes;
  }
}

/** A point of a cut-out of `size` pixels, in the picture's pixels. */
export function toPicture(region: Region, size: number, x: number, y: number): [number, number] {
  const scale = region.side / size;
  const [cos, sin, half] = [scale * Math.cos(region.angle), scale * Math.sin(region.angle), (size - 1) / 2];
  const [across, down] = [x - half, y - half];
  return [region.x + cos * across - sin * down, region.y + sin * across + cos * down];
}

/** The region in which the mesh finds these landmarks (136,) again. */
export function regionOfLandmarks(face: ArrayLike<number>): Region {
  const [right, left] = EYES.map(([eye]) => middle(face, eye));
  const angle = Math.atan2(left[1] - right[1], left[0] - right[0]);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [low, high] = [[Infinity, Infinity], [-Infinity, -Infinity]];
  for (let n = 0; n < NUM_LANDMARKS; n++) {
    const [x, y] = [face[2 * n], face[2 * n + 1]];
    [x * cos + y * sin, y * cos - x * sin].forEach((value, axis) => {
      low[axis] = Math.min(low[axis], value);
      high[axis] = Math.max(high[axis], value);
    });
  }
  low[1] -= FOREHEAD * (high[1] - low[1]);
  const [x, y] = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  const side = MARGIN * Math.max(high[0] - low[0], high[1] - low[1]);
  return { x: x * cos - y * sin, y: x * sin + y * cos, side, angle };
}
