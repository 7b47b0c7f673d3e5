/** Products of matrices, and convolutions as such products. */

import { asFloats, axisOf, broadcast, floats, gathered, sizeOf, stridesOf, stridesTo, type Operator, type Tensor } from "./tensor";

/** out (M, N) += a (M, K) · b (K, N), of arrays in C order from the given offsets on. */
export function multiply(
  a: Float32Array, b: Float32Array, out: Float32Array, M: number, K: number, N: number, ao = 0, bo = 0, oo = 0,
): void {
  let m = 0;
  // Four rows at once, so that each row of b is read a quarter as often.
  for (; m + 4 <= M; m += 4) {
    const [r0, r1, r2, r3] = [ao + m * K, ao + (m + 1) * K, ao + (m + 2) * K, ao + (m + 3) * K];
    const o = oo + m * N;
    for (let k = 0; k < K; k++) {
      const [a0, a1, a2, a3] = [a[r0 + k]!, a[r1 + k]!, a[r2 + k]!, a[r3 + k]!];
      if (a0 === 0 && a1 === 0 && a2 === 0 && a3 === 0) continue;
      for (let n = 0, row = bo + k * N, p = o; n < N; n++, row++, p++) {
        const v = b[row]!;
        out[p] = out[p]! + a0 * v;
        out[p + N] = out[p + N]! + a1 * v;
        out[p + 2 * N] = out[p + 2 * N]! + a2 * v;
        out[p + 3 * N] = out[p + 3 * N]! + a3 * v;
      }
    }
  }
  for (; m < M; m++) {
    const o = oo + m * N;
    for (let k = 0; k < K; k++) {
      const v = a[ao + m * K + k]!;
      if (v === 0) continue;
      for (let n = 0, row = bo + k * N, p = o; n < N; n++, row++, p++) out[p] = out[p]! + v * b[row]!;
    }
  }
}

export function mm(x: Tensor, y: Tensor): Tensor {
  const [M, K] = x.shape as [number, number];
  const N = y.shape[1]!;
  const out = floats([M, N]);
  multiply(asFloats(x), asFloats(y), out.data as Float32Array, M, K, N);
  return out;
}

function addmm(bias: Tensor, x: Tensor, y: Tensor, beta = 1, alpha = 1): Tensor {
  const out = mm(x, y);
  const data = out.data as Float32Array;
  const spread = gathered(bias.data, out.shape, stridesTo(bias.shape, out.shape)).data;
  for (let i = 0; i < data.length; i++) data[i] = alpha * data[i]! + beta * spread[i]!;
  return out;
}

function bmm(x: Tensor, y: Tensor): Tensor {
  const [B, M, K] = x.shape as [number, number, number];
  const N = y.shape[2]!;
  const out = floats([B, M, N]);
  const [a, b] = [asFloats(x), asFloats(y)];
  for (let i = 0; i < B; i++) multiply(a, b, out.data as Float32Array, M, K, N, i * M * K, i * K * N, i * M * N);
  return out;
}

export function transposed(x: Tensor, a: number, b: number): Tensor {
  const rank = x.shape.length;
  const [i, j] = [axisOf(a, rank), axisOf(b, rank)];
  const shape = [...x.shape];
  const strides = stridesOf(x.shape);
  [shape[i], shape[j]] = [shape[j]!, shape[i]!];
  [strides[i], strides[j]] = [strides[j]!, strides[i]!];
  return gathered(x.data, shape, strides);
}

function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  const K = x.shape[x.shape.length - 1]!;
  const flat = floats([sizeOf(x.shape) / K, K], asFloats(x));
  const w = transposed(weight, 0, 1);
  const out = bias ? addmm(bias, flat, w) : mm(flat, w);
  return { shape: [...x.shape.slice(0, -1), weight.shape[0]!], data: out.data };
}

