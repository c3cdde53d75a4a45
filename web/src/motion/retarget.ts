/**
 * A driver's motion on another person's landmarks, so that the avatar keeps its own face: the formulae of docs/motion.md,
 * as bilayer.runtime.motion.retarget has them. Points are complex numbers x + iy, in arrays x0, y0, x1, ...
 */

import { POSE_WIDTH } from "../contract";
import { InputError, LandmarkError } from "../errors";
import {
  checkLandmarks, type Complex, cropPose, EYES, LID_PAIRS, LIP_PAIRS, middle, MOUTH, MOUTH_CORNERS, NUM_LANDMARKS,
  PARTING, RIGID,
} from "./landmarks"; // prettier-ignore

export type Mode = "relative" | "procrustes" | "absolute";

/** How much of the driver's motion is taken over: 1 all of it, 0 none. */
export interface Gains {
  head: number; // turns, nods, travel
  mouth: number; // lips against the mouth's corners, and the jaw with them
  eyes: number; // lids against the eyes' corners
}

const SHUT = 0.08; // eye widths; between lids nearer than this there is no opening to compare
const FLATTEST = 0.05; // width over length, by deviations: points that are flatter lie on a line
const MAX_GAIN = 4; // times; lids and lips move no further than this beyond what the faces' sizes ask for
const ALL = Array.from({ length: NUM_LANDMARKS }, (_, index) => index);

const times = ([a, b]: Complex, [c, d]: Complex): Complex => [a * c - b * d, a * d + b * c];
const length = ([a, b]: Complex) => Math.hypot(a, b);
const at = (face: Float64Array, n: number): Complex => [face[2 * n], face[2 * n + 1]];
const between = (face: Float64Array, from: number, to: number): Complex =>
  [face[2 * to] - face[2 * from], face[2 * to + 1] - face[2 * from + 1]]; // prettier-ignore

/** One source, driven frame by frame; the first frame is the reference unless one is given. */
export class Retargeter {
  gains: Gains = { head: 1, mouth: 1, eyes: 1 };
  readonly #source: Float64Array;
  #transfer: Transfer | null = null;

  constructor(source: ArrayLike<number>, readonly mode: Mode = "relative", reference?: ArrayLike<number>) {
    if (!["relative", "procrustes", "absolute"].includes(mode)) {
      throw new InputError(`mode: expected relative, procrustes or absolute, found ${mode}`);
    }
    this.#source = checkFace(source, "source");
    if (reference) this.#refer(checkFace(reference, "reference"));
  }

  /** Landmarks (136,) of the driver's frame -> the avatar's pose (136,); in mode "absolute" they must be in pixels. */
  pose(driver: ArrayLike<number>): Float32Array {
    const points = checkLandmarks(driver, "driver");
    checkIsFace(points, "driver");
    if (this.mode === "absolute") return cropPose(points);
    if (!this.#transfer) this.#refer(checkFace(points, "driver"));
    return this.#transfer!.move(points, this.gains);
  }

  /** Take the next frame as the reference. */
  recentre(): void {
    this.#transfer = null;
  }

  #refer(reference: Float64Array): void {
    if (this.mode !== "absolute") this.#transfer = new Transfer(this.#source, reference, this.mode === "procrustes");
  }
}

/** The map from a driver's frames to the source's, for a fixed reference. */
class Transfer {
  readonly #place: Float64Array; // the source, less its centre
  readonly #centre: Complex;
  readonly #reference: Float64Array; // less its centre
  readonly #onto: Complex;
  readonly #travel: Complex;
  readonly #lids: Complex[]; // what to multiply the moves of each lid's point with
  readonly #lips: number;
  readonly #down: Complex; // of the mouth; y points down
  readonly #leastGaps: number[];
  readonly #parted: number;

