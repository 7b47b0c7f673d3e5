/** Tensors of the interpreter: contiguous values in C order. */

export type Floats = Float32Array | Float64Array;
export type Values = Floats | Int32Array | Uint8Array;

/** Floats are Float32Array, or of double precision Float64Array; whole numbers Int32Array, truth values Uint8Array: the array's class is the tensor's type. */
export interface Tensor {
  shape: number[];
  data: Values;
}

export type Argument = Tensor | number | boolean | string | null | undefined | Argument[];
export type Operator = (...args: any[]) => Tensor | Tensor[];

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export const isTensor = (value: unknown): value is Tensor =>
  typeof value === "object" && value !== null && "data" in value && "shape" in value;

export const floats = (shape: number[], data: Values = new Float32Array(sizeOf(shape))): Tensor => ({ shape, data });

export const isFloats = (values: Values): values is Floats => values instanceof Float32Array || values instanceof Float64Array;

/** Room for floats: doubles where `values` are. */
export const floatsLike = (values: Values, size: number): Floats => (values instanceof Float64Array ? new Float64Array(size) : new Float32Array(size));

export function like(values: Values, size: number): Values {
  if (isFloats(values)) return floatsLike(values, size);
  return values instanceof Int32Array ? new Int32Array(size) : new Uint8Array(size);
}

/** The values of a tensor in single precision, in which networks compute. */
export const asFloats = (t: Tensor): Float32Array =>
  t.data instanceof Float32Array ? t.data : Float32Array.from(t.data);

/** The float values of a tensor: its own array if it has floats. */
export const ownFloats = (t: Tensor): Floats => (isFloats(t.data) ? t.data : Float32Array.from(t.data));

export const axisOf = (dim: number, rank: number): number => (dim < 0 ? dim + Math.max(rank, 1) : dim);

/** Steps in the flat array for one step along each axis. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}

/** The shape that two broadcast to. */
export function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  const shape = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) throw new Error(`shapes [${a}] and [${b}] do not fit`);
    shape[i] = x === 1 ? y : x;
  }
  return shape;
}

/** Strides over `shape` of a tensor that is broadcast to it: 0 where it is repeated. */
export function stridesTo(from: readonly number[], shape: readonly number[]): number[] {
  const own = stridesOf(from);
  const lead = shape.length - from.length;
  return shape.map((_, i) => (i < lead || from[i - lead] === 1 ? 0 : own[i - lead]!));
}

/** A tensor of `shape` whose value at (i, j, …) is that of `data` at offset + i·strides[0] + j·strides[1] + … */
export function gathered(data: Values, shape: number[], strides: readonly number[], offset = 0): Tensor {
  const size = sizeOf(shape);
  const out = like(data, size);
  const rank = shape.length;
  if (size === 0) return { shape, data: out };
  if (rank === 0) {
    out[0] = data[offset]!;
    return { shape, data: out };
  }
  const inner = shape[rank - 1]!;
  const step = strides[rank - 1]!;
  const index = new Array<number>(rank - 1).fill(0);
  let from = offset;
  for (let at = 0; at < size; at += inner) {
    if (step === 1) out.set(data.subarray(from, from + inner), at);
    else if (step === 0) out.fill(data[from]!, at, at + inner);
    else for (let i = 0, j = from; i < inner; i++, j += step) out[at + i] = data[j]!;
    for (let axis = rank - 2; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= shape[axis]! * strides[axis]!;
      index[axis] = 0;
    }
  }
  return { shape, data: out };
}

/** [outer, length, inner] of an axis. */
export function around(shape: readonly number[], axis: number): [number, number, number] {
  return [sizeOf(shape.slice(0, axis)), shape[axis] ?? 1, sizeOf(shape.slice(axis + 1))];
}
