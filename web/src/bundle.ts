/** An avatar's bundle from a server or from files that were dropped: checked as bilayer.runtime.bundle checks it. */

import { type Contract, MAX_BYTES, PADDING, readContract } from "./contract";
import { BundleError } from "./errors";
import { readLids } from "./lids";
import { externalData } from "./protobuf";
import type { Engine } from "./runtime";
import { readTensors } from "./safetensors";
import { sha256 } from "./sha256";

/** Where a bundle's files come from, by their plain names; one that has more bytes than `most` may be refused unread. */
export type ReadFile = (name: string, most?: number) => Promise<Uint8Array>;

export interface Bundle {
  contract: Contract;
  network: { engine: Engine; name: string; content: Uint8Array }; // and what it is computed with
  texture: Float32Array; // (T + 3, T + 3, 4), with a border of zeros
  pieces?: Float32Array[]; // of the lids that are drawn, each eye's (levels, height, width, 4)
}

/** Reads files beside the address of an avatar.json. */
export function fromUrl(base: string | URL): ReadFile {
  return async (name) => {
    const address = new URL(encodeURIComponent(name), base);
    let answer: Response;
    try {
      answer = await fetch(address);
    } catch (error) {
      throw new BundleError(`${name}: cannot be fetched (${(error as Error).message}); is the server still there?`);
    }
    if (!answer.ok) throw new BundleError(`${name}: missing (${answer.status}); it belongs to the avatar: copy its whole folder`);
    return new Uint8Array(await answer.arrayBuffer());
  };
}

/** Reads dropped or chosen files; the name of their avatar.json comes with them. */
export function fromFiles(files: Iterable<File>): { name: string; read: ReadFile } {
  const all = [...files];
  const contracts = all.filter((file) => file.name.endsWith(".json"));
  if (contracts.length !== 1) {
    const found = all.map((file) => file.name).slice(0, 6).join(", ") || "nothing";
    throw new BundleError(`expected the files of one avatar, one .json among them, found ${found}; ${wayOut(all)}`);
  }
  const read: ReadFile = async (name, most = Infinity) => {
    const file = all.find((one) => one.name === name);
    if (!file) throw new BundleError(`${name}: missing; it belongs to the avatar: drop its whole folder`);
    if (file.size > most) throw new BundleError(`${name}: ${file.size} bytes, expected at most ${most}`);
    try {
      return new Uint8Array(await file.arrayBuffer());
    } catch (error) {
      throw new BundleError(`${name}: cannot be read (${(error as Error).message}); drop the folder again`);
    }
  };
  return { name: contracts[0].name, read };
}

/** What to do instead of dropping these files. */
function wayOut(files: File[]): string {
  const kind = files.length === 1 ? files[0].name.toLowerCase().split(".").pop()! : "";
  if (["zip", "gz", "7z", "rar"].includes(kind)) return "unpack it, and drop the folder";
  if (["jpg", "jpeg", "png", "webp", "heic"].includes(kind)) return "bilayer-export makes an avatar of a photo";
  return "drop the whole folder that bilayer-export wrote";
}

/**
 * The bundle whose contract is called `name`, with the network that `engine` computes: by default LiteRT's where it has
 * one, and then its .onnx need not be there. Throws a BundleError that names the file and the field.
 */
export async function readBundle(name: string, read: ReadFile, wanted?: Engine): Promise<Bundle> {
  const contract = readContract(await read(name, MAX_BYTES), name);
  const lite = contract.files.tflite_fp16 ? "tflite_fp16" : "tflite";
  const engine = wanted ?? (contract.files[lite] ? "litert" : "ort");
  const role = engine === "litert" ? lite : "onnx";
  const file = contract.files[role];
  if (!file) throw new BundleError(`${name}: has no .tflite, and this page computes with LiteRT; export with --also tflite-fp16`);
  const contents: Record<string, Uint8Array> = {};
  await Promise.all(
    Object.entries(contract.files).map(async ([other, file]) => {
      if (!file || (other === "onnx" && role !== "onnx")) return;
      const bytes = await read(file.name, Math.max(file.bytes, MAX_BYTES)); // nearly right is told by its size below
      let [found, expected] = [`${bytes.length} bytes`, `${file.bytes} bytes`];
      if (found === expected) [found, expected] = [await sha256(bytes), file.sha256];
      contents[other] = bytes;
      if (found === expected) return;
      throw new BundleError(
        `${file.name}: not the file that the avatar was exported with ` +
          `(expected ${expected.slice(0, 19)}, found ${found.slice(0, 19)}); copy the folder or export again`,
      );
    }),
  );
  if (!contract.lids !== !contract.files.lids) {
    throw new BundleError(`${name}: lids: expected with files.lids, or both left out; export the avatar again`);
  }
  if (role === "onnx") checkNetwork(contents.onnx, file.name);
  const network = { engine, name: file.name, content: contents[role] };
  const texture = readTexture(contents.texture, contract);
  return { contract, network, texture, pieces: contract.lids ? readLids(contents.lids, contract) : undefined };
}

function checkNetwork(onnx: Uint8Array, name: string): void {
  let outside: boolean;
  try {
    outside = externalData(onnx);
  } catch (error) {
    throw new BundleError(`${name}: not a network that can be run (${(error as Error).message}); export the avatar again`);
  }
  if (outside) {
    throw new BundleError(
      `${name}: expected all weights in this file, found some in another one (ONNX external data); export the avatar again`,
    );
  }
}

/** The packed texture in a .safetensors. */
export function readTexture(bytes: Uint8Array, contract: Contract): Float32Array {
  const name = contract.files.texture.name;
  const side = contract.texture_size + PADDING;
  const { texture } = readTensors(bytes, name, { texture: [side, side, 4] });
  for (let texel = 0; texel < side; texel++) {
    const edges = [texel, (side - 2) * side + texel, (side - 1) * side + texel, texel * side, texel * side + side - 2, texel * side + side - 1];
    if (edges.some((edge) => texture.subarray(edge * 4, edge * 4 + 4).some((value) => value !== 0))) {
      throw new BundleError(`${name}: texture: expected a border of zeros; export the avatar again`);
    }
  }
  return texture;
}
