/**
 * Poses without a tracker's trembling, as bilayer.runtime.motion.smoothing: the one-euro filter (Casiez, Roussel, Vogel, CHI
 * 2012), a low-pass whose cutoff rises with the speed, so that a still head stays still and a quick one is not late. Lids and
 * lips have a quicker one in the face's own frame: docs/motion.md.
 */

import { InputError } from "../errors";
import {
  checkLandmarks, type Complex, EYES, LID_PAIRS, LIP_PAIRS, middle, MOUTH, MOUTH_CORNERS, PARTING, RIGID,
} from "./landmarks"; // prettier-ignore

const [LIGHTEST, HEAVIEST] = [8, 0.4]; // Hz, cutoff at rest of amounts just above 0, and of 1
const HEAD_HASTE = 24; // Hz of cutoff more for each half crop a second
const FACE_HASTE = 100; // the same of lids and lips, which go shorter ways
const SPEED_CUTOFF = 2; // Hz, of the speed's own low-pass
const CALM = 0.04; // half crops a second that trembling alone makes: no reason for haste

/** The cutoff in Hz at rest of an amount of smoothing 0..1; infinite for 0, which does not smooth. */
export function restCutoff(amount: number): number {
  if (!(amount >= 0 && amount <= 1)) throw new InputError(`smoothing: expected 0 to 1, found ${amount}`);
  return amount ? LIGHTEST * (HEAVIEST / LIGHTEST) ** amount : Infinity;
}

/** By how many milliseconds the slowest motion is late under an amount of smoothing; quick motion has less. */
export const latencyMs = (amount: number) => 1000 / (2 * Math.PI * restCutoff(amount));

/** The filter, of values that move together: they share one cutoff, that of their speed's root mean square. */
export class OneEuro {
  #values: Float64Array | null = null;
  #speeds = new Float64Array();
  #time = 0;

  /**
   * @param cutoff Hz at rest; Infinity does not smooth
   * @param haste Hz more per unit a second
   * @param speedCutoff Hz, of the speed's own low-pass: the paper's is 1
   * @param calm units a second; of the speed only what is above it makes haste
   */
  constructor(public cutoff: number, public haste: number, readonly speedCutoff = 1, readonly calm = 0) {}

  /** The values, smoothed, `time` in seconds; new ones after `reset`, or when time does not go on, are taken as they are. */
  filter(values: ArrayLike<number>, time: number): Float64Array {
    const step = time - this.#time;
    this.#time = time;
    const past = this.#values;
    if (!past || past.length !== values.length || !(step > 0) || this.cutoff === Infinity) {
      this.#values = Float64Array.from(values);
      this.#speeds = new Float64Array(values.length);
      return this.#values.slice();
    }
    const ease = share(this.speedCutoff, step);
    let energy = 0;
    for (let index = 0; index < values.length; index++) {
      this.#speeds[index] += ease * ((values[index] - past[index]) / step - this.#speeds[index]);
      energy += this.#speeds[index] ** 2;
    }
    const speed = Math.max(Math.sqrt(energy / values.length) - this.calm, 0);
    const taken = share(this.cutoff + this.haste * speed, step);
    for (let index = 0; index < values.length; index++) past[index] += taken * (values[index] - past[index]);
    return past.slice();
  }

  reset(): void {
    this.#values = null;
  }
}

/** How much of the new value a low-pass of one pole takes after `step` seconds. */
const share = (cutoff: number, step: number) => 1 / (1 + 1 / (2 * Math.PI * cutoff * step));

const LID_POINTS = LID_PAIRS.flat();
const LIDS = EYES.map(([eye, corners]) => [eye.filter((n) => LID_POINTS.includes(n)), corners]);
const HEAD = Array.from({ length: 48 }, (_, n) => n).filter((n) => !LID_POINTS.includes(n)); // what is no lid and no lip

/** The poses of one avatar, smoothed frame by frame. */
export class PoseSmoother {
  #amount = 0;
  readonly #rest: Float64Array; // the source's rigid points, less their centre
  readonly #energy: number;
  readonly #down: Complex; // of the mouth, in the face; y points down
  readonly #head = new OneEuro(Infinity, HEAD_HASTE, SPEED_CUTOFF, CALM);
  readonly #eyes = new OneEuro(Infinity, FACE_HASTE, SPEED_CUTOFF, CALM);
  readonly #mouth = new OneEuro(Infinity, FACE_HASTE, SPEED_CUTOFF, CALM);

  /** The avatar's own pose (136,), and how much to smooth: 0..1, none to most. */
  constructor(source: ArrayLike<number>, amount: number) {
    const face = checkLandmarks(source);
    this.#rest = rigid(face);
    this.#energy = this.#rest.reduce((sum, value) => sum + value * value, 0);
    const [first, last] = MOUTH_CORNERS;
    const [x, y] = [face[2 * last] - face[2 * first], face[2 * last + 1] - face[2 * first + 1]];
    const long = Math.max(Math.hypot(x, y), 1e-12);
    this.#down = [-y / long, x / long];
    this.amount = amount;
  }

