/** What computes networks: ONNX Runtime Web or LiteRT.js, from a folder beside the page, never from elsewhere. */

import { openLitert } from "./litert/runtime";
import { openOrt } from "./ort";

export interface NetworkTensor {
  readonly data: unknown;
  readonly dims: readonly number[];
}

/** A network, ready to run: pictures are planar, (1, C, H, W), whatever the runtime has them in. */
export interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Record<string, NetworkTensor>): Promise<Record<string, NetworkTensor>>;
  release(): Promise<void>;
}

/** `ort` reads .onnx, `litert` an avatar's .tflite: the quicker of the two, and the smaller. */
export type Engine = "ort" | "litert";

export interface RuntimeOptions {
  /** What computes; by default LiteRT for an avatar that has a .tflite, else ONNX Runtime. */
  engine?: Engine;
  /** Where the runtime's files lie; by default `ort/` or `litert/` beside this module. */
  runtime?: string | URL;
  /** Of the network, where the page is isolated (docs/web.md); by default one a core, up to four. */
  threads?: number;
  /** Whether ONNX Runtime's folder holds the build for WebGPU as well, to be used where there is a graphics processor. */
  webgpu?: boolean;
}

/** A runtime, loaded: what computes, and with how many threads. */
export interface Runtime {
  readonly engine: Engine;
  readonly backend: "webgpu" | "wasm";
  readonly threads: number;
  /** The network in an avatar's .onnx or .tflite, whichever this runtime reads. */
  open(model: Uint8Array): Promise<Session>;
  /** One of the face networks in its .tflite, computed beside the avatar's where that can be. */
  openFace(tflite: Uint8Array): Promise<Session>;
  tensor(data: Float32Array, dims: readonly number[]): NetworkTensor;
}

const MOST_THREADS = 4; // more make an avatar's small layers no quicker
const loaded = new Map<string, Promise<Runtime>>();

/** The runtime in a folder; the same one for the same folder. */
export function loadRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  const { engine = "ort", runtime, webgpu = false } = options;
  const folder = new URL(runtime ?? `${engine}/`, runtime ? document.baseURI : import.meta.url);
  const key = `${engine} ${folder} ${options.threads} ${webgpu}`;
  const threads = globalThis.crossOriginIsolated
    ? (options.threads ?? Math.max(1, Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS)))
    : 1;
  const found = loaded.get(key) ?? (engine === "litert" ? openLitert(folder, threads) : openOrt(folder, threads, webgpu));
  loaded.set(key, found);
  found.catch(() => loaded.delete(key));
  return found;
}
