/** LiteRT in a worker: a classic script, as LiteRT's loader is. Pictures come and go planar, and are turned in here. */

import { type CompiledModel, loadAndCompile, loadLiteRt, supportsFeature, Tensor } from "@litertjs/core";
import type { Answer, Ask, Planar } from "./messages";

const networks: CompiledModel[] = [];
const worker = self as unknown as {
  Module?: Record<string, unknown>; // settings that LiteRT's script looks for
  onmessage: (event: MessageEvent<Ask>) => void;
  postMessage(answer: Answer, moved?: Transferable[]): void;
};

/** The build that this browser can run with so many threads: the beginning of its files' names. */
async function choose(threads: number): Promise<Answer> {
  const build = (await supportsFeature("relaxedSimd")) ? (threads > 1 ? "threaded_" : "") : "compat_";
  return { build: `litert_wasm_${build}internal` };
}

async function load(script: string, wasmBinary: ArrayBuffer): Promise<Answer> {
  const printErr = (line: string) => /^(ERROR|FATAL)/.test(line) && console.error(line); // the rest is not for the visitor
  worker.Module = { wasmBinary, mainScriptUrlOrBlob: script, printErr };
  Reflect.deleteProperty(Object.getPrototypeOf(navigator), "gpu"); // or it would take a graphics processor, and not use it
  console.warn = () => {}; // which it would tell of
  await loadLiteRt(script);
  return {};
}

async function open(model: Uint8Array, threads: number): Promise<Answer> {
  const network = await loadAndCompile(model, { accelerator: "wasm", cpuOptions: { numThreads: threads } });
  const names = (details: readonly { name: string }[]) => details.map(({ name }) => name);
  return { number: networks.push(network) - 1, inputs: names(network.getInputDetails()), outputs: names(network.getOutputDetails()) };
}

async function run(network: CompiledModel, given: Planar[]): Promise<Answer> {
  const inputs = given.map(({ data, dims }) => {
    const [one, channels, height, width] = dims;
    return dims.length === 4 ? new Tensor(turned(data, channels, height * width), [one, height, width, channels]) : new Tensor(data, dims);
  });
  const tensors = await network.run(inputs);
  const results: Record<string, Planar> = {};
  network.getOutputDetails().forEach(({ name }, index) => {
    const [tensor, dims] = [tensors[index], [...tensors[index].type.layout.dimensions]];
    const data = tensor.toTypedArray() as Float32Array;
    const [one, height, width, channels] = dims;
    results[name] = dims.length === 4
      ? { data: turned(data, height * width, channels), dims: [one, channels, height, width] }
      : { data: data.slice(), dims };
  });
  for (const tensor of [...inputs, ...tensors]) tensor.delete();
  return { results };
}

/** A matrix of that many rows and columns, transposed: planes to pixels, or pixels to planes. */
function turned(data: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let row = 0, at = 0; row < rows; row++) for (let column = 0, to = row; column < columns; column++, to += rows) result[to] = data[at++];
  return result;
}

async function answer(what: Ask): Promise<Answer> {
  if (what.kind === "choose") return choose(what.threads);
  if (what.kind === "load") return load(what.script, what.wasm);
  if (what.kind === "open") return open(what.model, what.threads);
  if (what.kind === "run") return run(networks[what.number], what.given);
  networks[what.number].delete();
  return {};
}

let before: Promise<unknown> = Promise.resolve();

worker.onmessage = ({ data }) => {
  before = before.then(async () => {
    let told: Answer;
    try {
      told = await answer(data);
    } catch (error) {
      told = { error: error instanceof Error ? error.message : String(error) };
    }
    worker.postMessage(told, Object.values(told.results ?? {}).map((result) => result.data.buffer as ArrayBuffer));
  });
};
