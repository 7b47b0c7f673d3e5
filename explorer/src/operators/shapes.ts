/** Operators that move values, pick some, or make new ones. */

import { transposed } from "./linear";
import {
  around, asFloats, axisOf, broadcast, floats, gathered, isFloats, isTensor, like, sizeOf, stridesOf, stridesTo,
  type Operator, type Tensor, type Values,
} from "./tensor";

const same: Operator = (x: Tensor) => x;

function view(x: Tensor, shape: number[]): Tensor {
  const hole = shape.indexOf(-1);
  const out = [...shape];
  if (hole >= 0) out[hole] = x.data.length / sizeOf(shape.filter((_, i) => i !== hole));
  return { shape: out, data: x.data };
}

function permute(x: Tensor, dims: number[]): Tensor {
  const strides = stridesOf(x.shape);
  const axes = dims.map((d) => axisOf(d, x.shape.length));
  return gathered(x.data, axes.map((a) => x.shape[a]!), axes.map((a) => strides[a]!));
}

function expand(x: Tensor, sizes: number[]): Tensor {
  const lead = sizes.length - x.shape.length;
  const shape = sizes.map((s, i) => (s === -1 ? x.shape[i - lead]! : s));
  if (sizeOf(shape) === x.data.length) return { shape, data: x.data };
  return gathered(x.data, shape, stridesTo(x.shape, shape));
}

function squeeze(x: Tensor, dims?: number | number[]): Tensor {
  const rank = x.shape.length;
  const axes = dims === undefined ? x.shape.map((_, i) => i) : (typeof dims === "number" ? [dims] : dims).map((d) => axisOf(d, rank));
  return { shape: x.shape.filter((s, i) => !(s === 1 && axes.includes(i))), data: x.data };
}

function unsqueeze(x: Tensor, dim: number): Tensor {
  const shape = [...x.shape];
  shape.splice(dim < 0 ? dim + shape.length + 1 : dim, 0, 1);
  return { shape, data: x.data };
}

function slice(x: Tensor, dim = 0, start?: number | null, end?: number | null, step = 1): Tensor {
  const axis = axisOf(dim, x.shape.length);
  const length = x.shape[axis]!;
  const inside = (v: number): number => Math.min(Math.max(v < 0 ? v + length : v, 0), length);
  const [from, to] = [inside(start ?? 0), inside(end ?? length)];
  if (from === 0 && to === length && step === 1) return x;
  const strides = stridesOf(x.shape);
  const shape = [...x.shape];
  shape[axis] = Math.max(0, Math.ceil((to - from) / step));
  const offset = from * strides[axis]!;
  strides[axis] = strides[axis]! * step;
  return gathered(x.data, shape, strides, offset);
}

function select(x: Tensor, dim: number, index: number): Tensor {
  const axis = axisOf(dim, x.shape.length);
  const at = index < 0 ? index + x.shape[axis]! : index;
  return squeeze(slice(x, axis, at, at + 1), axis);
}

function cat(tensors: Tensor[], dim = 0): Tensor {
  // PyTorch leaves out empty tensors of one dimension.
  const parts = tensors.filter((t) => !(t.shape.length === 1 && t.shape[0] === 0));
  const first = parts[0] ?? tensors[0]!;
  const axis = axisOf(dim, first.shape.length);
  const shape = [...first.shape];
  shape[axis] = parts.reduce((sum, t) => sum + t.shape[axis]!, 0);
  const kind = parts.find((t) => t.data instanceof Float64Array) ?? parts.find((t) => isFloats(t.data)) ?? first;
  const out = like(kind.data, sizeOf(shape));
  const [outer, total, inner] = around(shape, axis);
  let at = 0;
  for (const t of parts) {
    const run = t.shape[axis]! * inner;
    for (let o = 0; o < outer; o++) out.set(t.data.subarray(o * run, (o + 1) * run), o * total * inner + at);
    at += run;
  }
  return { shape, data: out };
}

function splitWithSizes(x: Tensor, sizes: number[], dim = 0): Tensor[] {
  let at = 0;
  return sizes.map((size) => slice(x, dim, at, (at += size)));
}

function split(x: Tensor, size: number | number[], dim = 0): Tensor[] {
  if (typeof size !== "number") return splitWithSizes(x, size, dim);
  const length = x.shape[axisOf(dim, x.shape.length)]!;
  return splitWithSizes(x, Array.from({ length: Math.ceil(length / size) }, (_, i) => Math.min(size, length - i * size)), dim);
}

