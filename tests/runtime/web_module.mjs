// Asks the page's module, as it lies in the wheel: a list of requests on stdin, a list of answers on stdout.
//   node web_module.mjs FOLDER     with bilayer.js and avatar.schema.json
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const web = await import(pathToFileURL(join(process.argv[2], "bilayer.js")));
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const floats = (text) => new Float32Array(bytes(text).buffer);

const CALLS = {
  contract: ({ content }) => web.readContract(bytes(content), "avatar.json"),
  bundle: async ({ files, name, engine }) => {
    const read = async (wanted) => {
      if (!(wanted in files)) throw new web.BundleError(`${wanted}: missing`);
      return bytes(files[wanted]);
    };
    const { contract, network, texture, pieces } = await web.readBundle(name, read, engine);
    const lids = pieces?.map((eye) => eye.length);
    return { contract, texture: texture.length, network: [network.engine, network.name], lids };
  },
  sha256: ({ content }) => Buffer.from(web.plainSha256(bytes(content))).toString("hex"),
  external: ({ content }) => web.externalData(bytes(content)),
  anchors: ({ contract, planes, pose }) => {
    const given = floats(planes);
    web.WarpMover.of(contract)?.move(given, floats(pose));
    return [...given];
  },
  encode: ({ pose, harmonics }) => [...web.encodePose(pose, harmonics)],
  retarget: ({ source, mode, reference, frames, gains }) => {
    const retargeter = new web.Retargeter(source, mode, reference);
    if (gains) retargeter.gains = gains;
    return frames.map((frame) => [...retargeter.pose(frame)]);
  },
  demo: ({ source, times }) => times.map((seconds) => [...new web.DemoMotion(source).pose(seconds)]),
  smooth: ({ cutoff, haste, values, times }) => {
    const filter = new web.OneEuro(cutoff, haste);
    return values.map((value, index) => [...filter.filter(value, times[index])]);
  },
  poses: ({ source, amount, poses, times }) => {
    const smoother = new web.PoseSmoother(source, amount);
    return poses.map((pose, index) => [...smoother.pose(pose, times[index])]);
  },
  latency: ({ amounts }) => amounts.map(web.latencyMs),
  problems: ({ frames, lights }) => frames.map((frame, index) => web.problems(frame, lights[index])),
  shut: ({ source, poses }) => poses.map((pose) => web.shutEyes(pose, source)),
  lids: ({ contract, texture, pieces, poses }) => {
    const bundle = { contract, texture: floats(texture), pieces: pieces.map(floats) };
    const painter = web.LidPainter.of(bundle);
    return poses.map((pose) => painter.show(painter.levelsOf(pose)).map((patch) => ({ ...patch, texels: [...patch.texels] })));
  },
  compose: ({ contract, texture, tensors, view }) => {
    const named = Object.fromEntries(Object.entries(tensors).map(([name, values]) => [name, floats(values)]));
    const planes = web.gather(named, contract, new Float32Array(6 * contract.image_size ** 2));
    const frame = new Uint8ClampedArray(4 * contract.frame_size ** 2);
    web.compose({ contract, texture: floats(texture) }, planes, frame, view);
    return Buffer.from(frame).toString("base64");
  },
  onnx: ({ tflite }) => {
    const { onnx, outputs } = web.tfliteToOnnx(bytes(tflite));
    return { onnx: Buffer.from(onnx).toString("base64"), outputs };
  },
};

const answers = [];
for (const { call, ...request } of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    answers.push({ value: await CALLS[call](request) });
  } catch (error) {
    answers.push({ error: error.name, message: error.message });
  }
}
process.stdout.write(JSON.stringify(answers));
