/** Whether a driver can be followed well, by the limits of bilayer.runtime.motion.quality. */

import { EYES, middle, NUM_LANDMARKS } from "./landmarks";

const SMALL = 64; // px, the landmarks' larger extent
const DARK = 40; // of 255, the face's mean
const TURNED = 40; // degrees
const YAW_PER_OFFSET = 42; // degrees; Face.yaw of bilayer.runtime.face.found

export type Problem = "lost" | "too small" | "too dark" | "turned";

/** What is wrong with the landmarks (136,) of a picture's face, whose mean `light` is 0..255 where it is known. */
export function problems(landmarks: ArrayLike<number> | null, light: number | null = null): Problem[] {
  if (!landmarks) return ["lost"];
  const found: Problem[] = [];
  const [left, top, right, bottom] = faceBox(landmarks);
  if (Math.max(right - left, bottom - top) < SMALL) found.push("too small");
  if (light !== null && light < DARK) found.push("too dark");
  if (Math.abs(yaw(landmarks)) > TURNED) found.push("turned");
  return found;
}

/** Left, top, right and bottom of the landmarks. */
export function faceBox(landmarks: ArrayLike<number>): [number, number, number, number] {
  const box: [number, number, number, number] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let n = 0; n < 2 * NUM_LANDMARKS; n++) {
    box[n % 2] = Math.min(box[n % 2], landmarks[n]);
    box[2 + (n % 2)] = Math.max(box[2 + (n % 2)], landmarks[n]);
  }
  return box;
}

/** Degrees by which the face is turned to the picture's right, by where the nose's bridge stands between the ears. */
function yaw(face: ArrayLike<number>): number {
  const eyes = EYES.map(([eye]) => middle(face, eye));
  const [x, y] = [eyes[1][0] - eyes[0][0], eyes[1][1] - eyes[0][1]];
  const long = Math.hypot(x, y);
  const [right, bridge, left] = [0, 27, 16].map((n) => (face[2 * n] * x + face[2 * n + 1] * y) / long);
  const half = Math.max(Math.abs(left - right) / 2, 1e-6);
  return YAW_PER_OFFSET * Math.min(Math.max((bridge - (left + right) / 2) / half, -2), 2);
}
