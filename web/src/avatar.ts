/** An avatar, ready to be driven: a pose in, a frame on its canvas. */

import { WarpMover } from "./anchors";
import { type Bundle, fromUrl, readBundle, type ReadFile } from "./bundle";
import type { Contract } from "./contract";
import { BundleError } from "./errors";
import { LidPainter } from "./lids";
import { gather, PLANES, type Tensors } from "./outputs";
import { encodePose } from "./pose";
import { loadRuntime, type Runtime, type RuntimeOptions, type Session } from "./runtime";
import { bestSampler, openSampler, type Sampler, type SamplerKind, type View } from "./sampler/sampler";

export interface AvatarOptions extends RuntimeOptions {
  /** What draws; by default the quickest that there is. Named, an emulated one is taken too. */
  sampler?: SamplerKind;
}

export class Avatar {
  /** The photo's own pose (136,): the neutral one to begin from. */
  readonly sourcePose: Float32Array;
  readonly #planes: Float32Array; // (6, S, S)
  readonly #lids: LidPainter | null;
  readonly #mover: WarpMover | null;
  #levels = [0, 0]; // of the lids in those planes' pose

  private constructor(
    readonly bundle: Bundle,
    readonly runtime: Runtime,
    readonly sampler: Sampler,
    private readonly session: Session,
  ) {
    this.sourcePose = Float32Array.from(bundle.contract.source.pose);
    this.#lids = LidPainter.of(bundle);
    this.#mover = WarpMover.of(bundle.contract);
    this.#planes = new Float32Array(PLANES * bundle.contract.image_size ** 2);
  }

  static async open(bundle: Bundle, options: AvatarOptions = {}): Promise<Avatar> {
    const { engine, name, content } = bundle.network;
    const runtime = await loadRuntime({ ...options, engine });
    let session: Session;
    try {
      session = await runtime.open(content);
    } catch (error) {
      throw new BundleError(`${name}: not a network that can be run (${(error as Error).message.slice(0, 200)}); export the avatar again`);
    }
    const { tensor } = bundle.contract.input;
    if (session.inputNames.join() !== tensor) {
      throw new BundleError(`${name}: input: expected ${tensor}, found ${session.inputNames.join(", ") || "none"}`);
    }
    const kind = options.sampler;
    const sampler = kind ? await openSampler(kind, bundle, true) : await bestSampler(bundle);
    if (!sampler) throw new BundleError(`sampler ${kind}: this browser does not have it`);
    const avatar = new Avatar(bundle, runtime, sampler, session);
    await avatar.render(avatar.sourcePose); // the first run is the slow one; and it shows whether the outputs are there
    return avatar;
  }

  get contract(): Contract {
    return this.bundle.contract;
  }

  /** Shows the last frame, transparent where the person is not. */
  get canvas(): HTMLCanvasElement {
    return this.sampler.canvas;
  }

  /**
   * The first half of `render`: the planes (6, S, S) that the network gives for a pose (136,), the warp moved by the
   * avatar's anchors. Valid until the next call's are there.
   */
  async infer(pose: ArrayLike<number>): Promise<Float32Array> {
    const { input, outputs, image_size: size } = this.contract;
    const encoded = encodePose(pose, input.harmonics);
    const levels = this.#lids?.levelsOf(pose);
    const landmarks = Float64Array.from(pose); // the caller may write over its own while the network runs
    const results = await this.session.run({ [input.tensor]: this.runtime.tensor(encoded, [1, input.width]) });
    const tensors: Tensors = {};
    for (const result of [outputs.delta_uv, outputs.lf_rgb, outputs.seg]) {
      if (!result) continue;
      const { data, dims = [] } = results[result.tensor] ?? {};
      if (!(data instanceof Float32Array) || dims.length !== 4 || dims[0] !== 1 || dims[1] < result.stop || dims[2] !== size || dims[3] !== size) {
        const expected = `[1, at least ${result.stop}, ${size}, ${size}] in float32`;
        throw new BundleError(`${this.bundle.network.name}: output ${result.tensor}: expected ${expected}, found [${dims.join(", ")}]`);
      }
      tensors[result.tensor] = data;
    }
    if (levels) this.#levels = levels;
    const planes = gather(tensors, this.contract, this.#planes);
    return this.#mover?.move(planes, landmarks) ?? planes;
  }

  /** The second half: draws what `infer` gave, with the lids of its pose. */
  draw(planes: Float32Array = this.#planes, view: View = "frame"): void {
    for (const patch of this.#lids?.show(this.#levels) ?? []) this.sampler.lay(patch);
    this.sampler.draw(planes, view);
  }

  /** One frame, of a pose of 68 landmarks: x0, y0, x1, ..., -1..1 across the crop. */
  async render(pose: ArrayLike<number>, view: View = "frame"): Promise<void> {
    this.draw(await this.infer(pose), view);
  }

  /** The last frame's RGBA bytes (F, F, 4), straight colours. */
  read(): Promise<Uint8ClampedArray> {
    return this.sampler.read();
  }

  async dispose(): Promise<void> {
    this.sampler.dispose();
    await this.session.release();
  }
}

/** An avatar from the address of its avatar.json, or from files that `fromFiles` reads. */
export async function loadAvatar(
  from: string | URL | { name: string; read: ReadFile },
  options: AvatarOptions = {},
): Promise<Avatar> {
  if (typeof from === "object" && "read" in from) return Avatar.open(await readBundle(from.name, from.read, options.engine), options);
  const address = new URL(from, document.baseURI);
  const name = decodeURIComponent(address.pathname.split("/").pop()!) || "avatar.json";
  return Avatar.open(await readBundle(name, fromUrl(new URL(".", address)), options.engine), options);
}