  constructor(readonly source: Float64Array, reference: Float64Array, procrustes: boolean) {
    this.#place = less(source, middle(source, RIGID));
    this.#centre = middle(reference, RIGID);
    this.#reference = less(reference, this.#centre);
    this.#onto = similarity(less(reference, middle(reference, ALL)), less(source, middle(source, ALL)), ALL);
    if (length(this.#onto) <= (1e-6 * extent(this.#place, ALL)) / extent(this.#reference, ALL)) {
      throw new LandmarkError("landmarks: no turn brings the driver's points near the source's; expected two faces");
    }
    // Where the head goes: as in the driver's picture, or along the driver's own axes
    this.#travel = procrustes ? this.#onto : [length(this.#onto), 0];
    const laid = scaled(this.#reference, this.#onto); // the reference on the source
    this.#lids = lidGains(this.#place, laid);
    const width = (face: Float64Array) => length(between(face, MOUTH_CORNERS[0], MOUTH_CORNERS[1]));
    this.#lips = Math.min(width(this.#place) / Math.max(width(laid), 1e-12), MAX_GAIN);
    const across = between(this.#place, MOUTH_CORNERS[0], MOUTH_CORNERS[1]);
    const long = Math.max(length(across), 1e-12);
    this.#down = [-across[1] / long, across[0] / long];
    const gaps = this.#gaps(this.#place);
    this.#leastGaps = gaps.map((gap) => Math.min(gap, 0)); // a noisy source may have its lips crossed already
    const driven = this.#gaps(scaled(laid, [this.#lips, 0]));
    this.#parted = procrustes ? mean(driven.map((gap, index) => gap - gaps[index])) : 0;
  }

  /** The source's points for the driver's. */
  move(frame: Float64Array, gains: Gains): Float32Array {
    const centre = middle(frame, RIGID);
    const held = less(frame, centre);
    let head = similarity(this.#reference, held, RIGID);
    if (!(length(head) > 1e-12)) head = [1, 0]; // a frame without extent has no size to follow
    const size = head[0] ** 2 + head[1] ** 2;
    const upright = scaled(held, [head[0] / size, -head[1] / size]);
    // What is left without the head's turn and size in the picture: expression, and turns out of the picture
    const moves = scaled(upright.map((value, index) => value - this.#reference[index]), this.#onto);
    const shaped = this.#shaped(moves, gains);
    const travel = times(this.#travel, [centre[0] - this.#centre[0], centre[1] - this.#centre[1]]);
    const turn = gains.head === 1 ? head : power(head, gains.head);
    const posed = new Float32Array(POSE_WIDTH);
    for (let n = 0; n < NUM_LANDMARKS; n++) {
      const place = times([turn[0] - 1, turn[1]], at(this.#place, n));
      const moved = times(turn, at(shaped, n));
      for (const axis of [0, 1]) {
        posed[2 * n + axis] = this.source[2 * n + axis] + (place[axis] + moved[axis] + gains.head * travel[axis]);
      }
    }
    return posed;
  }

  /** The driver's points' moves, made those of the source's eyes and mouth. */
  #shaped(moves: Float64Array, gains: Gains): Float64Array {
    // The jaw goes with the mouth where that moves more or less than the head
    const opened = (gains.mouth - gains.head) * this.#lips * mean(this.#gaps(moves));
    const shaped = moves.map((value, index) => {
      const n = index >> 1;
      const jaw = n < 17 ? opened : 0;
      return gains.head * value + this.#down[index % 2] * PARTING[n] * (this.#parted + jaw);
    });
    const apart = (points: readonly number[], corners: readonly number[], factor: (n: number) => Complex) => {
      const carried = middle(moves, corners);
      for (const n of points) {
        const own = times(factor(n), [moves[2 * n] - carried[0], moves[2 * n + 1] - carried[1]]);
        for (const axis of [0, 1]) shaped[2 * n + axis] = gains.head * carried[axis] + own[axis];
      }
    };
    for (const [points, corners] of EYES) apart(points, corners, (n) => times([gains.eyes, 0], this.#lids[n]));
    for (const n of EYES.flatMap(([, corners]) => corners)) for (const axis of [0, 1]) shaped[2 * n + axis] = gains.head * moves[2 * n + axis];
    apart(MOUTH, MOUTH_CORNERS, () => [gains.mouth * this.#lips, 0]);
    for (const n of MOUTH) {
      for (const axis of [0, 1]) shaped[2 * n + axis] += this.#down[axis] * PARTING[n] * this.#parted;
    }
    const gaps = this.#gaps(this.#place.map((value, index) => value + shaped[index]));
    LIP_PAIRS.forEach(([upper, lower], index) => {
      const missing = Math.max(this.#leastGaps[index] - gaps[index], 0) / 2;
      for (const axis of [0, 1]) {
        shaped[2 * upper + axis] -= this.#down[axis] * missing;
        shaped[2 * lower + axis] += this.#down[axis] * missing;
      }
    });
    return shaped;
  }

  /** The gaps between the inner lips along the mouth's own down; negative where they cross. */
  #gaps(face: Float64Array): number[] {
    return LIP_PAIRS.map(([upper, lower]) => {
      const [x, y] = between(face, upper, lower);
      return x * this.#down[0] + y * this.#down[1];
    });
  }
}

/** Throws where points lie in one place or on one line, flatter than a face is: runtime/face/crop.py. */
function checkIsFace(points: Float64Array, name: string): void {
  const [x, y] = middle(points, ALL);
  let [across, down, both] = [0, 0, 0];
  for (const n of ALL) {
    const [right, below] = [points[2 * n] - x, points[2 * n + 1] - y];
    across += right * right;
    down += below * below;
    both += right * below;
  }
  if (across * down - both * both > FLATTEST ** 2 * (across + down) ** 2) return;
  const where = ALL.some((n) => points[2 * n] !== points[0] || points[2 * n + 1] !== points[1]) ? "on one line" : "in one place";
  throw new LandmarkError(`${name}: all landmarks ${where}; expected a face: find its points anew`);
}

function checkFace(landmarks: ArrayLike<number>, name: string): Float64Array {
  const face = checkLandmarks(landmarks, name);
  checkIsFace(face, name);
  const largest = Math.max(...ALL.map((n) => length(at(face, n))));
  if (Math.min(extent(face, ALL), extent(face, RIGID)) <= 1e-6 * largest) {
    throw new LandmarkError(`${name}: all landmarks in one place; expected a face: find its points anew`);
  }
  return face;
}

/** By how much the points' distances from their middle differ. */
function extent(face: Float64Array, points: readonly number[]): number {
  const centre = middle(face, points);
  const distances = points.map((n) => Math.hypot(face[2 * n] - centre[0], face[2 * n + 1] - centre[1]));
  return Math.max(...distances) - Math.min(...distances);
}

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const less = (face: Float64Array, centre: Complex) => face.map((value, index) => value - centre[index % 2]);
const power = (z: Complex, exponent: number): Complex => {
  const [size, angle] = [length(z) ** exponent, Math.atan2(z[1], z[0]) * exponent];
  return [size * Math.cos(angle), size * Math.sin(angle)];
};

function scaled(face: Float64Array, factor: Complex): Float64Array {
  const result = new Float64Array(face.length);
  for (let n = 0; n < NUM_LANDMARKS; n++) result.set(times(factor, at(face, n)), 2 * n);
  return result;
}

/** The factor that brings centred points nearest to centred targets (Umeyama 1991, in the plane without reflections). */
function similarity(points: Float64Array, targets: Float64Array, which: readonly number[]): Complex {
  let [along, across, size] = [0, 0, 0];
  for (const n of which) {
    const [[px, py], [tx, ty]] = [at(points, n), at(targets, n)];
    along += px * tx + py * ty;
    across += px * ty - py * tx;
    size += px * px + py * py;
  }
  return [along / size, across / size];
}

/** What to multiply the moves of each point with, so that eyes close in proportion to their opening. */
function lidGains(source: Float64Array, laid: Float64Array): Complex[] {
  const gains: Complex[] = ALL.map(() => [1, 0]);
  LID_PAIRS.forEach(([upper, lower], index) => {
    const [right, left] = EYES[index >> 1][1];
    const [own, driven] = [between(source, upper, lower), between(laid, upper, lower)];
    if (length(driven) <= SHUT * length(between(laid, right, left))) return;
    const size = driven[0] ** 2 + driven[1] ** 2;
    const ratio = times(own, [driven[0] / size, -driven[1] / size]);
    const limit = Math.min(1, MAX_GAIN / Math.max(length(ratio), 1e-12));
    gains[upper] = gains[lower] = times(ratio, [limit, 0]);
  });
  return gains;
}
