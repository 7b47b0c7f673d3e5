/** Operators that bring many values together: sums, softmax, normalisation, pooling, resampling. */

import { around, asFloats, axisOf, floats, floatsLike, gathered, isFloats, like, ownFloats, sizeOf, stridesOf, type Floats, type Operator, type Tensor } from "./tensor";

type Dims = number | number[] | null | undefined;

/** x as (kept, reduced), and the shape that remains. */
function arranged(x: Tensor, dims: Dims, keep: boolean): { rows: Floats; n: number; shape: number[] } {
  const rank = x.shape.length;
  const list = dims == null ? [] : typeof dims === "number" ? [dims] : dims;
  const axes = new Set(list.length ? list.map((d) => axisOf(d, rank)) : x.shape.map((_, i) => i));
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.has(i));
  const reduced = x.shape.map((_, i) => i).filter((i) => axes.has(i));
  const shape = keep ? x.shape.map((s, i) => (axes.has(i) ? 1 : s)) : kept.map((i) => x.shape[i]!);
  const n = sizeOf(reduced.map((i) => x.shape[i]!));
  const order = [...kept, ...reduced];
  if (order.every((a, i) => a === i)) return { rows: ownFloats(x), n, shape };
  const strides = stridesOf(x.shape);
  const turned = gathered(x.data, order.map((i) => x.shape[i]!), order.map((i) => strides[i]!));
  return { rows: ownFloats(turned), n, shape };
}

type Row = (rows: Floats, from: number, n: number) => number;

function reduction(f: Row, kind: "float" | "same" | "bool" | "whole" = "same"): (x: Tensor, dims?: Dims, keep?: boolean) => Tensor {
  return (x, dims, keep = false) => {
    const { rows, n, shape } = arranged(x, dims, keep === true);
    const size = sizeOf(shape);
    const out =
      kind === "bool" ? new Uint8Array(size)
      : kind === "whole" || (kind === "same" && !isFloats(x.data)) ? new Int32Array(size)
      : floatsLike(x.data, size);
    for (let i = 0; i < size; i++) out[i] = f(rows, i * n, n);
    return { shape, data: out };
  };
}

const sumOf: Row = (v, from, n) => {
  let sum = 0;
  for (let i = from; i < from + n; i++) sum += v[i]!;
  return sum;
};
const largest: Row = (v, from, n) => {
  let top = -Infinity;
  for (let i = from; i < from + n; i++) {
    if (v[i] !== v[i]) return NaN;
    if (v[i]! > top) top = v[i]!;
  }
  return top;
};
const smallest: Row = (v, from, n) => {
  let low = Infinity;
  for (let i = from; i < from + n; i++) {
    if (v[i] !== v[i]) return NaN;
    if (v[i]! < low) low = v[i]!;
  }
  return low;
};
const place = (better: (a: number, b: number) => boolean): Row => (v, from, n) => {
  let at = 0;
  for (let i = 1; i < n; i++) if (better(v[from + i]!, v[from + at]!)) at = i;
  return at;
};
const argmax = reduction(place((a, b) => a > b), "whole");
const argmin = reduction(place((a, b) => a < b), "whole");
const amax = reduction(largest);
const amin = reduction(smallest);
const mean = reduction((v, from, n) => sumOf(v, from, n) / n, "float");

function variance(x: Tensor, dims: Dims, correction: number, keep: boolean): Tensor {
  return reduction((v, from, n) => {
    const m = sumOf(v, from, n) / n;
    let sum = 0;
    for (let i = from; i < from + n; i++) sum += (v[i]! - m) ** 2;
    return sum / (n - correction);
  }, "float")(x, dims, keep);
}

function logSum(v: Floats, from: number, n: number): number {
  const top = largest(v, from, n);
  if (Math.abs(top) === Infinity || top !== top) return top;
  let sum = 0;
  for (let i = from; i < from + n; i++) sum += Math.exp(v[i]! - top);
  return top + Math.log(sum);
}

/** Every value given the log of the sum of exponentials along an axis. */
function normalised(x: Tensor, dim: number, f: (v: number, total: number) => number): Tensor {
  const [outer, n, inner] = around(x.shape, axisOf(dim, x.shape.length));
  const from = ownFloats(x);
  const out = floatsLike(from, from.length);
  const row = floatsLike(from, n);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const at = o * n * inner + i;
      for (let k = 0; k < n; k++) row[k] = from[at + k * inner]!;
      const total = logSum(row, 0, n);
      for (let k = 0; k < n; k++) out[at + k * inner] = f(row[k]!, total);
    }
  return floats(x.shape, out);
}
const softmax = (x: Tensor, dim: number): Tensor => normalised(x, dim, (v, total) => Math.exp(v - total));
const logSoftmax = (x: Tensor, dim: number): Tensor => normalised(x, dim, (v, total) => v - total);

