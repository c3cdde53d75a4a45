/** ONNX Runtime Web, which reads every avatar. Only what is used of it is typed. */

import { InputError } from "./errors";
import { tfliteToOnnx } from "./face/to_onnx";
import { unpacked } from "./packed";
import type { NetworkTensor, Runtime, Session } from "./runtime";

interface Ort {
  env: { logLevel: string; wasm: { numThreads?: number; proxy?: boolean; wasmBinary?: ArrayBuffer } };
  Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => NetworkTensor;
  InferenceSession: { create(model: Uint8Array, options: Record<string, unknown>): Promise<Session> };
}

export async function openOrt(folder: URL, threads: number, webgpu: boolean): Promise<Runtime> {
  const backend = webgpu && (await canWebgpu()) ? "webgpu" : "wasm";
  const [script, wasm] = backend === "webgpu" ? ["ort.jspi.bundle.min", ".jspi"] : ["ort.wasm.bundle.min", ""];
  const file = new URL(`${script}.mjs`, folder);
  let ort: Ort;
  try {
    ort = (await import(/* @vite-ignore */ file.href)) as Ort;
    ort.env.wasm.wasmBinary = await unpacked(new URL(`ort-wasm-simd-threaded${wasm}.wasm.gz`, folder));
  } catch (error) {
    throw new InputError(`${file.href}: ONNX Runtime is not there (${(error as Error).message}); docs/web.md tells how it gets there`);
  }
  ort.env.logLevel = "error"; // its advice is not for the visitor
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.proxy = backend === "wasm"; // in a worker, so that the page draws meanwhile
  const executionProviders = backend === "webgpu" ? ["webgpu", "wasm"] : ["wasm"];
  const open = (model: Uint8Array) =>
    ort.InferenceSession.create(model, { executionProviders, graphOptimizationLevel: "all", logSeverityLevel: 3 });
  return {
    engine: "ort",
    backend,
    threads,
    open,
    openFace: (tflite) => open(tfliteToOnnx(tflite).onnx),
    tensor: (data, dims) => new ort.Tensor("float32", data, dims),
  };
}

/** Whether there is a real graphics processor, and what the build for it needs of WebAssembly. */
async function canWebgpu(): Promise<boolean> {
  if (!("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return !!adapter && !adapter.info?.isFallbackAdapter;
}
