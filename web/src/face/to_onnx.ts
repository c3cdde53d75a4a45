/**
 * The face networks, which are .tflite files, as ONNX: so that one runtime of 14 MB computes everything. Activations
 * (1, H, W, C) become (1, C, H, W); what is not in these two networks is refused.
 */

import { InputError } from "../errors";
import { message, type Value } from "../protobuf";
import { readTflite, type TfliteOperator } from "./tflite";

// The schema's numbers of the operators
const OP = { ADD: 0, CONCAT: 2, CONV: 3, DEPTHWISE: 4, DEQUANTIZE: 6, MAX_POOL: 17, RELU: 19, RESHAPE: 22, PAD: 34, PRELU: 54 };
const [FLOAT, INT64] = [1, 7]; // ONNX's
const TO_CHANNELS_LAST = [0, 2, 3, 1];

/** An ONNX model of a .tflite's content: input (1, 3, S, S), outputs of the .tflite's shapes. */
export function tfliteToOnnx(bytes: Uint8Array): { onnx: Uint8Array; inputShape: number[]; outputs: string[] } {
  const { tensors, operators, inputs, outputs } = readTflite(bytes);
  const alias = new Map<number, number>(); // of a widened constant: the one that it was
  const nodes: [number, Value][] = [];
  const constants: [number, Value][] = [];
  const name = (tensor: number) => `t${tensor}`;
  const shape = (tensor: number) => tensors[tensor].shape;
  const planar = ([n, h, w, c]: number[]) => [n, c, h, w];
  const data = (tensor: number) => tensors[alias.get(tensor) ?? tensor].data;
  let made = 0;

  const node = (type: string, from: string[], to: string, attributes: Record<string, number | number[]> = {}) => {
    const written = Object.entries(attributes).map(([key, value]): [number, Value] => [
      5, message([1, key], Array.isArray(value) ? [8, value] : [3, value], [20, Array.isArray(value) ? 7 : 2]),
    ]); // prettier-ignore
    nodes.push([1, message(...from.map((one): [number, Value] => [1, one]), [2, to], [4, type], ...written)]);
    return to;
  };
  const constant = (values: Float32Array | BigInt64Array, dims: number[]) => {
    const key = `c${made++}`;
    const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    constants.push([5, message([1, dims], [2, values instanceof Float32Array ? FLOAT : INT64], [8, key], [9, raw])]);
    return key;
  };
  const whole = (values: number[]) => constant(BigInt64Array.from(values, BigInt), [values.length]);
  const floats = (tensor: number) => {
    const found = data(tensor);
    if (!(found instanceof Float32Array)) throw new InputError(`${tensors[tensor].name}: expected constant numbers`);
    return found;
  };
  /** Begin and end of both axes, as TensorFlow pads "SAME". */
  const pads = (operator: TfliteOperator, kernel: number[], strides: number[], dilations = [1, 1]) => {
    if (operator.option(0, 1) !== 0) return [0, 0, 0, 0];
    const size = shape(operator.inputs[0]).slice(1, 3);
    const total = size.map((side, axis) =>
      Math.max((Math.ceil(side / strides[axis]) - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1 - side, 0),
    );
    return [...total.map((all) => all >> 1), ...total.map((all) => all - (all >> 1))];
  };
  const finish = (from: string, tensor: number, activation: number) => {
    if (activation > 1) throw new InputError(`activation ${activation}: not one of the face networks'`);
    node(activation ? "Relu" : "Identity", [from], name(tensor));
  };

  for (const operator of operators) {
    const [first, second, third] = operator.inputs;
    const [result] = operator.outputs;
    const to = `${name(result)}_`;
    if (operator.code === OP.DEQUANTIZE) alias.set(result, first);
    else if (operator.code === OP.CONV || operator.code === OP.DEPTHWISE) {
      const deep = operator.code === OP.DEPTHWISE;
      const [out, height, width, channels] = shape(second);
      const strides = [operator.option(2), operator.option(1)];
      const dilations = deep ? [operator.option(6, 4, 1), operator.option(5, 4, 1)] : [operator.option(5, 4, 1), operator.option(4, 4, 1)];
      const dims = deep ? [channels, 1, height, width] : [out, channels, height, width];
      const order = deep ? [3, 0, 1, 2] : [0, 3, 1, 2];
      const weights = constant(transposed(floats(second), shape(second), order), dims);
      const bias = constant(floats(third), shape(third));
      const attributes = { group: deep ? channels : 1, strides, dilations, pads: pads(operator, [height, width], strides, dilations) };
      finish(node("Conv", [name(first), weights, bias], to, attributes), result, operator.option(deep ? 4 : 3, 1));
    } else if (operator.code === OP.MAX_POOL) {
      const [strides, kernel] = [[operator.option(2), operator.option(1)], [operator.option(4), operator.option(3)]];
      const attributes = { kernel_shape: kernel, strides, pads: pads(operator, kernel, strides) };
      finish(node("MaxPool", [name(first)], to, attributes), result, operator.option(5, 1));
    } else if (operator.code === OP.ADD) finish(node("Add", [name(first), name(second)], to), result, operator.option(0, 1));
    else if (operator.code === OP.RELU) node("Relu", [name(first)], name(result));
    else if (operator.code === OP.PRELU) {
      const slopes = floats(second);
      node("PRelu", [name(first), constant(slopes, [slopes.length, 1, 1])], name(result));
    } else if (operator.code === OP.PAD) {
      const by = data(second) as Int32Array; // (4, 2): begin and end of each axis, channels last
      const [begin, end] = [0, 1].map((side) => planar([0, 1, 2, 3].map((axis) => by[2 * axis + side])));
      node("Pad", [name(first), whole([...begin, ...end])], name(result));
    } else if (operator.code === OP.RESHAPE) {
      const from = shape(first).length === 4 ? node("Transpose", [name(first)], to, { perm: TO_CHANNELS_LAST }) : name(first);
      node("Reshape", [from, whole(shape(result))], name(result));
    } else if (operator.code === OP.CONCAT && shape(result).length !== 4) {
      node("Concat", operator.inputs.map(name), name(result), { axis: operator.option(0) });
    } else throw new InputError(`operator ${operator.code}: not one of the face networks'`);
  }
  const inputShape = planar(shape(inputs[0]));
  const named = (to: string, dims: number[]) => {
    const dimensions = dims.map((size): [number, Value] => [1, message([1, size])]);
    return message([1, to], [2, message([1, message([1, FLOAT], [2, message(...dimensions)])])]);
  };
  const ends = outputs.map((tensor) => {
    const flat = node("Reshape", [name(tensor), whole(shape(tensor))], `out${tensor}`); // of (1, C, 1, 1) the same numbers
    return [12, named(flat, shape(tensor))] as [number, Value];
  });
  const graph = message(...nodes, [2, "face"], ...constants, [11, named(name(inputs[0]), inputShape)], ...ends);
  const onnx = message([1, 8], [8, message([1, ""], [2, 13])], [7, graph]);
  return { onnx, inputShape, outputs: outputs.map((tensor) => `out${tensor}`) };
}

/** An array of four axes with them in another order. */
function transposed(values: Float32Array, shape: number[], order: number[]): Float32Array {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, side) => product * side, 1));
  const [sides, steps] = [order.map((axis) => shape[axis]), order.map((axis) => strides[axis])];
  const result = new Float32Array(values.length);
  let at = 0;
  for (let a = 0; a < sides[0]; a++)
    for (let b = 0; b < sides[1]; b++)
      for (let c = 0; c < sides[2]; c++)
        for (let d = 0; d < sides[3]; d++) result[at++] = values[a * steps[0] + b * steps[1] + c * steps[2] + d * steps[3]];
  return result;
}