function running(f: (total: number, v: number) => number): Operator {
  return (x: Tensor, dim: number) => {
    const [outer, n, inner] = around(x.shape, axisOf(dim, x.shape.length));
    const out = like(x.data, x.data.length);
    for (let o = 0; o < outer; o++)
      for (let i = 0; i < inner; i++)
        for (let k = 0, at = o * n * inner + i; k < n; k++, at += inner) out[at] = k ? f(out[at - inner]!, x.data[at]!) : x.data[at]!;
    return { shape: x.shape, data: out };
  };
}

/** Rows of n values each brought to mean 0 and variance 1, then scaled and shifted by the value that `which` names. */
function standardised(
  x: Tensor, n: number, eps: number, weight: Tensor | null | undefined, bias: Tensor | null | undefined, which: (i: number) => number,
): Tensor[] {
  const from = asFloats(x);
  const rows = from.length / n;
  const out = new Float32Array(from.length);
  const [means, rates] = [new Float32Array(rows), new Float32Array(rows)];
  for (let r = 0; r < rows; r++) {
    const at = r * n;
    const m = sumOf(from, at, n) / n;
    let sum = 0;
    for (let i = at; i < at + n; i++) sum += (from[i]! - m) ** 2;
    const rate = 1 / Math.sqrt(sum / n + eps);
    [means[r], rates[r]] = [m, rate];
    for (let i = at; i < at + n; i++) {
      const c = which(i);
      out[i] = (from[i]! - m) * rate * (weight ? weight.data[c]! : 1) + (bias ? bias.data[c]! : 0);
    }
  }
  return [floats(x.shape, out), floats([rows], means), floats([rows], rates)];
}

function groupNorm(x: Tensor, weight: Tensor | null, bias: Tensor | null, N: number, C: number, HxW: number, groups: number, eps: number): Tensor[] {
  void N;
  return standardised(x, (C / groups) * HxW, eps, weight, bias, (i) => Math.floor(i / HxW) % C);
}

function layerNorm(x: Tensor, shape: number[], weight: Tensor | null, bias: Tensor | null, eps: number): Tensor[] {
  const n = sizeOf(shape);
  return standardised(x, n, eps, weight, bias, (i) => i % n);
}

function batchNorm(x: Tensor, weight: Tensor | null, bias: Tensor | null, mean_: Tensor, var_: Tensor, eps: number): Tensor {
  const C = x.shape[1]!;
  const inner = sizeOf(x.shape.slice(2));
  const from = asFloats(x);
  const out = new Float32Array(from.length);
  for (let i = 0; i < out.length; i++) {
    const c = Math.floor(i / inner) % C;
    out[i] = ((from[i]! - mean_.data[c]!) / Math.sqrt(var_.data[c]! + eps)) * (weight ? weight.data[c]! : 1) + (bias ? bias.data[c]! : 0);
  }
  return floats(x.shape, out);
}

/** Each output value of planes H × W made of a window of the input. */
function pooled(x: Tensor, oh: number, ow: number, window: (y: number, x: number) => [number, number, number, number], f: (sum: number, top: number, count: number) => number): Tensor {
  const [H, W] = x.shape.slice(-2) as [number, number];
  const planes = sizeOf(x.shape.slice(0, -2));
  const from = asFloats(x);
  const out = floats([...x.shape.slice(0, -2), oh, ow]);
  for (let p = 0, at = 0; p < planes; p++)
    for (let y = 0; y < oh; y++)
      for (let u = 0; u < ow; u++, at++) {
        const [y0, y1, x0, x1] = window(y, u);
        let [sum, top] = [0, -Infinity];
        for (let i = Math.max(0, y0); i < Math.min(H, y1); i++)
          for (let j = Math.max(0, x0); j < Math.min(W, x1); j++) {
            const v = from[(p * H + i) * W + j]!;
            sum += v;
            if (v > top) top = v;
          }
        out.data[at] = f(sum, top, (Math.min(H, y1) - Math.max(0, y0)) * (Math.min(W, x1) - Math.max(0, x0)));
      }
  return out;
}

