/** The built-in motion, as bilayer.runtime.motion.track's: the source's own landmarks turn, nod, blink and talk. */

import { POSE_WIDTH } from "../contract";
import { LandmarkError } from "../errors";
import { checkLandmarks, LID_PAIRS, LIP_PAIRS, middle, MOUTH, MOUTH_CORNERS, NUM_LANDMARKS, PARTING } from "./landmarks";

export const CYCLE = 6; // seconds of one round of turn, nod and talk
const [YAW, PITCH, ROLL] = [20, 11, 4]; // degrees at the most
const BLINK = 0.32; // seconds from open to open
const SYLLABLE = 0.26; // seconds
const LIDS_SHUT = 0.95; // of the eye's opening
const LIDS_MEET = 0.8; // of the way down from the upper lid
const MOUTH_OPEN = 0.24; // mouth widths between the inner lips, on top of what the source has
const LIPS_CLOSE = 0.7; // of the gap in the source's own mouth, between syllables

// How far each point stands before the plane of the outer eye corners, in distances between these
const DEPTH = [
  -.55, -.54, -.51, -.45, -.36, -.24, -.10, .02, .06, .02, -.10, -.24, -.36, -.45, -.51, -.54, -.55, // jaw
  -.06, .05, .12, .15, .16, .16, .15, .12, .05, -.06, // brows
  .13, .20, .29, .37, .18, .22, .26, .22, .18, // nose
  .00, .05, .07, .06, .06, .04, .06, .07, .05, .00, .04, .06, // eyes
  .10, .17, .22, .23, .22, .17, .10, .17, .20, .21, .20, .17, // outer lips
  .11, .18, .19, .18, .11, .18, .19, .18, // inner lips
]; // prettier-ignore
const NECK = [0, 0.55, -0.5]; // what the head turns about, right of, below and before the middle of the eyes

const clip = (value: number) => Math.min(Math.max(value, 0), 1);
/** 0 outside of start..stop, 1 in its middle, smooth at both ends. */
const hump = (phase: number, start: number, stop: number) => Math.sin(Math.PI * clip((phase - start) / (stop - start))) ** 2;

/** Poses of any moment of the built-in motion of the source (136,). */
export class DemoMotion {
  readonly #source: Float64Array;
  readonly #face = new Float64Array(POSE_WIDTH); // from the middle of the eyes, along and across the eye line, in its length
  readonly #axis: [number, number]; // the eye line
  readonly #width: number;
  readonly #gap: number;
  readonly #mouth: number;