function matmul(x: Tensor, y: Tensor): Tensor {
  if (y.shape.length === 1) {
    const out = matmul(x, { shape: [y.shape[0]!, 1], data: y.data });
    return { shape: out.shape.slice(0, -1), data: out.data };
  }
  if (x.shape.length === 1) {
    const out = matmul({ shape: [1, x.shape[0]!], data: x.data }, y);
    return { shape: [...out.shape.slice(0, -2), out.shape[out.shape.length - 1]!], data: out.data };
  }
  const [M, K] = x.shape.slice(-2) as [number, number];
  const N = y.shape[y.shape.length - 1]!;
  const lead = broadcast(x.shape.slice(0, -2), y.shape.slice(0, -2));
  const spread = (t: Tensor): Tensor => {
    const shape = [...lead, ...t.shape.slice(-2)];
    return { shape: [sizeOf(lead), ...t.shape.slice(-2)], data: gathered(t.data, shape, stridesTo(t.shape, shape)).data };
  };
  return { shape: [...lead, M, N], data: bmm({ ...spread(x), shape: [sizeOf(lead), M, K] }, spread(y)).data };
}

const pair = (v: number[] | number, otherwise = 1): [number, number] =>
  typeof v === "number" ? [v, v] : v.length === 0 ? [otherwise, otherwise] : v.length === 1 ? [v[0]!, v[0]!] : [v[0]!, v[1]!];

interface Window {
  kernel: [number, number];
  stride: [number, number];
  padding: [number, number];
  dilation: [number, number];
}

/** For each place that the kernel meets, the flat indices of image and column: calls back with runs along a row. */
function eachRun(
  w: Window, H: number, W: number, oh: number, ow: number, channels: number,
  run: (column: number, image: number, count: number) => void,
): void {
  const [kh, kw] = w.kernel;
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < kh; i++)
      for (let j = 0; j < kw; j++) {
        const row = ((c * kh + i) * kw + j) * oh * ow;
        const shift = j * w.dilation[1] - w.padding[1];
        // The outputs x for which x·stride + shift lies inside the row.
        const first = Math.max(0, Math.ceil(-shift / w.stride[1]));
        const last = Math.min(ow - 1, Math.floor((W - 1 - shift) / w.stride[1]));
        if (last < first) continue;
        for (let y = 0; y < oh; y++) {
          const from = y * w.stride[0] + i * w.dilation[0] - w.padding[0];
          if (from < 0 || from >= H) continue;
          run(row + y * ow + first, (c * H + from) * W + first * w.stride[1] + shift, last - first + 1);
        }
      }
}