function repeat(x: Tensor, times: number[]): Tensor {
  const rank = times.length;
  const shape = [...new Array<number>(rank - x.shape.length).fill(1), ...x.shape];
  let out: Tensor = { shape, data: x.data };
  times.forEach((n, axis) => {
    if (n !== 1) out = cat(new Array<Tensor>(n).fill(out), axis);
  });
  return out;
}

function flip(x: Tensor, dims: number[]): Tensor {
  const strides = stridesOf(x.shape);
  let offset = 0;
  for (const d of dims) {
    const axis = axisOf(d, x.shape.length);
    offset += (x.shape[axis]! - 1) * strides[axis]!;
    strides[axis] = -strides[axis]!;
  }
  return gathered(x.data, x.shape, strides, offset);
}

/** `pad` says, from the last axis on, how much is added before and behind: less than nothing cuts. */
function pad(x: Tensor, amounts: number[], value = 0): Tensor {
  const rank = x.shape.length;
  let out = x;
  for (let i = 0; i * 2 < amounts.length; i++) {
    const axis = rank - 1 - i;
    const [before, after] = [amounts[2 * i]!, amounts[2 * i + 1]!];
    if (before < 0 || after < 0) out = slice(out, axis, Math.max(0, -before), out.shape[axis]! + Math.min(0, after));
    const block = (n: number): Tensor[] => {
      if (n <= 0) return [];
      const shape = out.shape.map((s, a) => (a === axis ? n : s));
      return [{ shape, data: like(out.data, sizeOf(shape)).fill(value) }];
    };
    out = cat([...block(before), out, ...block(after)], axis);
  }
  return out;
}

/** Reflection and replication: the index along an axis from which each new place is taken. */
function padFrom(x: Tensor, amounts: number[], from: (i: number, length: number) => number): Tensor {
  let out = x;
  for (let i = 0; i * 2 < amounts.length; i++) {
    const axis = x.shape.length - 1 - i;
    const length = x.shape[axis]!;
    const index = Array.from({ length: length + amounts[2 * i]! + amounts[2 * i + 1]! }, (_, j) => from(j - amounts[2 * i]!, length));
    out = indexSelect(out, axis, { shape: [index.length], data: Int32Array.from(index) });
  }
  return out;
}
const reflected = (i: number, n: number): number => (i < 0 ? -i : i >= n ? 2 * n - 2 - i : i);
const replicated = (i: number, n: number): number => Math.min(Math.max(i, 0), n - 1);

function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  const axis = axisOf(dim, x.shape.length);
  const [outer, length, inner] = around(x.shape, axis);
  const n = index.data.length;
  const shape = [...x.shape];
  shape[axis] = n;
  const out = like(x.data, outer * n * inner);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < n; i++) {
      const at = (o * length + index.data[i]!) * inner;
      out.set(x.data.subarray(at, at + inner), (o * n + i) * inner);
    }
  return { shape, data: out };
}

/** x[i, :, j]: indices broadcast to one shape, which stands where the first of neighbours stood, else in front. */
function index(x: Tensor, indices: (Tensor | null)[]): Tensor {
  const axes = indices.flatMap((t, i) => (t ? [i] : []));
  let used = axes.map((a) => indices[a]!);
  if (used.some((t) => t.data instanceof Uint8Array)) {
    if (used.length > 1 || used[0]!.shape.length !== 1) throw new Error("a mask picks along one axis");
    used = [{ shape: [0], data: Int32Array.from([...used[0]!.data].flatMap((v, i) => (v ? [i] : []))) }];
    used[0]!.shape = [used[0]!.data.length];
  }
  const shape = used.reduce<number[]>((s, t) => broadcast(s, t.shape), []);
  const spread = used.map((t) => gathered(t.data, shape, stridesTo(t.shape, shape)).data);
  const others = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const adjacent = axes.every((a, i) => i === 0 || a === axes[i - 1]! + 1);
  const before = adjacent ? others.filter((i) => i < axes[0]!) : [];
  const after = others.filter((i) => !before.includes(i));
  const strides = stridesOf(x.shape);
  const [lead, tail] = [before.map((i) => x.shape[i]!), after.map((i) => x.shape[i]!)];
  const [outer, n, inner] = [sizeOf(lead), sizeOf(shape), sizeOf(tail)];
  const out = like(x.data, outer * n * inner);
  const starts = gathered(Int32Array.from({ length: sizeOf(x.shape) }, (_, i) => i), lead, before.map((i) => strides[i]!)).data;
  const ends = gathered(Int32Array.from({ length: sizeOf(x.shape) }, (_, i) => i), tail, after.map((i) => strides[i]!)).data;
  for (let o = 0, at = 0; o < outer; o++)
    for (let i = 0; i < n; i++) {
      let from = starts[o]!;
      axes.forEach((a, k) => {
        const v = spread[k]![i]!;
        from += (v < 0 ? v + x.shape[a]! : v) * strides[a]!;
      });
      for (let j = 0; j < inner; j++, at++) out[at] = x.data[from + ends[j]!]!;
    }
  return { shape: [...lead, ...shape, ...tail], data: out };
}

