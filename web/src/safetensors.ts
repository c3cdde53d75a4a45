/** The tensors of a .safetensors file: a header's length, the header in JSON, the data. */

import { BundleError } from "./errors";

interface Stored {
  dtype?: string;
  shape?: number[];
  data_offsets?: number[];
}

/**
 * The file's tensors, which are to be these, in float32 and finite: by name, each row by row. Throws a BundleError that
 * names the file and what was found.
 */
export function readTensors(bytes: Uint8Array, name: string, shapes: Record<string, number[]>): Record<string, Float32Array> {
  const refuse = (what: string) => new BundleError(`${name}: ${what}; export the avatar again`);
  let header: Record<string, Stored | null>;
  const length = bytes.length < 8 ? NaN : Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  try {
    if (!(length <= bytes.length - 8)) throw new RangeError("its header does not fit");
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length)));
    delete header.__metadata__;
  } catch (error) {
    throw refuse(`not a .safetensors file (${(error as Error).message})`);
  }
  const expected = told(Object.entries(shapes).map(([tensor, shape]) => [tensor, { dtype: "F32", shape }]));
  const found = told(Object.entries(header));
  if (found !== expected) throw refuse(`expected ${expected.slice(0, 200)}, found ${found.slice(0, 200) || "nothing"}`);
  const tensors: Record<string, Float32Array> = {};
  let end = 0; // of the data so far: they leave nothing between them
  const byPlace = (Object.entries(header) as [string, Stored][]).sort(([, a], [, b]) => a.data_offsets?.[0]! - b.data_offsets?.[0]!);
  for (const [tensor, { data_offsets }] of byPlace) {
    const [from, to] = [end, end + shapes[tensor].reduce((product, side) => product * side, 4)];
    end = to;
    if (String(data_offsets) !== String([from, to]) || bytes.length < 8 + length + to) throw refuse("its data are cut short");
    tensors[tensor] = new Float32Array(bytes.slice(8 + length + from, 8 + length + to).buffer);
    if (!tensors[tensor].every(Number.isFinite)) throw refuse(`${tensor.slice(0, 40)}: holds values that are not finite`);
  }
  if (bytes.length !== 8 + length + end) throw refuse("its data are cut short");
  return tensors;
}

function told(tensors: [string, Stored | null][]): string {
  return tensors.map(([name, stored]) => `${name} ${stored?.dtype} [${stored?.shape}]`).sort().join(", ");
}