const two = (v: number[] | number | undefined | null, otherwise: [number, number]): [number, number] =>
  v == null || (Array.isArray(v) && v.length === 0) ? otherwise : typeof v === "number" ? [v, v] : [v[0]!, v[1] ?? v[0]!];

function sliding(x: Tensor, kernel: number[], stride: number[] | undefined, padding: number[] | undefined, ceil: boolean, f: (sum: number, top: number, count: number, area: number) => number): Tensor {
  const k = two(kernel, [1, 1]);
  const s = two(stride, k);
  const p = two(padding, [0, 0]);
  const [H, W] = x.shape.slice(-2) as [number, number];
  const places = (n: number, i: 0 | 1): number => (ceil ? Math.ceil : Math.floor)((n + 2 * p[i] - k[i]) / s[i]) + 1;
  return pooled(x, places(H, 0), places(W, 1), (y, u) => [y * s[0] - p[0], y * s[0] - p[0] + k[0], u * s[1] - p[1], u * s[1] - p[1] + k[1]], (sum, top, count) => f(sum, top, count, k[0] * k[1]));
}

function adaptive(x: Tensor, size: number[] | number): Tensor {
  const [oh, ow] = two(size, [1, 1]);
  const [H, W] = x.shape.slice(-2) as [number, number];
  return pooled(x, oh, ow, (y, u) => [Math.floor((y * H) / oh), Math.ceil(((y + 1) * H) / oh), Math.floor((u * W) / ow), Math.ceil(((u + 1) * W) / ow)], (sum, _, count) => sum / count);
}

function outputSize(x: Tensor, size: number[] | null | undefined, factors: number[] | null | undefined): [number, number] {
  const [H, W] = x.shape.slice(-2) as [number, number];
  return size?.length ? [size[0]!, size[1]!] : [Math.floor(H * factors![0]!), Math.floor(W * factors![1]!)];
}

function nearest(x: Tensor, size: number[] | null, factors?: number[] | null): Tensor {
  const [H, W] = x.shape.slice(-2) as [number, number];
  const [oh, ow] = outputSize(x, size, factors);
  const planes = sizeOf(x.shape.slice(0, -2));
  const out = like(x.data, planes * oh * ow);
  const columns = Int32Array.from({ length: ow }, (_, u) => Math.min(W - 1, Math.floor((u * W) / ow)));
  for (let p = 0, at = 0; p < planes; p++)
    for (let y = 0; y < oh; y++) {
      const row = (p * H + Math.min(H - 1, Math.floor((y * H) / oh))) * W;
      for (let u = 0; u < ow; u++, at++) out[at] = x.data[row + columns[u]!]!;
    }
  return { shape: [...x.shape.slice(0, -2), oh, ow], data: out };
}

function bilinear(x: Tensor, size: number[] | null, corners: boolean, ...rest: (number[] | number | null | undefined)[]): Tensor {
  const [H, W] = x.shape.slice(-2) as [number, number];
  const factors = Array.isArray(rest[0]) ? rest[0] : (rest.filter((r) => typeof r === "number") as number[]);
  const [oh, ow] = outputSize(x, size, factors);
  const planes = sizeOf(x.shape.slice(0, -2));
  const out = floats([...x.shape.slice(0, -2), oh, ow]);
  const at = (i: number, n: number, o: number): [number, number, number] => {
    const source = corners ? (o > 1 ? (i * (n - 1)) / (o - 1) : 0) : Math.max(0, ((i + 0.5) * n) / o - 0.5);
    const low = Math.min(n - 1, Math.floor(source));
    return [low, Math.min(n - 1, low + 1), source - low];
  };
  for (let p = 0, i = 0; p < planes; p++)
    for (let y = 0; y < oh; y++) {
      const [y0, y1, dy] = at(y, H, oh);
      for (let u = 0; u < ow; u++, i++) {
        const [x0, x1, dx] = at(u, W, ow);
        const v = (r: number, c: number): number => x.data[(p * H + r) * W + c]!;
        out.data[i] = (v(y0, x0) * (1 - dx) + v(y0, x1) * dx) * (1 - dy) + (v(y1, x0) * (1 - dx) + v(y1, x1) * dx) * dy;
      }
    }
  return out;
}

