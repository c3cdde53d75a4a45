/** The frames, one after the other: while the network works on the next one the page draws the last. */

import type { Avatar, PoseSmoother, View } from "../bilayer.js";
import type { Driver } from "./drivers";

/** Milliseconds of the stages of a frame, smoothed, and frames a second. */
export interface Times {
  face: number;
  network: number;
  draw: number;
  rate: number;
}

const FASTEST = 15; // ms between frames, at least: a display shows no more

export class Loop {
  view: View = "frame";
  paused = false;
  readonly times: Times = { face: 0, network: 0, draw: 0, rate: 0 };
  planes: Float32Array | null = null; // of the last frame; null until a face was seen
  #running = true;
  #clock = 0; // seconds of motion, which stand still in a pause
  #before = performance.now();

  constructor(
    readonly avatar: Avatar,
    readonly driver: Driver,
    readonly smoother: PoseSmoother,
    readonly shown: () => void,
    readonly failed: (error: unknown) => void,
  ) {
    this.#run().catch((error) => this.#running && failed(error));
  }

  stop(): void {
    this.#running = false;
  }

  redraw(): void {
    if (this.planes) this.avatar.draw(this.planes, this.view);
  }

  async #run(): Promise<void> {
    let arriving = this.#next();
    for (;;) {
      const planes = await arriving;
      if (!this.#running) return;
      const drawn = performance.now();
      if (planes && !this.paused) {
        const interval = drawn - this.#before;
        if (interval < FASTEST) await new Promise(requestAnimationFrame);
      }
      while (this.#running && (this.paused || document.hidden)) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        this.#before = performance.now();
      }
      const begin = performance.now();
      this.#clock += Math.min((begin - this.#before) / 1000, 0.5);
      arriving = this.#next(); // its planes come when these have been drawn
      arriving.catch(() => {}); // told where they are awaited
      if (planes) {
        this.planes = planes;
        this.avatar.draw(planes, this.view);
        this.#note("draw", performance.now() - begin);
        this.#note("rate", begin - this.#before);
      } else await new Promise(requestAnimationFrame);
      this.shown();
      this.#before = begin;
    }
  }

  async #next(): Promise<Float32Array | null> {
    const pose = await this.driver.pose(this.#clock);
    this.#note("face", this.driver.milliseconds);
    if (!pose) return null;
    const smooth = this.smoother.pose(pose, performance.now() / 1000);
    const begin = performance.now();
    const planes = await this.avatar.infer(smooth);
    this.#note("network", performance.now() - begin);
    return planes;
  }

  #note(stage: keyof Times, milliseconds: number): void {
    const before = this.times[stage];
    this.times[stage] = before ? before + 0.1 * (milliseconds - before) : milliseconds;
  }
}