  get amount(): number {
    return this.#amount;
  }

  set amount(amount: number) {
    const cutoff = restCutoff(amount);
    this.#amount = amount;
    for (const part of [this.#head, this.#eyes, this.#mouth]) part.cutoff = cutoff;
  }

  /** The pose (136,) of a moment in seconds, smoothed; where time does not go on it is taken as it is. */
  pose(pose: ArrayLike<number>, seconds: number): Float32Array {
    const points = Float64Array.from(pose, Math.fround);
    let turn = this.#turn(points);
    const lids = LIDS.flatMap(([lid, corners]) => inside(points, lid, middle(points, corners), turn));
    const mouth = inside(points, MOUTH, middle(points, MOUTH_CORNERS), turn);
    // The chin goes down with the lower lip: that part of the jaw is the mouth's
    const held = points.slice();
    this.#drop(held, turn, -this.#opened(mouth));
    const head = HEAD.flatMap((n) => [held[2 * n], held[2 * n + 1]]);
    const smooth = this.#head.filter([...head, ...middle(points, MOUTH_CORNERS)], seconds);
    const [smoothLids, smoothMouth] = [this.#eyes.filter(lids, seconds), this.#mouth.filter(mouth, seconds)];
    if (!this.#amount) return Float32Array.from(points);
    HEAD.forEach((n, index) => points.set(smooth.subarray(2 * index, 2 * index + 2), 2 * n));
    turn = this.#turn(points);
    this.#drop(points, turn, this.#opened(smoothMouth));
    let at = 0;
    for (const [lid, corners] of LIDS) {
      place(points, lid, middle(points, corners), turn, smoothLids.subarray(2 * at, 2 * (at + lid.length)));
      at += lid.length;
    }
    place(points, MOUTH, smooth.slice(-2), turn, smoothMouth);
    return Float32Array.from(points);
  }

  reset(): void {
    for (const part of [this.#head, this.#eyes, this.#mouth]) part.reset();
  }

  /** The head's turn and size in the picture, as a factor on the source's points. */
  #turn(points: Float64Array): Complex {
    const held = rigid(points);
    let [along, across] = [0, 0];
    for (let n = 0; n < held.length; n += 2) {
      along += this.#rest[n] * held[n] + this.#rest[n + 1] * held[n + 1];
      across += this.#rest[n] * held[n + 1] - this.#rest[n + 1] * held[n];
    }
    const turn: Complex = [along / this.#energy, across / this.#energy];
    return Math.hypot(...turn) > 1e-12 ? turn : [1, 0];
  }

  /** The gap between the inner lips, of the mouth's points in the face. */
  #opened(mouth: ArrayLike<number>): number {
    const gap = (axis: number) =>
      LIP_PAIRS.reduce((sum, [upper, lower]) => sum + mouth[2 * (lower - 48) + axis] - mouth[2 * (upper - 48) + axis], 0);
    return (gap(0) * this.#down[0] + gap(1) * this.#down[1]) / LIP_PAIRS.length;
  }

  /** Move the jaw as lips that part by `opened` do; ears tell the head's turn and are left alone. */
  #drop(points: Float64Array, [a, b]: Complex, opened: number): void {
    const [x, y] = this.#down;
    for (const n of HEAD.filter((point) => !RIGID.includes(point))) {
      points[2 * n] += PARTING[n] * opened * (a * x - b * y);
      points[2 * n + 1] += PARTING[n] * opened * (a * y + b * x);
    }
  }
}

/** The rigid points of a face, less their centre. */
function rigid(face: Float64Array): Float64Array {
  const centre = middle(face, RIGID);
  return Float64Array.from(RIGID.flatMap((n) => [face[2 * n] - centre[0], face[2 * n + 1] - centre[1]]));
}

/** Points less a middle, divided by the head's turn: as they lie in the face. */
function inside(face: Float64Array, points: readonly number[], [x, y]: Iterable<number>, [a, b]: Complex): number[] {
  const size = a * a + b * b;
  return points.flatMap((n) => {
    const [dx, dy] = [face[2 * n] - x, face[2 * n + 1] - y];
    return [(dx * a + dy * b) / size, (dy * a - dx * b) / size];
  });
}

/** The way back, into `face`. */
function place(face: Float64Array, points: readonly number[], [x, y]: Iterable<number>, [a, b]: Complex, own: Float64Array): void {
  points.forEach((n, index) => {
    const [dx, dy] = [own[2 * index], own[2 * index + 1]];
    face[2 * n] = x + a * dx - b * dy;
    face[2 * n + 1] = y + a * dy + b * dx;
  });
}