function gather(x: Tensor, dim: number, at: Tensor): Tensor {
  const axis = axisOf(dim, x.shape.length);
  const strides = stridesOf(x.shape);
  const out = like(x.data, at.data.length);
  const own = stridesOf(at.shape);
  for (let i = 0; i < out.length; i++) {
    let from = at.data[i]! * strides[axis]!;
    for (let a = 0, rest = i; a < own.length; a++) {
      const place = Math.floor(rest / own[a]!);
      rest -= place * own[a]!;
      if (a !== axis) from += place * strides[a]!;
    }
    out[i] = x.data[from]!;
  }
  return { shape: at.shape, data: out };
}

function scatter(x: Tensor, dim: number, at: Tensor, source: Tensor | number): Tensor {
  const axis = axisOf(dim, x.shape.length);
  const strides = stridesOf(x.shape);
  const own = stridesOf(at.shape);
  const out = x.data.slice();
  for (let i = 0; i < at.data.length; i++) {
    let to = at.data[i]! * strides[axis]!;
    for (let a = 0, rest = i; a < own.length; a++) {
      const place = Math.floor(rest / own[a]!);
      rest -= place * own[a]!;
      if (a !== axis) to += place * strides[a]!;
    }
    out[to] = isTensor(source) ? source.data[i]! : source;
  }
  return { shape: x.shape, data: out };
}

const written = (x: Tensor, part: Tensor, dim: number, start: number, end: number): Tensor => {
  const axis = axisOf(dim, x.shape.length);
  return cat([slice(x, axis, 0, start), part, slice(x, axis, end, x.shape[axis]!)], axis);
};

function oneHot(x: Tensor, classes: number): Tensor {
  const out = new Int32Array(x.data.length * classes);
  for (let i = 0; i < x.data.length; i++) out[i * classes + x.data[i]!] = 1;
  return { shape: [...x.shape, classes], data: out };
}

function pixelShuffle(x: Tensor, r: number): Tensor {
  const [B, C, H, W] = x.shape as [number, number, number, number];
  const c = C / (r * r);
  const out = permute({ shape: [B, c, r, r, H, W], data: x.data }, [0, 1, 4, 2, 5, 3]);
  return { shape: [B, c, H * r, W * r], data: out.data };
}

function pixelUnshuffle(x: Tensor, r: number): Tensor {
  const [B, C, H, W] = x.shape as [number, number, number, number];
  const out = permute({ shape: [B, C, H / r, r, W / r, r], data: x.data }, [0, 1, 3, 5, 2, 4]);
  return { shape: [B, C * r * r, H / r, W / r], data: out.data };
}

const DOUBLE = /float64|double/;

// What is made takes its type from its value: whole numbers, truth values, floats. Where a type is named, it holds.
function kindOf(value: unknown, dtype: unknown): (n: number) => Values {
  const name = typeof dtype === "string" ? dtype : "";
  if (/bool/.test(name) || (!name && typeof value === "boolean")) return (n) => new Uint8Array(n);
  if (/int|long/.test(name)) return (n) => new Int32Array(n);
  return (n) => (DOUBLE.test(name) ? new Float64Array(n) : new Float32Array(n));
}

function full(shape: number[], value: number | boolean, dtype?: unknown): Tensor {
  return { shape, data: kindOf(value, dtype)(sizeOf(shape)).fill(+value) };
}

function arange(start: number, end: number, step = 1, dtype?: unknown): Tensor {
  const n = Math.max(0, Math.ceil((end - start) / step));
  const whole = typeof dtype === "string" ? !/float/.test(dtype) : [start, end, step].every(Number.isInteger);
  const data = whole ? new Int32Array(n) : kindOf(0.5, dtype)(n);
  for (let i = 0; i < n; i++) data[i] = start + i * step;
  return { shape: [n], data };
}

function converted(x: Tensor, dtype?: unknown): Tensor {
  if (typeof dtype !== "string") return x;
  if (DOUBLE.test(dtype)) return { shape: x.shape, data: x.data instanceof Float64Array ? x.data : Float64Array.from(x.data) };
  if (/float|half/.test(dtype)) return floats(x.shape, asFloats(x));
  if (/bool/.test(dtype)) return { shape: x.shape, data: Uint8Array.from(x.data, (v) => +(v !== 0)) };
  return { shape: x.shape, data: x.data instanceof Int32Array ? x.data : Int32Array.from(x.data, Math.trunc) };
}

