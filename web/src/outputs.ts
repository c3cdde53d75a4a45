/** One pose's results of the network, as the contract means them. */

import type { Channels, Contract } from "./contract";

export type Tensors = Record<string, Float32Array>;

/** Planes of S rows and columns behind one another: delta_uv x and y, lf_rgb red, green and blue, seg (ones without). */
export const PLANES = 6;

/** The results in a network's output tensors (1, C, S, S), into one array (6, S, S): scaled, of what the contract names. */
export function gather(tensors: Tensors, contract: Contract, planes: Float32Array): Float32Array {
  const area = contract.image_size ** 2;
  const { delta_uv, lf_rgb, seg } = contract.outputs;
  const put = (result: Channels, plane: number) => {
    const from = tensors[result.tensor].subarray(result.start * area, result.stop * area);
    const to = planes.subarray(plane * area, plane * area + from.length);
    const [scale, offset] = [Math.fround(result.scale), Math.fround(result.offset)];
    if (scale === 1 && offset === 0) to.set(from);
    else for (let index = 0; index < from.length; index++) to[index] = Math.fround(from[index] * scale) + offset;
  };
  put(delta_uv, 0);
  put(lf_rgb, 2);
  if (seg) put(seg, 5);
  else planes.fill(1, 5 * area);
  return planes;
}
