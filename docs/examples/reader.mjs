// Avatar bundles in plain JavaScript, after docs/bundle.md; frame.mjs has the order of work, with lids.mjs and anchors.mjs.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const clamp = (value, top) => (value > 0 ? Math.min(value, top) : 0); // NaN, which is greater than nothing, is 0
const mix = (one, other, share) => (share ? one + share * (other - one) : one);

export function readAvatar(folder) { // avatar.json, and the bytes of the files that it names
  const contract = JSON.parse(readFileSync(`${folder}/avatar.json`, "utf8"));
  if (contract.format !== "bilayer-avatar" || contract.version !== 1) throw new Error(`${folder}: no avatar of version 1`);
  const content = {};
  for (const [role, file] of Object.entries(contract.files).filter(([, file]) => file)) { // null: no .dlc was made
    if (/[/\\]|^\.*$/.test(file.name)) throw new Error(`${folder}: files.${role}: not in it`);
    content[role] = readFileSync(`${folder}/${file.name}`);
    const hash = createHash("sha256").update(content[role]).digest("hex");
    if (hash !== file.sha256) throw new Error(`${file.name}: another file`);
  }
  return { contract, content };
}

export function readTensor(bytes, name, shape) { // of a .safetensors file: length of the header, header, data
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const { dtype, shape: found, data_offsets: [from, to] } = JSON.parse(bytes.toString("utf8", 8, start))[name];
  if (dtype !== "F32" || String(found) !== String(shape)) throw new Error(`${name}: ${dtype} (${found}), not F32 (${shape})`);
  return new Float32Array(Uint8Array.from(bytes.subarray(start + from, start + to)).buffer);
}

export function encodePose(harmonics, pose) { // what the network takes of a pose, a Float32Array of 136
  if (!pose.every(Number.isFinite)) throw new Error("pose: a number is not finite");
  const phase = (at, k) => Math.fround(at * Math.fround(Math.PI) * 2 ** k);
  const phases = Array.from(pose).flatMap((at) => Array.from({ length: harmonics }, (_, k) => phase(at, k)));
  return harmonics ? Float32Array.from([...phases.map(Math.sin), ...phases.map(Math.cos)]) : pose;
}

export function readResults({ image_size: S, outputs }, tensors) { // planes (C, S, S) by name; null where there is no seg
  const planes = ({ tensor, start, stop, scale, offset }) =>
    Float32Array.from(tensors[tensor].slice(start * S * S, stop * S * S), (value) => value * scale + offset);
  return Object.fromEntries(Object.entries(outputs).map(([name, where]) => [name, where && planes(where)]));
}

export function bilinear(planes, S, c, x, y) { // plane c at (x, y), counted from the middle of its first pixel; held beyond
  const [across, down] = [clamp(x, S - 1), clamp(y, S - 1)];
  const value = (row, column) => planes[(c * S + Math.min(row, S - 1)) * S + Math.min(column, S - 1)];
  const along = (row) => mix(value(row, Math.floor(across)), value(row, Math.floor(across) + 1), across % 1);
  return mix(along(Math.floor(down)), along(Math.floor(down) + 1), down % 1);
}

export function composeFrame({ image_size: S, texture_size: T = S, frame_size: F = S, align_corners }, texture, results) {
  const at = (name, c, i, j) => bilinear(results[name], S, c, ((j + 0.5) * S) / F - 0.5, ((i + 0.5) * S) / F - 0.5);
  const packed = (u) => clamp((align_corners ? (u + 1) * (T - 1) : (u + 1) * T - 1) / 2 + 1, T + 1);
  return Uint8Array.from({ length: F * F * 4 }, (_, index) => {
    const [i, j, c] = [Math.floor(index / (F * 4)), Math.floor(index / 4) % F, index % 4];
    if (c === 3) return results.seg ? clamp(at("seg", 0, i, j), 1) * 255 + 0.5 : 255;
    const [x, y] = [j, i].map((place, axis) => packed(-1 + (2 * place + 1) / F + at("delta_uv", axis, i, j)));
    const texel = (row, column) => texture[(row * (T + 3) + column) * 4 + c];
    const along = (row) => mix(texel(row, Math.floor(x)), texel(row, Math.floor(x) + 1), x % 1);
    const colour = mix(along(Math.floor(y)), along(Math.floor(y) + 1), y % 1) + at("lf_rgb", c, i, j);
    return clamp((colour + 1) * 127.5, 255); // an array of bytes cuts the fraction off
  });
}
