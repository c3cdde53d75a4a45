/** Landmark anchors: the warp is moved so that landmarks lie where the pose has them. docs/bundle.md, "The anchors". */

import type { Contract } from "./contract";

const GRID = 32; // tiles a side: runtime/anchors/mover.py
const FAR = 1e6; // of -1..1: what is this far away moves nothing of the frame, and its square is no overflow

/** Moves the warps of an avatar's poses, in place. */
export class WarpMover {
  readonly #across: Float64Array; // (N, GRID) of the landmarks, and so on: nothing is allocated for a frame
  readonly #down: Float64Array;
  readonly #kernel: Float64Array; // (N, N)
  readonly #places: Float64Array; // (N, 2) of the landmarks in the pose
  readonly #weights: Float64Array; // (2, N)
  readonly #field = new Float32Array(2 * GRID * GRID);
  readonly #taps: Taps;

  private constructor(private readonly anchors: NonNullable<Contract["anchors"]>, private readonly size: number) {
    const count = anchors.points.length;
    this.#across = new Float64Array(count * GRID);
    this.#down = new Float64Array(count * GRID);
    this.#kernel = new Float64Array(count * count);
    this.#places = new Float64Array(count * 2);
    this.#weights = new Float64Array(2 * count);
    this.#taps = resizing(size);
  }

  /** Null where the network's warp is taken as it is. */
  static of({ anchors, image_size }: Contract): WarpMover | null {
    return anchors ? new WarpMover(anchors, image_size) : null;
  }

  /**
   * Moves the warp in the first two planes (6, S, S) that the network gave for a pose (136,); gives the planes. What is
   * not finite moves nothing.
   */
  move(planes: Float32Array, pose: ArrayLike<number>): Float32Array {
    this.#solve(planes, pose);
    this.#sum();
    this.#add(planes);
    return planes;
  }

