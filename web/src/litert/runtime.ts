/** LiteRT.js as the page sees it: one worker computes the avatar's network, another one the face's. */

import { InputError } from "../errors";
import { unpacked } from "../packed";
import type { NetworkTensor, Runtime, Session } from "../runtime";
import type { Answer, Ask } from "./messages";

const WORKER = "litert.js"; // built of worker.ts, beside this module

/** A worker with LiteRT in it. What is asked of it is answered in turn. */
class Remote {
  threads = 1; // of the build that was loaded
  readonly #worker: Worker;
  readonly #waiting: ((answer: Answer) => void)[] = [];

  constructor() {
    this.#worker = new Worker(new URL(WORKER, import.meta.url), { name: "litert" });
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => this.#waiting.shift()?.(data);
    this.#worker.onerror = (event) => {
      event.preventDefault(); // it is told below
      for (const answer of this.#waiting.splice(0)) answer({ error: event.message || `${WORKER} is not there` });
    };
  }

  async ask(what: Ask, moved: Transferable[] = []): Promise<Answer> {
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.push(resolve);
      this.#worker.postMessage(what, moved);
    });
    if (answer.error !== undefined) throw new InputError(answer.error);
    return answer;
  }

  async open(model: Uint8Array): Promise<Session> {
    const { number, inputs, outputs } = await this.ask({ kind: "open", model, threads: this.threads });
    return {
      inputNames: inputs!,
      outputNames: outputs!,
      run: async (feeds) => {
        const given = inputs!.map((name) => feeds[name] as { data: Float32Array; dims: number[] });
        const moved = given.map(({ data }) => data.buffer as ArrayBuffer); // whoever feeds it made it for this run
        return (await this.ask({ kind: "run", number: number!, given }, moved)).results!;
      },
      release: async () => void (await this.ask({ kind: "release", number: number! })),
    };
  }
}

async function start(folder: URL, threads: number): Promise<Remote> {
  const remote = new Remote();
  try {
    const { build } = await remote.ask({ kind: "choose", threads });
    const wasm = await unpacked(new URL(`${build}.wasm.gz`, folder));
    if (build!.includes("threaded")) remote.threads = threads;
    await remote.ask({ kind: "load", script: new URL(`${build}.js`, folder).href, wasm }, [wasm]);
  } catch (error) {
    throw new InputError(`${folder.href}: LiteRT does not start (${(error as Error).message}); docs/web.md tells how it gets there`);
  }
  return remote;
}

export async function openLitert(folder: URL, threads: number): Promise<Runtime> {
  const remote = await start(folder, threads);
  let face: Promise<Remote> | null = null; // where a camera or video is wanted
  return {
    engine: "litert",
    backend: "wasm",
    threads: remote.threads,
    open: (model) => remote.open(model),
    openFace: async (tflite) => (await (face ??= start(folder, 1))).open(tflite),
    tensor: (data, dims): NetworkTensor => ({ data, dims }),
  };
}