const keepOf = (rest: unknown[]): boolean => rest.some((r) => r === true);
const correctionOf = (rest: unknown[]): number => {
  const given = rest.find((r) => typeof r === "number");
  return typeof given === "number" ? given : rest[0] === false ? 0 : 1;
};
/** var(x, dims, correction, keepdim), and the older var(x, dims, unbiased, keepdim). */
const spread = (x: Tensor, dims: Dims, rest: unknown[]): Tensor =>
  variance(x, dims, correctionOf(rest), typeof rest[0] === "boolean" ? rest[1] === true : keepOf(rest));
const rooted = (t: Tensor): Tensor => floats(t.shape, asFloats(t).map(Math.sqrt));

export const operators: Record<string, Operator> = {
  sum: reduction(sumOf), mean, amax, amin, argmax, argmin,
  prod: reduction((v, from, n) => {
    let product = 1;
    for (let i = from; i < from + n; i++) product *= v[i]!;
    return product;
  }),
  any: reduction((v, from, n) => +v.subarray(from, from + n).some((x) => x !== 0), "bool"),
  all: reduction((v, from, n) => +v.subarray(from, from + n).every((x) => x !== 0), "bool"),
  logsumexp: reduction(logSum, "float"),
  max: (x: Tensor, dim?: number, keep = false) => (dim === undefined ? amax(x) : [amax(x, dim, keep), argmax(x, dim, keep)]),
  min: (x: Tensor, dim?: number, keep = false) => (dim === undefined ? amin(x) : [amin(x, dim, keep), argmin(x, dim, keep)]),
  var: (x: Tensor, dims?: Dims, ...rest: unknown[]) => spread(x, dims, rest),
  std: (x: Tensor, dims?: Dims, ...rest: unknown[]) => rooted(spread(x, dims, rest)),
  var_mean: (x: Tensor, dims?: Dims, ...rest: unknown[]) => [spread(x, dims, rest), mean(x, dims, keepOf(rest))],
  linalg_vector_norm: (x: Tensor, ord = 2, dims?: Dims, keep = false) =>
    reduction((v, from, n) => {
      let [sum, top] = [0, 0];
      for (let i = from; i < from + n; i++) {
        const a = Math.abs(v[i]!);
        sum += ord === 2 ? a * a : a ** ord;
        top = Math.max(top, a);
      }
      return ord === Infinity ? top : ord === 2 ? Math.sqrt(sum) : sum ** (1 / ord);
    }, "float")(x, dims, keep),
  softmax, _softmax: softmax, log_softmax: logSoftmax, _log_softmax: logSoftmax,
  cumsum: running((total, v) => total + v),
  cumprod: running((total, v) => total * v),
  native_group_norm: groupNorm,
  group_norm: (x: Tensor, groups: number, weight: Tensor | null = null, bias: Tensor | null = null, eps = 1e-5) =>
    groupNorm(x, weight, bias, x.shape[0]!, x.shape[1]!, sizeOf(x.shape.slice(2)), groups, eps)[0]!,
  native_layer_norm: layerNorm,
  layer_norm: (x: Tensor, shape: number[], weight: Tensor | null = null, bias: Tensor | null = null, eps = 1e-5) => layerNorm(x, shape, weight, bias, eps)[0]!,
  _native_batch_norm_legit_no_training: (x: Tensor, w: Tensor | null, b: Tensor | null, m: Tensor, v: Tensor, momentum: number, eps: number) => {
    void momentum;
    return [batchNorm(x, w, b, m, v, eps), floats([0]), floats([0])];
  },
  batch_norm: (x: Tensor, w: Tensor | null, b: Tensor | null, m: Tensor, v: Tensor, training: boolean, momentum: number, eps: number) => {
    void [training, momentum];
    return batchNorm(x, w, b, m, v, eps);
  },
  avg_pool2d: (x: Tensor, kernel: number[], stride?: number[], padding?: number[], ceil = false, countPad = true, divisor?: number | null) =>
    sliding(x, kernel, stride, padding, ceil, (sum, _, count, area) => sum / (divisor ?? (countPad ? area : count))),
  max_pool2d: (x: Tensor, kernel: number[], stride?: number[], padding?: number[], _dilation?: number[], ceil = false) =>
    sliding(x, kernel, stride, padding, ceil, (_, top) => top),
  max_pool2d_with_indices: (x: Tensor, kernel: number[], stride?: number[], padding?: number[], _dilation?: number[], ceil = false) =>
    [sliding(x, kernel, stride, padding, ceil, (_, top) => top)],
  adaptive_avg_pool2d: adaptive, _adaptive_avg_pool2d: adaptive,
  upsample_nearest2d: nearest,
  upsample_bilinear2d: bilinear,
};
