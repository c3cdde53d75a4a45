// A reader of avatar bundles in plain JavaScript, after docs/bundle.md; a test holds its frames to the Python player's.
//   node reader.mjs avatar.json pose.f32 > encoded.f32                          what the network takes
//   node reader.mjs avatar.json pose.f32 layers=layers.f32 > frame.rgba         the frame of that pose's output tensors
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

const tapsOf = (from, to) => Array.from({ length: to }, (_, pixel) => { // between which of `from` values each of `to` lies
  const place = clamp((pixel + 0.5) * (from / to) - 0.5, from - 1);
  return [Math.floor(place), Math.min(Math.floor(place) + 1, from - 1), place - Math.floor(place)];
});
const between = (value, [top, bottom, down], [left, right, across]) => {
  const row = (at) => value(at, left) + across * (value(at, right) - value(at, left));
  return row(top) + down * (row(bottom) - row(top));
};

// What the anchors add to delta_uv(axis, row, column) of a pose: a function of the same
export function anchorWarp({ reach, limit, points }, S, deltaUv, pose) {
  const bell = (distance) => Math.exp(-0.5 * (distance / reach) ** 2);
  const places = points.map(({ landmark }) => [0, 1].map((axis) => pose[2 * landmark + axis] + 1 / S));
  const errors = points.map(({ x, y }, i) => {
    const at = places[i].map((place) => clamp(((place + 1) * S - 1) / 2, S - 1));
    const [across, down] = at.map((place) => [Math.floor(place), Math.min(Math.floor(place) + 1, S - 1), place - Math.floor(place)]);
    const uv = at.map((place, axis) => (2 * place + 1) / S - 1 + between((row, column) => deltaUv(axis, row, column), down, across));
    const error = [x - uv[0], y - uv[1]];
    const scale = error.every(Number.isFinite) ? limit / Math.max(Math.hypot(...error), limit) : 0;
    return error.map((part) => (scale ? part * scale : 0));
  });
  const rows = places.map((a, i) => [...places.map((b, j) => bell(Math.hypot(a[0] - b[0], a[1] - b[1])) + (i === j ? points[i].ridge : 0)), ...errors[i]]);
  rows.forEach((pivot, k) => rows.forEach((row, i) => { // Gauss and Jordan; the ridge keeps the pivots from 0
    if (i === k) return;
    const factor = row[k] / pivot[k];
    for (let j = k; j < row.length; j++) row[j] -= factor * pivot[j];
  }));
  const centres = Array.from({ length: 32 }, (_, tile) => (2 * tile + 1) / 32 - 1);
  const field = [0, 1].map((axis) => centres.map((y) => centres.map((x) => rows.reduce(
    (sum, row, i) => sum + (row[points.length + axis] / row[i]) * bell(Math.hypot(x - places[i][0], y - places[i][1])), 0))));
  const taps = tapsOf(32, S);
  return (axis, i, j) => between((row, column) => field[axis][row][column], taps[i], taps[j]);
}

export function composeFrame({ contract, texture }, tensors, pose) {
  const { image_size: S, texture_size: T = S, frame_size: F = S, align_corners, outputs, anchors } = contract;
  const taps = tapsOf(S, F);
  const given = (where, channel, row, column) => tensors[where.tensor][((where.start + channel) * S + row) * S + column] * where.scale + where.offset;
  const moves = anchors ? anchorWarp(anchors, S, (axis, row, column) => given(outputs.delta_uv, axis, row, column), pose) : () => 0;
  const value = (where, channel, row, column) => given(where, channel, row, column) + (where === outputs.delta_uv ? moves(channel, row, column) : 0);
  const result = (where, channel, i, j) => between((row, column) => value(where, channel, row, column), taps[i], taps[j]);
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
  const result = tensorPaths.length ? composeFrame(avatar, tensors, pose) : encodePose(avatar.contract.input.harmonics, pose);
  process.stdout.write(new Uint8Array(result.buffer));
}
