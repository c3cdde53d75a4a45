/** Protobuf's wire format, read and written: for the two things that the page asks of an .onnx. */

/** Numbers and values of a message's fields: bigint for a varint, bytes for what has a length; others are skipped. */
export function* fields(message: Uint8Array): Generator<[number, bigint | Uint8Array]> {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n && at < message.length; shift += 7n) {
      const byte = view.getUint8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError("a number without an end");
  };
  while (at < message.length) {
    const tag = Number(varint() & 0xffffffffn);
    const [number, wire] = [tag >>> 3, tag & 7];
    if (wire === 0) {
      yield [number, varint()];
      continue;
    }
    const length = wire === 2 ? Number(varint()) : wire === 1 ? 8 : wire === 5 ? 4 : NaN;
    if (Number.isNaN(length)) throw new RangeError(`field ${number} of wire type ${wire}`);
    if (length > message.length - at) throw new RangeError(`field ${number} of ${length} bytes, ${message.length - at} are there`);
    yield [number, message.subarray(at, at + length)];
    at += length;
  }
}

export type Value = number | string | Uint8Array | number[];

/** A message of (number, value) pairs: whole numbers as varints, text and bytes with their length, lists packed. */
export function message(...content: [number, Value][]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [number, value] of content) {
    if (typeof value === "number") parts.push(varint(number * 8), varint(value));
    else {
      const bytes =
        typeof value === "string" ? new TextEncoder().encode(value) : Array.isArray(value) ? joined(value.map(varint)) : value;
      parts.push(varint(number * 8 + 2), varint(bytes.length), bytes);
    }
  }
  return joined(parts);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value < 0 ? (1n << 64n) + BigInt(value) : BigInt(value); ; rest >>= 7n) {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    if (rest <= 0x7fn) return Uint8Array.from(bytes);
  }
}

function joined(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// Fields that lead to tensors: message -> number -> message (onnx.proto3)
const LEADS: Record<string, Record<number, string>> = {
  Model: { 7: "Graph", 20: "Training", 25: "Function" },
  Training: { 1: "Graph", 2: "Graph" },
  Function: { 7: "Node", 11: "Attribute" },
  Graph: { 1: "Node", 5: "Tensor", 15: "Sparse" },
  Node: { 5: "Attribute" },
  Attribute: { 5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse" },
  Sparse: { 1: "Tensor", 2: "Tensor" },
};
const [EXTERNAL_DATA, DATA_LOCATION] = [13, 14];

/** Whether any tensor of an ONNX model lies in another file, which no hash covers; throws a RangeError if it is none. */
export function externalData(content: Uint8Array, kind = "Model", depth = 0): boolean {
  if (depth > 100) throw new RangeError("messages more than 100 deep");
  for (const [number, value] of fields(content)) {
    if (kind === "Tensor") {
      if (number === EXTERNAL_DATA || (number === DATA_LOCATION && value)) return true;
    } else if (value instanceof Uint8Array && LEADS[kind][number] && externalData(value, LEADS[kind][number], depth + 1)) {
      return true;
    }
  }
  return false;
}
