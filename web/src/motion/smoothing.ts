/**
 * The one-euro filter (Casiez, Roussel, Vogel, CHI 2012): a low-pass whose cutoff rises with the speed, so that a still
 * head stays still and a quick one is not late. Its latency at rest is about 1 / (2 pi cutoff) seconds.
 */

const SPEED_CUTOFF = 1; // Hz, of the speed's own low-pass: the paper's

export class OneEuro {
  #values: Float64Array | null = null;
  #speeds = new Float64Array();
  #time = 0;

  /**
   * @param cutoff Hz at rest; Infinity does not smooth
   * @param haste Hz more per unit a second
   */
  constructor(public cutoff: number, public haste: number) {}

  /** The values, smoothed, `time` in seconds; new ones after `reset`, or when time does not go on, are taken as they are. */
  filter(values: ArrayLike<number>, time: number): Float32Array {
    const step = time - this.#time;
    const past = this.#values;
    if (!past || past.length !== values.length || !(step > 0) || this.cutoff === Infinity) {
      this.#values = Float64Array.from(values);
      this.#speeds = new Float64Array(values.length);
    } else {
      const ease = share(SPEED_CUTOFF, step);
      for (let index = 0; index < values.length; index++) {
        this.#speeds[index] += ease * ((values[index] - past[index]) / step - this.#speeds[index]);
        past[index] += share(this.cutoff + this.haste * Math.abs(this.#speeds[index]), step) * (values[index] - past[index]);
      }
    }
    this.#time = time;
    return Float32Array.from(this.#values!);
  }

  reset(): void {
    this.#values = null;
  }
}

/** How much of the new value a low-pass of one pole takes after `step` seconds. */
const share = (cutoff: number, step: number) => 1 / (1 + 1 / (2 * Math.PI * cutoff * step));
