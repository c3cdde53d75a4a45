/** A float network out of a .tflite file, as much of its schema as the two face networks use. */

import { InputError } from "../errors";

export interface TfliteTensor {
  name: string;
  shape: number[];
  data: Float32Array | Int32Array | null; // of constants; float16 is widened
}
export interface TfliteOperator {
  code: number;
  inputs: number[];
  outputs: number[];
  /** A field of the operator's options as a whole number; `size` is 1 for enumerations. */
  option(field: number, size?: 1 | 4, otherwise?: number): number;
}
export interface TfliteGraph {
  tensors: TfliteTensor[];
  operators: TfliteOperator[];
  inputs: number[];
  outputs: number[];
}

const [FLOAT32, FLOAT16, INT32] = [0, 1, 2];

export function readTflite(bytes: Uint8Array): TfliteGraph {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8 || String.fromCharCode(...bytes.subarray(4, 8)) !== "TFL3") throw new InputError("not a .tflite file");
  // FlatBuffers: a table begins with the way back to its vtable, which tells where each field lies
  const field = (table: number, number: number): number => {
    const vtable = table - view.getInt32(table, true);
    const entry = 4 + 2 * number;
    const offset = entry < view.getUint16(vtable, true) ? view.getUint16(vtable + entry, true) : 0;
    return offset && table + offset;
  };
  const follow = (at: number) => at + view.getUint32(at, true);
  const vector = (table: number, number: number): { start: number; length: number } => {
    const at = field(table, number);
    if (!at) return { start: 0, length: 0 };
    return { start: follow(at) + 4, length: view.getUint32(follow(at), true) };
  };
  const tables = (table: number, number: number) => {
    const { start, length } = vector(table, number);
    return Array.from({ length }, (_, index) => follow(start + 4 * index));
  };
  const numbers = (table: number, number: number) => {
    const { start, length } = vector(table, number);
    return Array.from({ length }, (_, index) => view.getInt32(start + 4 * index, true));
  };
  const text = (table: number, number: number) => {
    const { start, length } = vector(table, number);
    return new TextDecoder().decode(bytes.subarray(start, start + length));
  };
  const byte = (table: number, number: number, otherwise = 0) => {
    const at = field(table, number);
    return at ? view.getInt8(at) : otherwise;
  };
  const word = (table: number, number: number, otherwise = 0) => {
    const at = field(table, number);
    return at ? view.getInt32(at, true) : otherwise;
  };
  const model = follow(0);
  const codes = tables(model, 1).map((code) => Math.max(byte(code, 0), word(code, 3)));
  const buffers = tables(model, 4).map((buffer) => vector(buffer, 0));
  const [graph] = tables(model, 2);
  const tensors = tables(graph, 0).map((tensor): TfliteTensor => {
    const [type, { start, length }] = [byte(tensor, 1), buffers[word(tensor, 2)]];
    let data: TfliteTensor["data"] = null;
    if (length && type === FLOAT32) data = new Float32Array(bytes.slice(start, start + length).buffer);
    if (length && type === INT32) data = new Int32Array(bytes.slice(start, start + length).buffer);
    if (length && type === FLOAT16) data = Float32Array.from({ length: length / 2 }, (_, i) => half(view.getUint16(start + 2 * i, true)));
    return { name: text(tensor, 3), shape: numbers(tensor, 0), data };
  });
  const operators = tables(graph, 3).map((operator): TfliteOperator => {
    const options = field(operator, 4) && follow(field(operator, 4));
    return {
      code: codes[word(operator, 0)],
      inputs: numbers(operator, 1),
      outputs: numbers(operator, 2),
      option: (number, size = 4, otherwise = 0) => (options ? (size === 1 ? byte : word)(options, number, otherwise) : otherwise),
    };
  });
  return { tensors, operators, inputs: numbers(graph, 1), outputs: numbers(graph, 2) };
}

/** A float16 as a number. */
function half(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
  return bits & 0x8000 ? -size : size;
}