  constructor(source: ArrayLike<number>) {
    this.#source = checkLandmarks(source);
    const [right, left] = [middle(this.#source, [36]), middle(this.#source, [45])];
    this.#axis = [left[0] - right[0], left[1] - right[1]];
    const [ax, ay] = this.#axis;
    const size = ax * ax + ay * ay;
    if (!(size > 0)) throw new LandmarkError("landmarks: both eyes at one place; expected the 68 points of a face");
    const centre = [(right[0] + left[0]) / 2, (right[1] + left[1]) / 2];
    for (let n = 0; n < NUM_LANDMARKS; n++) {
      const [x, y] = [this.#source[2 * n] - centre[0], this.#source[2 * n + 1] - centre[1]];
      this.#face[2 * n] = (x * ax + y * ay) / size;
      this.#face[2 * n + 1] = (y * ax - x * ay) / size;
    }
    const face = this.#face;
    const [first, last] = MOUTH_CORNERS;
    this.#width = Math.hypot(face[2 * last] - face[2 * first], face[2 * last + 1] - face[2 * first + 1]);
    const gaps = LIP_PAIRS.map(([upper, lower]) => face[2 * lower + 1] - face[2 * upper + 1]);
    this.#gap = Math.max(0, gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length);
    this.#mouth = middle(face, MOUTH)[0];
  }

  /** The pose (136,) `seconds` after the begin of a round. */
  pose(seconds: number): Float32Array {
    const phase = (((seconds / CYCLE) % 1) + 1) % 1;
    const moved = this.#expression(phase);
    const [yaw, pitch, roll] = headAngles(phase);
    const posed = new Float32Array(POSE_WIDTH);
    for (let n = 0; n < NUM_LANDMARKS; n++) {
      let [x, y, z] = [moved[2 * n] - NECK[0], moved[2 * n + 1] - NECK[1], DEPTH[n] - NECK[2]];
      [x, z] = [x * Math.cos(yaw) + z * Math.sin(yaw), z * Math.cos(yaw) - x * Math.sin(yaw)];
      [y, z] = [y * Math.cos(pitch) + z * Math.sin(pitch), z * Math.cos(pitch) - y * Math.sin(pitch)];
      [x, y] = [x * Math.cos(roll) - y * Math.sin(roll), y * Math.cos(roll) + x * Math.sin(roll)];
      const [along, across] = [x + NECK[0] - this.#face[2 * n], y + NECK[1] - this.#face[2 * n + 1]];
      const [ax, ay] = this.#axis;
      posed[2 * n] = this.#source[2 * n] + along * ax - across * ay;
      posed[2 * n + 1] = this.#source[2 * n + 1] + along * ay + across * ax;
    }
    return posed;
  }

  /** The face with its lids and lips moved. */
  #expression(phase: number): Float64Array {
    const face = this.#face;
    const moved = face.slice();
    const half = Math.min(BLINK / CYCLE, 0.1) / 2;
    const closed = LIDS_SHUT * [0.22, 0.6, 0.86].reduce((sum, at) => sum + hump(phase, at - half, at + half), 0);
    for (const [upper, lower] of LID_PAIRS) {
      for (const axis of [0, 1]) {
        const gap = face[2 * lower + axis] - face[2 * upper + axis];
        moved[2 * upper + axis] += closed * LIDS_MEET * gap;
        moved[2 * lower + axis] += closed * (LIDS_MEET - 1) * gap;
      }
    }
    const [talking, openness] = speech(phase);
    const added = talking * (openness * MOUTH_OPEN * this.#width - (1 - openness) * LIPS_CLOSE * this.#gap);
    for (let n = 0; n < NUM_LANDMARKS; n++) moved[2 * n + 1] += added * PARTING[n];
    for (const n of MOUTH) moved[2 * n] -= talking * openness * 0.08 * (face[2 * n] - this.#mouth); // an open one is narrower
    return moved;
  }
}

/** Yaw, pitch and roll in radians. */
function headAngles(phase: number): number[] {
  const turn = hump(phase, 0.02, 0.24) - hump(phase, 0.2, 0.42); // one side, then the other
  const nod = hump(phase, 0.43, 0.53) - 0.5 * hump(phase, 0.5, 0.57) + 0.8 * hump(phase, 0.54, 0.64);
  const sway = hump(phase, 0.66, 0.98); // nobody talks with a still head
  const yaw = YAW * (turn + 0.25 * sway * Math.sin(4 * Math.PI * phase));
  const pitch = PITCH * (nod + 0.2 * sway * Math.sin(10 * Math.PI * phase));
  return [yaw, pitch, ROLL * (0.6 * turn - 0.8 * sway)].map((degrees) => (degrees * Math.PI) / 180);
}

/** How much of the mouth is moving, and how open it is then, 0..1. */
function speech(phase: number): [number, number] {
  const [start, stop] = [0.64, 0.98];
  const inside = clip((phase - start) / (stop - start));
  const ramp = Math.min(1, 6 * inside * (1 - inside));
  const syllables = Math.max(2, Math.round(((stop - start) * CYCLE) / SYLLABLE));
  const loudness = 0.65 + 0.35 * Math.sin(2 * Math.PI * 2.2 * inside + 0.7);
  return [ramp * ramp * (3 - 2 * ramp), Math.sin(Math.PI * syllables * inside) ** 2 * loudness];
}
