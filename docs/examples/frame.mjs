// The order of work of docs/bundle.md, on one pose: 136 raw float32 numbers. An avatar's folder comes first.
//   node frame.mjs out pose.f32 > encoded.f32                          what the network takes
//   node frame.mjs out pose.f32 layers=layers.f32 > frame.rgba         the frame of that pose's output tensors, by name
import { readFileSync } from "node:fs";
import { moveWarp } from "./anchors.mjs";
import { drawLids } from "./lids.mjs";
import { composeFrame, encodePose, readAvatar, readResults, readTensor } from "./reader.mjs";

const floats = (path) => new Float32Array(Uint8Array.from(readFileSync(path)).buffer); // little-endian, as all that run Node

function frameOf({ contract, content }, pose, tensors) {
  const side = (contract.texture_size ?? contract.image_size) + 3;
  const results = readResults(contract, tensors);
  let texture = readTensor(content.texture, "texture", [side, side, 4]);
  if (contract.lids) {
    const { levels, eyes } = contract.lids;
    const pieces = eyes.map(({ tensor, width, height }) => readTensor(content.lids, tensor, [levels, height, width, 4]));
    texture = drawLids(contract, texture, pieces, pose);
  }
  if (contract.anchors) results.delta_uv = moveWarp(contract, results.delta_uv, pose);
  return composeFrame(contract, texture, results);
}

const [folder, posePath, ...tensorPaths] = process.argv.slice(2);
const [avatar, pose] = [readAvatar(folder), floats(posePath)];
const encoded = encodePose(avatar.contract.input.harmonics, pose); // refuses a pose that is not finite
const tensors = Object.fromEntries(tensorPaths.map((word) => word.split("=")).map(([name, path]) => [name, floats(path)]));
process.stdout.write(new Uint8Array((tensorPaths.length ? frameOf(avatar, pose, tensors) : encoded).buffer));
