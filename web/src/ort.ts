/** ONNX Runtime Web: loaded from a folder beside the page, never from elsewhere. Only what is used of it is typed. */

import { InputError } from "./errors";

export interface OrtTensor {
  readonly data: unknown;
  readonly dims: readonly number[];
}
export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}
interface Ort {
  env: { logLevel: string; wasm: { numThreads?: number; proxy?: boolean; initTimeout?: number } };
  Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => OrtTensor;
  InferenceSession: { create(model: Uint8Array, options: Record<string, unknown>): Promise<OrtSession> };
}

export interface RuntimeOptions {
  /** Where ONNX Runtime's files lie; by default `ort/` beside this module. */
  runtime?: string | URL;
  /** Of the network, where the page is isolated (docs/web.md); by default one a core, up to four. */
  threads?: number;
  /** Whether the folder holds the build for WebGPU as well, to be used where the browser has a graphics processor. */
  webgpu?: boolean;
}

/** A runtime, loaded: what computes, and with how many threads. */
export interface Runtime {
  readonly backend: "webgpu" | "wasm";
  readonly threads: number;
  open(model: Uint8Array): Promise<OrtSession>;
  tensor(data: Float32Array, dims: readonly number[]): OrtTensor;
}

const MOST_THREADS = 4; // more make an avatar's small layers no quicker
const loaded = new Map<string, Promise<Runtime>>();

/** The runtime in a folder; the same one for the same folder. */
export function loadRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  const folder = new URL(options.runtime ?? "ort/", options.runtime ? document.baseURI : import.meta.url);
  const key = `${folder} ${options.threads} ${options.webgpu}`;
  const found = loaded.get(key) ?? open(folder, options);
  loaded.set(key, found);
  found.catch(() => loaded.delete(key));
  return found;
}

async function open(folder: URL, options: RuntimeOptions): Promise<Runtime> {
  const backend = options.webgpu && (await canWebgpu()) ? "webgpu" : "wasm";
  const file = new URL(backend === "webgpu" ? "ort.jspi.bundle.min.mjs" : "ort.wasm.bundle.min.mjs", folder);
  let ort: Ort;
  try {
    ort = (await import(/* @vite-ignore */ file.href)) as Ort;
  } catch (error) {
    throw new InputError(`${file.href}: ONNX Runtime is not there (${(error as Error).message}); docs/web.md tells how it gets there`);
  }
  const threads = globalThis.crossOriginIsolated
    ? (options.threads ?? Math.max(1, Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS)))
    : 1;
  ort.env.logLevel = "error"; // its advice is not for the visitor
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.proxy = backend === "wasm"; // in a worker, so that the page draws meanwhile
  const executionProviders = backend === "webgpu" ? ["webgpu", "wasm"] : ["wasm"];
  return {
    backend,
    threads,
    open: (model) => ort.InferenceSession.create(model, { executionProviders, graphOptimizationLevel: "all", logSeverityLevel: 3 }),
    tensor: (data, dims) => new ort.Tensor("float32", data, dims),
  };
}

/** Whether there is a real graphics processor, and what the build for it needs of WebAssembly. */
async function canWebgpu(): Promise<boolean> {
  if (!("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return !!adapter && !adapter.info?.isFallbackAdapter;
}
