// A reader of avatar bundles in plain JavaScript, after docs/bundle.md; a test holds its frames to the Python player's.
//   node reader.mjs avatar.json pose.f32 > encoded.f32                          what the network takes
//   node reader.mjs avatar.json pose.f32 layers=layers.f32 > frame.rgba         a frame of the network's output tensors
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const clamp = (value, top) => (value > 0 ? Math.min(value, top) : 0); // NaN, which is greater than nothing, is 0
const floats = (bytes) => new Float32Array(Uint8Array.from(bytes).buffer); // little-endian, as all machines that run Node

export function readAvatar(path) {
  const contract = JSON.parse(readFileSync(path, "utf8"));
  if (contract.format !== "bilayer-avatar" || contract.version !== 1) throw new Error(`${path}: no avatar of version 1`);
  const content = {};
  for (const [role, file] of Object.entries(contract.files)) {
    if (file === null) continue; // no .dlc was made
    if (/[/\\]|^\.*$/.test(file.name)) throw new Error(`${path}: ${role} is not beside it`);
    content[role] = readFileSync(join(dirname(path), file.name));
    const hash = createHash("sha256").update(content[role]).digest("hex");
    if (content[role].length !== file.bytes || hash !== file.sha256) throw new Error(`${file.name}: another file`);
  }
  const start = 8 + Number(content.texture.readBigUInt64LE(0)); // .safetensors: length of the header, header, data
  const { dtype, shape, data_offsets } = JSON.parse(content.texture.toString("utf8", 8, start)).texture;
  const side = (contract.texture_size ?? contract.image_size) + 3;
  if (dtype !== "F32" || String(shape) !== String([side, side, 4])) throw new Error(`texture: ${dtype} (${shape})`);
  return { contract, texture: floats(content.texture.subarray(start + data_offsets[0], start + data_offsets[1])) };
}

export function encodePose(harmonics, pose) {
  if (harmonics === 0) return pose;
  const encoded = new Float32Array(2 * 136 * harmonics);
  for (let c = 0; c < 136; c++)
    for (let k = 0; k < harmonics; k++) {
      const phase = Math.fround(pose[c] * Math.fround(Math.fround(Math.PI) * 2 ** k));
      encoded[c * harmonics + k] = Math.sin(phase);
      encoded[(136 + c) * harmonics + k] = Math.cos(phase);
    }
  return encoded;
}

export function composeFrame({ contract, texture }, tensors) {
  const { image_size: S, texture_size: T = S, frame_size: F = S, align_corners, outputs } = contract;
  const taps = Array.from({ length: F }, (_, pixel) => { // between which values of a row of S a pixel of the frame lies
    const place = clamp((pixel + 0.5) * (S / F) - 0.5, S - 1);
    const first = Math.floor(place);
    return [first, Math.min(first + 1, S - 1), place - first];
  });
  const result = (where, channel, i, j) => { // channel `channel` of a result at row i, column j of the frame
    const start = (where.start + channel) * S * S;
    const value = (row, column) => tensors[where.tensor][start + row * S + column] * where.scale + where.offset;
    const [[top, bottom, down], [left, right, across]] = [taps[i], taps[j]];
    const row = (at) => value(at, left) + across * (value(at, right) - value(at, left));
    return row(top) + down * (row(bottom) - row(top));
  };
  const packed = (u) => clamp(align_corners ? ((u + 1) * (T - 1)) / 2 + 1 : ((u + 1) * T - 1) / 2 + 1, T + 1);
  const texel = (x, y, channel) => texture[(y * (T + 3) + x) * 4 + channel];
  const frame = new Uint8Array(F * F * 4);
  for (let i = 0; i < F; i++)
    for (let j = 0; j < F; j++) {
      const pixel = i * F + j;
      const x = packed(-1 + (2 * j + 1) / F + result(outputs.delta_uv, 0, i, j));
      const y = packed(-1 + (2 * i + 1) / F + result(outputs.delta_uv, 1, i, j));
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [right, down] = [x - left, y - top];
      for (let c = 0; c < 3; c++) {
        const near = texel(left, top, c) * (1 - down) + texel(left, top + 1, c) * down;
        const far = texel(left + 1, top, c) * (1 - down) + texel(left + 1, top + 1, c) * down;
        const colour = near * (1 - right) + far * right + result(outputs.lf_rgb, c, i, j);
        frame[pixel * 4 + c] = clamp((colour + 1) * 127.5, 255); // the fraction is cut off
      }
      frame[pixel * 4 + 3] = outputs.seg === null ? 255 : clamp(result(outputs.seg, 0, i, j), 1) * 255 + 0.5;
    }
  return frame;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [path, posePath, ...tensorPaths] = process.argv.slice(2);
  const [avatar, pose] = [readAvatar(path), floats(readFileSync(posePath))];
  const tensors = Object.fromEntries(tensorPaths.map((word) => [word.split("=")[0], floats(readFileSync(word.split("=")[1]))]));
  const result = tensorPaths.length ? composeFrame(avatar, tensors) : encodePose(avatar.contract.input.harmonics, pose);
  process.stdout.write(new Uint8Array(result.buffer));
}
