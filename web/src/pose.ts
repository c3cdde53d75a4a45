/** Pose vectors as an avatar's network wants them: 68 landmarks as x0, y0, x1, ..., -1..1 across the crop, not clipped. */

import { POSE_WIDTH } from "./contract";
import { LandmarkError } from "./errors";

const FREQUENCY = Math.fround(Math.PI);

/** A pose (136,) as the network's input (272 harmonics,): all sines, then all cosines, frequencies fastest. */
export function encodePose(pose: ArrayLike<number>, harmonics: number): Float32Array {
  const exact = checkPose(pose);
  if (harmonics === 0) return exact;
  const encoded = new Float32Array(2 * POSE_WIDTH * harmonics);
  for (let c = 0; c < POSE_WIDTH; c++) {
    for (let k = 0; k < harmonics; k++) {
      const phase = Math.fround(exact[c] * Math.fround(FREQUENCY * 2 ** k));
      encoded[c * harmonics + k] = Math.sin(phase);
      encoded[(POSE_WIDTH + c) * harmonics + k] = Math.cos(phase);
    }
  }
  return encoded;
}

/** The numbers in float32; throws a LandmarkError at another count, NaN or infinite values. */
export function checkPose(pose: ArrayLike<number>): Float32Array {
  if (pose.length !== POSE_WIDTH) throw new LandmarkError(`pose: expected 136 numbers, found ${pose.length}`);
  const exact = Float32Array.from(pose);
  const bad = exact.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new LandmarkError(`pose: number ${bad} is not finite`);
  return exact;
}
