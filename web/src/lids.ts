/** Lids that are drawn: pieces of the texture with the eyes shut, and which of them a pose shows. docs/bundle.md, "The lids". */

import type { Bundle } from "./bundle";
import { type Contract, PADDING } from "./contract";
import { BundleError } from "./errors";
import { readTensors } from "./safetensors";

const [OPEN, SHUT] = [0.85, 0.3]; // of the photo's opening: runtime/lids.py says why
const FIRST = [36, 42]; // of an eye's six landmarks; the picture's left eye comes first
const MOST = 10; // widths: runtime/face/expression.py

/** Texels (height, width, 4), and where they belong in the packed texture. */
export interface Patch {
  left: number;
  top: number;
  width: number;
  height: number;
  texels: Float32Array;
}

/** The pieces of each eye (levels, height, width, 4) in the .safetensors of a contract that has lids. */
export function readLids(bytes: Uint8Array, contract: Contract): Float32Array[] {
  const { name } = contract.files.lids!;
  const { levels, eyes } = contract.lids!;
  const side = contract.texture_size;
  if (eyes[0].tensor === eyes[1].tensor) throw new BundleError(`${name}: ${eyes[0].tensor.slice(0, 40)}: one tensor for both eyes; export the avatar again`);
  for (const { tensor, left, top, width, height } of eyes) {
    if (Math.max(left + width, top + height) > side) {
      throw new BundleError(`${name}: ${tensor.slice(0, 40)}: beyond the texture of ${side} texels; export the avatar again`);
    }
  }
  const shapes = eyes.map(({ tensor, height, width }) => [tensor, [levels, height, width, 4]]);
  const pieces = readTensors(bytes, name, Object.fromEntries(shapes));
  return eyes.map(({ tensor }) => pieces[tensor]);
}

/** How far a pose (136,) shuts each eye, the picture's left one first: 0 as in the photo or wider, 1 shut. */
export function shutEyes(pose: ArrayLike<number>, source: ArrayLike<number>): number[] {
  return FIRST.map((first) => {
    const ratio = opening(pose, first) / Math.max(opening(source, first), 1e-6);
    return Math.min(Math.max((OPEN - ratio) / (OPEN - SHUT), 0), 1);
  });
}

/** Distance of the lids over the eye's width. */
function opening(pose: ArrayLike<number>, first: number): number {
  const apart = (a: number, b: number) =>
    Math.hypot(pose[2 * (first + a)] - pose[2 * (first + b)], pose[2 * (first + a) + 1] - pose[2 * (first + b) + 1]);
  return Math.min((apart(1, 5) + apart(2, 4)) / Math.max(2 * apart(0, 3), 1e-12), MOST);
}

/** Which pieces a texture shows that was the bundle's own at first, and which it is to show. */
export class LidPainter {
  readonly #patches: Patch[][]; // of each eye: that of the open one, then its pieces
  readonly #shown = [0, 0];

  private constructor(private readonly levels: number, patches: Patch[][], private readonly source: ArrayLike<number>) {
    this.#patches = patches;
  }

  /** Null where the network moves the lids. */
  static of({ contract, texture, pieces }: Bundle): LidPainter | null {
    if (!contract.lids || !pieces) return null;
    const side = contract.texture_size + PADDING;
    const patches = contract.lids.eyes.map((eye, index) => {
      const { width, height } = eye;
      const place = { left: eye.left + 1, top: eye.top + 1, width, height };
      const size = width * height * 4;
      const open = new Float32Array(size);
      for (let row = 0; row < height; row++) {
        const from = ((place.top + row) * side + place.left) * 4;
        open.set(texture.subarray(from, from + width * 4), row * width * 4);
      }
      const own = Array.from({ length: contract.lids!.levels }, (_, level) => pieces[index].subarray(level * size, (level + 1) * size));
      return [open, ...own].map((texels) => ({ ...place, texels }));
    });
    return new LidPainter(contract.lids.levels, patches, contract.source.pose);
  }

  /** Which piece of each eye a pose shows, counted from 1; 0: none. */
  levelsOf(pose: ArrayLike<number>): number[] {
    return shutEyes(pose, this.source).map((shut) => Math.round(shut * this.levels));
  }

  /** What is to be laid into the texture so that it shows these; nothing where it does. */
  show(levels: number[]): Patch[] {
    return levels.flatMap((level, eye) => {
      if (level === this.#shown[eye]) return [];
      this.#shown[eye] = level;
      return [this.#patches[eye][level]];
    });
  }
}
