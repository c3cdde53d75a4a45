/** The 68 landmarks in iBUG's order, x0, y0, x1, ...: which are what. As in bilayer.runtime.face and .motion. */

import { POSE_WIDTH } from "../contract";
import { LandmarkError } from "../errors";

export const NUM_LANDMARKS = 68;
/** A point, or a turn and a size: x + iy. */
export type Complex = readonly [number, number];
// Points that only the head moves: ears, nose, corners of the eyes
export const RIGID = [0, 1, 15, 16, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45];
// The points of each eye, and its corners
export const EYES = [
  [[36, 37, 38, 39, 40, 41], [36, 39]],
  [[42, 43, 44, 45, 46, 47], [42, 45]],
];
export const LID_PAIRS = [[37, 41], [38, 40], [43, 47], [44, 46]]; // upper and lower points that touch when eyes close
export const LIP_PAIRS = [[61, 67], [62, 66], [63, 65]]; // when lips close
export const MOUTH = Array.from({ length: 20 }, (_, index) => 48 + index);
export const MOUTH_CORNERS = [48, 54];

/** How far each point goes down the face as the lips part by 1: the chin follows the lower lip, ears stay. */
export const PARTING = new Float64Array(NUM_LANDMARKS);
for (let jaw = 0; jaw < 17; jaw++) PARTING[jaw] = 0.8 * Math.sin((Math.PI * jaw) / 16) ** 2;
for (const [points, share] of [
  [[55, 59], 0.65],
  [[56, 57, 58, 65, 66, 67], 0.9],
  [[48, 54, 60, 64], 0.2], // corners of the mouth
  [[50, 51, 52, 61, 62, 63], -0.1],
] as const) {
  for (const point of points) PARTING[point] = share;
}

/** The numbers of a face in float32's precision; throws a LandmarkError at another count or what is not finite. */
export function checkLandmarks(points: ArrayLike<number>, name = "landmarks"): Float64Array {
  if (points.length !== POSE_WIDTH) throw new LandmarkError(`${name}: expected 68 points, found ${points.length / 2}`);
  const exact = Float64Array.from(points, Math.fround);
  const bad = exact.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new LandmarkError(`${name}: point ${bad >> 1} is not finite`);
  return exact;
}

/** The middle of some of the points. */
export function middle(face: ArrayLike<number>, points: readonly number[]): [number, number] {
  let [x, y] = [0, 0];
  for (const n of points) {
    x += face[2 * n];
    y += face[2 * n + 1];
  }
  return [x / points.length, y / points.length];
}

/** The published crop in which the network saw its training faces: the driver's pixels as a pose in -1..1. */
export function cropPose(face: ArrayLike<number>): Float32Array {
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (let at = 0; at < POSE_WIDTH; at++) {
    low[at % 2] = Math.min(low[at % 2], face[at]);
    high[at % 2] = Math.max(high[at % 2], face[at]);
  }
  const half = Math.trunc(Math.max(high[0] - low[0], high[1] - low[1]));
  if (!(half >= 1 && half <= 1 << 14)) throw new LandmarkError(`landmarks: span ${half} pixels, expected 1 to ${1 << 14}`);
  const even = (value: number) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));
  const origin = [even((low[0] + high[0]) / 2) - half, even((low[1] + high[1]) / 2) - Math.floor(half / 6) - half];
  return Float32Array.from({ length: POSE_WIDTH }, (_, at) => (face[at] - origin[at % 2]) / half - 1);
}