function flatten(x: Tensor, start = 0, end = -1): Tensor {
  const [a, b] = [axisOf(start, x.shape.length), axisOf(end, x.shape.length)];
  return { shape: [...x.shape.slice(0, a), sizeOf(x.shape.slice(a, b + 1)), ...x.shape.slice(b + 1)], data: x.data };
}

export const operators: Record<string, Operator> = {
  view, reshape: view, _unsafe_view: view, permute, expand, squeeze, unsqueeze, slice, select, cat, split, repeat, flip,
  gather, index, flatten, full, arange, expand_copy: expand, view_copy: view,
  transpose: (x: Tensor, a: number, b: number) => transposed(x, a, b),
  t: (x: Tensor) => (x.shape.length < 2 ? x : transposed(x, 0, 1)),
  stack: (tensors: Tensor[], dim = 0) => cat(tensors.map((t) => unsqueeze(t, dim < 0 ? dim + t.shape.length + 1 : dim)), dim < 0 ? dim + tensors[0]!.shape.length + 1 : dim),
  unbind: (x: Tensor, dim = 0) => Array.from({ length: x.shape[axisOf(dim, x.shape.length)]! }, (_, i) => select(x, dim, i)),
  chunk: (x: Tensor, n: number, dim = 0) => split(x, Math.ceil(x.shape[axisOf(dim, x.shape.length)]! / n), dim),
  split_with_sizes: splitWithSizes,
  constant_pad_nd: pad,
  reflection_pad1d: (x: Tensor, a: number[]) => padFrom(x, a, reflected),
  reflection_pad2d: (x: Tensor, a: number[]) => padFrom(x, a, reflected),
  replication_pad2d: (x: Tensor, a: number[]) => padFrom(x, a, replicated),
  index_select: indexSelect,
  embedding: (weight: Tensor, at: Tensor) => {
    const out = indexSelect(weight, 0, at);
    return { shape: [...at.shape, weight.shape[1]!], data: out.data };
  },
  scatter,
  slice_scatter: (x: Tensor, part: Tensor, dim = 0, start?: number | null, end?: number | null) => {
    const n = x.shape[axisOf(dim, x.shape.length)]!;
    const inside = (v: number): number => Math.min(Math.max(v < 0 ? v + n : v, 0), n);
    return written(x, part, dim, inside(start ?? 0), inside(end ?? n));
  },
  select_scatter: (x: Tensor, part: Tensor, dim: number, at: number) => {
    const n = x.shape[axisOf(dim, x.shape.length)]!;
    const i = at < 0 ? at + n : at;
    return written(x, unsqueeze(part, axisOf(dim, x.shape.length)), dim, i, i + 1);
  },
  one_hot: oneHot,
  pixel_shuffle: pixelShuffle,
  pixel_unshuffle: pixelUnshuffle,
  full_like: (x: Tensor, value: number) => ({ shape: x.shape, data: like(x.data, x.data.length).fill(value) }),
  zeros_like: (x: Tensor) => ({ shape: x.shape, data: like(x.data, x.data.length) }),
  ones_like: (x: Tensor) => ({ shape: x.shape, data: like(x.data, x.data.length).fill(1) }),
  empty_like: (x: Tensor) => ({ shape: x.shape, data: like(x.data, x.data.length) }),
  zeros: (shape: number[], dtype?: unknown) => full(shape, 0, dtype),
  ones: (shape: number[], dtype?: unknown) => full(shape, 1, dtype),
  empty: (shape: number[], dtype?: unknown) => full(shape, 0, dtype),
  new_zeros: (x: Tensor, shape: number[]) => ({ shape, data: like(x.data, sizeOf(shape)) }),
  new_ones: (x: Tensor, shape: number[]) => ({ shape, data: like(x.data, sizeOf(shape)).fill(1) }),
  new_full: (x: Tensor, shape: number[], value: number) => ({ shape, data: like(x.data, sizeOf(shape)).fill(value) }),
  scalar_tensor: (value: number, dtype?: unknown) => full([], value, dtype),
  eye: (n: number) => {
    const out = floats([n, n]);
    for (let i = 0; i < n; i++) out.data[i * n + i] = 1;
    return out;
  },
  _to_copy: converted, to: converted, convert_element_type: converted,
  clone: same, alias: same, detach: same, contiguous: same, lift_fresh_copy: same, dropout: same, identity: same,
  copy: (x: Tensor, y: Tensor) => expand(y, x.shape),
};
for (const name of ["alias", "detach", "permute", "squeeze", "unsqueeze", "slice", "select", "t", "transpose"]) operators[`${name}_copy`] = operators[name]!;
