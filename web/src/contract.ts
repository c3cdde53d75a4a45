/** What avatar.json promises: docs/bundle.md. Read as strictly as bilayer.runtime.bundle reads it. */

import schema from "../../runtime/avatar.schema.json" with { type: "json" }; // it lies beside bilayer.js
import { BundleError } from "./errors";
import { fault, type Schema } from "./schema";

export interface Channels {
  tensor: string;
  start: number;
  stop: number; // the first channel that is not its own any more
  scale: number; // the result is the tensor's value times this
  offset: number; // plus this
}

export interface BundledFile {
  name: string;
  bytes: number;
  sha256: string;
}

export interface Contract {
  image_size: number; // px, side of the network's results
  texture_size: number; // texels, side of the texture
  frame_size: number; // px, side of the frame
  align_corners: boolean;
  input: { tensor: string; width: number; harmonics: number };
  outputs: { delta_uv: Channels; lf_rgb: Channels; seg: Channels | null };
  files: { onnx: BundledFile; texture: BundledFile } & Record<string, BundledFile | null | undefined>;
  source: { photo_size: [number, number]; crop: [number, number, number, number]; pose: number[] };
  graph: { gmacs: number };
  anchors?: { reach: number; limit: number; points: { landmark: number; x: number; y: number; ridge: number }[] } | null;
  lids?: { levels: number; eyes: { tensor: string; left: number; top: number; width: number; height: number }[] } | null;
}

export const PADDING = 3; // texels a packed texture has more than its texture: one before, two after
export const POSE_WIDTH = 136; // 68 (x, y) pairs
const MAX_HARMONICS = 16; // 2 ** 15 pi is beyond what a float32 landmark can tell
export const MAX_BYTES = 1 << 20; // of avatar.json, which has some kilobytes
const ADVICE = "export the avatar again, or update bilayer";

/** The contract in the bytes of an avatar.json called `where`; throws a BundleError that names the field. */
export function readContract(bytes: Uint8Array, where: string): Contract {
  if (bytes.length > MAX_BYTES) throw new BundleError(`${where}: ${bytes.length} bytes, expected at most ${MAX_BYTES}`);
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new BundleError(`${where}: not readable as JSON (${String((error as Error).message).slice(0, 120)}); ${ADVICE}`);
  }
  return checkContract(content, where);
}

/** `content` as a contract; throws a BundleError that names the field. */
export function checkContract(content: unknown, where: string): Contract {
  const given = (typeof content === "object" && content !== null ? content : {}) as Record<string, unknown>;
  if (given.format !== "bilayer-avatar") {
    throw new BundleError(`${where}: not an avatar; expected \`format\` to be bilayer-avatar; ${ADVICE}`);
  }
  if (given.version !== 1) {
    const found = JSON.stringify(given.version)?.slice(0, 20) ?? "nothing";
    throw new BundleError(`${where}: version ${found}, expected 1; ${ADVICE}`);
  }
  const problem = fault(schema as unknown as Schema, content);
  if (problem !== null) throw new BundleError(`${where}: ${problem}; ${ADVICE}`);
  const read = given as unknown as Contract;
  const contract = { ...read, texture_size: read.texture_size ?? read.image_size };
  contract.frame_size = read.frame_size ?? read.image_size;
  for (const [name, channels] of [["delta_uv", 2], ["lf_rgb", 3], ["seg", 1]] as const) {
    const result = contract.outputs[name];
    if (result !== null && result.stop - result.start !== channels) {
      const found = `${result.start} to ${result.stop}`;
      throw new BundleError(`${where}: outputs.${name}: expected ${channels} channels, found ${found}; export again`);
    }
  }
  for (const file of Object.values(contract.files)) {
    if (file && (/[/\\]/.test(file.name) || ["", ".", ".."].includes(file.name))) {
      throw new BundleError(`${where}: files.${file.name}: expected a name in the avatar's own folder`);
    }
  }
  const { width, harmonics } = contract.input;
  const expected = harmonics ? 2 * harmonics * POSE_WIDTH : POSE_WIDTH;
  if (harmonics > MAX_HARMONICS || width !== expected) {
    throw new BundleError(
      `${where}: input: ${width} numbers with ${harmonics} harmonics, expected ${expected}; export again`,
    );
  }
  return contract;
}