/** An image convolution; one of signals (N, C, L) is of images of one row. */
function convolution(
  input: Tensor, weight: Tensor, bias: Tensor | null, stride: number[], padding: number[], dilation: number[],
  transposedOne = false, outputPadding: number[] = [0, 0], groups = 1,
): Tensor {
  if (input.shape.length === 3) {
    const lift = (t: Tensor): Tensor => ({ shape: [t.shape[0]!, t.shape[1]!, 1, t.shape[2]!], data: t.data });
    const out = convolution(lift(input), lift(weight), bias, [1, ...stride], [0, ...padding], [1, ...dilation], transposedOne, [0, ...outputPadding], groups);
    return { shape: [out.shape[0]!, out.shape[1]!, out.shape[3]!], data: out.data };
  }
  const [B, C, H, W] = input.shape as [number, number, number, number];
  const w: Window = {
    kernel: [weight.shape[2]!, weight.shape[3]!], stride: pair(stride), padding: pair(padding, 0), dilation: pair(dilation),
  };
  const [x, k] = [asFloats(input), asFloats(weight)];
  const reach = [w.dilation[0] * (w.kernel[0] - 1) + 1, w.dilation[1] * (w.kernel[1] - 1) + 1] as const;
  const taps = w.kernel[0] * w.kernel[1];
  const inGroup = C / groups;
  if (transposedOne) {
    const outGroup = weight.shape[1]!;
    const extra = pair(outputPadding, 0);
    const oh = (H - 1) * w.stride[0] - 2 * w.padding[0] + reach[0] + extra[0];
    const ow = (W - 1) * w.stride[1] - 2 * w.padding[1] + reach[1] + extra[1];
    const out = floats([B, outGroup * groups, oh, ow]);
    const data = out.data as Float32Array;
    const columns = new Float32Array(outGroup * taps * H * W);
    // (Cin, Cout·taps) is turned once: columns = kernelᵀ · image.
    const turned = asFloats(transposed({ shape: [groups, inGroup, outGroup * taps], data: k }, 1, 2));
    for (let b = 0; b < B; b++)
      for (let g = 0; g < groups; g++) {
        columns.fill(0);
        multiply(turned, x, columns, outGroup * taps, inGroup, H * W, g * outGroup * taps * inGroup, (b * C + g * inGroup) * H * W);
        const base = (b * groups + g) * outGroup * oh * ow;
        eachRun(w, oh, ow, H, W, outGroup, (column, image, count) => {
          for (let i = 0, p = base + image; i < count; i++, p += w.stride[1]) data[p] = data[p]! + columns[column + i]!;
        });
      }
    addChannels(data, bias, B, outGroup * groups, oh * ow);
    return out;
  }
  const O = weight.shape[0]!;
  const oh = Math.floor((H + 2 * w.padding[0] - reach[0]) / w.stride[0]) + 1;
  const ow = Math.floor((W + 2 * w.padding[1] - reach[1]) / w.stride[1]) + 1;
  const out = floats([B, O, oh, ow]);
  const data = out.data as Float32Array;
  const outGroup = O / groups;
  const direct = taps === 1 && w.stride[0] === 1 && w.stride[1] === 1 && w.padding[0] === 0 && w.padding[1] === 0;
  const columns = direct ? x : new Float32Array(inGroup * taps * oh * ow);
  for (let b = 0; b < B; b++)
    for (let g = 0; g < groups; g++) {
      const base = (b * C + g * inGroup) * H * W;
      if (!direct) {
        columns.fill(0);
        eachRun(w, H, W, oh, ow, inGroup, (column, image, count) => {
          for (let i = 0, p = base + image; i < count; i++, p += w.stride[1]) columns[column + i] = x[p]!;
        });
      }
      multiply(k, columns, data, outGroup, inGroup * taps, oh * ow, g * outGroup * inGroup * taps, direct ? base : 0, (b * O + g * outGroup) * oh * ow);
    }
  addChannels(data, bias, B, O, oh * ow);
  return out;
}

function addChannels(data: Float32Array, bias: Tensor | null | undefined, B: number, C: number, size: number): void {
  if (!bias) return;
  for (let b = 0, i = 0; b < B; b++)
    for (let c = 0; c < C; c++) for (let s = 0, v = bias.data[c]!; s < size; s++, i++) data[i] = data[i]! + v;
}

export const operators: Record<string, Operator> = {
  mm, addmm, bmm, linear, matmul, convolution,
  mv: matmul,
  dot: matmul,
  baddbmm: (bias: Tensor, x: Tensor, y: Tensor, beta = 1, alpha = 1) => {
    const out = bmm(x, y);
    const data = out.data as Float32Array;
    const spread = gathered(bias.data, out.shape, stridesTo(bias.shape, out.shape)).data;
    for (let i = 0; i < data.length; i++) data[i] = alpha * data[i]! + beta * spread[i]!;
    return out;
  },
  conv2d: (x: Tensor, w: Tensor, b: Tensor | null = null, stride: number[] | number = 1, padding: number[] | number = 0, dilation: number[] | number = 1, groups = 1) =>
    convolution(x, w, b, pair(stride), pair(padding), pair(dilation), false, [0, 0], groups),
};