  /** What each landmark moves: (K + R) w = e. */
  #solve(planes: Float32Array, pose: ArrayLike<number>): void {
    const { limit, points, reach } = this.anchors;
    const count = points.length;
    points.forEach(({ landmark, x, y }, index) => {
      const [right, down] = [2 * landmark, 2 * landmark + 1].map((at) => held(pose[at] + 1 / this.size));
      const [u, v] = lookUp(planes, this.size, right, down);
      const [across, along] = [x - u, y - v];
      const finite = Number.isFinite(across) && Number.isFinite(along);
      const scale = finite ? limit / Math.max(Math.hypot(across, along), limit) : 0;
      this.#places.set([right, down], 2 * index);
      this.#weights[index] = finite ? across * scale : 0;
      this.#weights[count + index] = finite ? along * scale : 0;
    });
    const [kernel, places] = [this.#kernel, this.#places];
    for (let i = 0; i < count; i++) {
      for (let j = 0; j < i; j++) {
        const [x, y] = [places[2 * i] - places[2 * j], places[2 * i + 1] - places[2 * j + 1]];
        kernel[i * count + j] = Math.exp((-0.5 / reach ** 2) * (x * x + y * y));
      }
      kernel[i * count + i] = 1 + points[i].ridge;
    }
    choleskySolve(kernel, count, this.#weights);
  }

  /** The sum over landmarks at the centres of tiles; a Gaussian of two coordinates is the product of one in each. */
  #sum(): void {
    const { points, reach } = this.anchors;
    const count = points.length;
    const [across, down, field] = [this.#across, this.#down, this.#field];
    for (let index = 0; index < count; index++) {
      for (let tile = 0; tile < GRID; tile++) {
        const centre = (2 * tile + 1) / GRID - 1;
        across[index * GRID + tile] = Math.exp((-0.5 / reach ** 2) * (centre - this.#places[2 * index]) ** 2);
        down[index * GRID + tile] = Math.exp((-0.5 / reach ** 2) * (centre - this.#places[2 * index + 1]) ** 2);
      }
    }
    const line = new Float64Array(GRID);
    for (let axis = 0; axis < 2; axis++) {
      for (let row = 0; row < GRID; row++) {
        line.fill(0);
        for (let index = 0; index < count; index++) {
          const weight = this.#weights[axis * count + index] * down[index * GRID + row];
          for (let column = 0; column < GRID; column++) line[column] += weight * across[index * GRID + column];
        }
        field.set(line, (axis * GRID + row) * GRID);
      }
    }
  }

  /** The field, resized as planes are, on top of the warp. */
  #add(planes: Float32Array): void {
    const [size, { first, second, weight }] = [this.size, this.#taps];
    const rows = new Float32Array(GRID);
    for (let axis = 0; axis < 2; axis++) {
      for (let i = 0; i < size; i++) {
        const [top, bottom] = [(axis * GRID + first[i]) * GRID, (axis * GRID + second[i]) * GRID];
        for (let column = 0; column < GRID; column++) {
          rows[column] = this.#field[top + column] + weight[i] * (this.#field[bottom + column] - this.#field[top + column]);
        }
        const from = (axis * size + i) * size;
        for (let j = 0; j < size; j++) planes[from + j] += rows[first[j]] + weight[j] * (rows[second[j]] - rows[first[j]]);
      }
    }
  }
}

/** A landmark's coordinate, far away where it is none. */
function held(at: number): number {
  return Number.isNaN(at) ? FAR : Math.min(Math.max(at, -FAR), FAR);
}

interface Taps {
  first: Int32Array;
  second: Int32Array;
  weight: Float32Array; // the second's
}

/** Between which two tiles each of `size` pixels lies: runtime/sampler/resize.py. */
function resizing(size: number): Taps {
  const taps = { first: new Int32Array(size), second: new Int32Array(size), weight: new Float32Array(size) };
  for (let pixel = 0; pixel < size; pixel++) {
    const place = Math.min(Math.max((2 * pixel + 1) * GRID - size, 0), 2 * size * (GRID - 1));
    const rest = place % (2 * size);
    taps.first[pixel] = (place - rest) / (2 * size);
    taps.second[pixel] = taps.first[pixel] + (rest > 0 ? 1 : 0);
    taps.weight[pixel] = rest / (2 * size);
  }
  return taps;
}

/** Where in the texture the warp (2, S, S) looks at a point of the frame: bilinear between pixels' centres, held beyond. */
function lookUp(planes: Float32Array, size: number, x: number, y: number): [number, number] {
  const [across, down] = [x, y].map((at) => Math.min(Math.max(((at + 1) * size - 1) / 2, 0), size - 1));
  const [left, top] = [across, down].map((at) => Math.min(Math.floor(at), Math.max(size - 2, 0)));
  const [right, bottom] = [left, top].map((at) => Math.min(at + 1, size - 1));
  const along = (axis: number, row: number) => {
    const line = (axis * size + row) * size;
    return planes[line + left] + (across - left) * (planes[line + right] - planes[line + left]);
  };
  const moved = (axis: number) => along(axis, top) + (down - top) * (along(axis, bottom) - along(axis, top));
  return [(2 * across + 1) / size - 1 + moved(0), (2 * down + 1) / size - 1 + moved(1)];
}

/** Solves A x = b for both rows of `values` (2, N), in place, by the lower half of a positive definite A (N, N), which it overwrites. */
function choleskySolve(matrix: Float64Array, count: number, values: Float64Array): void {
  for (let i = 0; i < count; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * count + j];
      for (let k = 0; k < j; k++) sum -= matrix[i * count + k] * matrix[j * count + k];
      matrix[i * count + j] = i === j ? Math.sqrt(sum) : sum / matrix[j * count + j];
    }
  }
  for (let from = 0; from < 2 * count; from += count) {
    for (let i = 0; i < count; i++) {
      for (let k = 0; k < i; k++) values[from + i] -= matrix[i * count + k] * values[from + k];
      values[from + i] /= matrix[i * count + i];
    }
    for (let i = count - 1; i >= 0; i--) {
      for (let k = i + 1; k < count; k++) values[from + i] -= matrix[k * count + i] * values[from + k];
      values[from + i] /= matrix[i * count + i];
    }
  }
}
