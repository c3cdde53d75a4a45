/** What the page asks of a LiteRT worker, and what it answers. */

export interface Planar {
  data: Float32Array;
  dims: number[];
}

export type Ask =
  | { kind: "choose"; threads: number }
  | { kind: "load"; script: string; wasm: ArrayBuffer }
  | { kind: "open"; model: Uint8Array; threads: number }
  | { kind: "run"; number: number; given: Planar[] }
  | { kind: "release"; number: number };

export interface Answer {
  error?: string;
  build?: string;
  number?: number; // by which an opened network is known
  inputs?: string[];
  outputs?: string[];
  results?: Record<string, Planar>;
}
