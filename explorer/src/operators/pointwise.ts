/** Operators that treat each value by itself. */

import { broadcast, floats, floatsLike, isFloats, isTensor, like, sizeOf, stridesTo, type Operator, type Tensor, type Values } from "./tensor";

type Unary = (x: number) => number;
type Binary = (x: number, y: number) => number;
type Kind = "float" | "same" | "bool";

const fresh = (kind: Kind, like_: Values, size: number): Values =>
  kind === "float" ? floatsLike(like_, size) : kind === "bool" ? new Uint8Array(size) : like(like_, size);

function unary(f: Unary, kind: Kind = "float"): Operator {
  return (x: Tensor) => {
    const from = x.data;
    const out = fresh(kind, from, from.length);
    for (let i = 0; i < from.length; i++) out[i] = f(from[i]!);
    return { shape: x.shape, data: out };
  };
}

/** An operand, which was a plain number or is a tensor. */
interface Operand extends Tensor {
  plain?: true;
}

const scalar = (value: number | boolean): Operand => ({
  shape: [], plain: true,
  data: typeof value === "boolean" ? Uint8Array.of(+value) : Number.isInteger(value) && Math.abs(value) < 2 ** 31 ? Int32Array.of(value) : Float64Array.of(value),
});

const rankOf = (v: Values): number => (isFloats(v) ? 2 : v instanceof Int32Array ? 1 : 0);
const single = new Float32Array(0);

/** The array type of a result: as PyTorch has it, a plain number changes it only from whole numbers to floats, and of floats a tensor without dimensions does not change that of others. */
function promoted(x: Operand, y: Operand): Values {
  const higher = rankOf(y.data) - rankOf(x.data);
  const lesser = higher !== 0 ? higher < 0 : x.plain !== y.plain ? y.plain : !x.shape.length !== !y.shape.length ? !y.shape.length : !(y.data instanceof Float64Array);
  const taken = lesser ? x : y;
  return taken.plain && isFloats(taken.data) ? single : taken.data;
}

export function combine(x: Tensor, y: Tensor, f: Binary, out: (size: number) => Values): Tensor {
  const shape = broadcast(x.shape, y.shape);
  const size = sizeOf(shape);
  const result = out(size);
  const a = x.data;
  const b = y.data;
  if (a.length === size && b.length === size) for (let i = 0; i < size; i++) result[i] = f(a[i]!, b[i]!);
  else if (b.length === 1) for (let i = 0, v = b[0]!; i < size; i++) result[i] = f(a[i]!, v);
  else if (a.length === 1) for (let i = 0, v = a[0]!; i < size; i++) result[i] = f(v, b[i]!);
  else {
    const sa = stridesTo(x.shape, shape);
    const sb = stridesTo(y.shape, shape);
    const rank = shape.length;
    const inner = shape[rank - 1]!;
    const [da, db] = [sa[rank - 1]!, sb[rank - 1]!];
    const index = new Array<number>(rank).fill(0);
    let p = 0;
    let q = 0;
    for (let at = 0; at < size; at += inner) {
      for (let i = 0, u = p, v = q; i < inner; i++, u += da, v += db) result[at + i] = f(a[u]!, b[v]!);
      for (let axis = rank - 2; axis >= 0; axis--) {
        p += sa[axis]!;
        q += sb[axis]!;
        if (++index[axis]! < shape[axis]!) break;
        p -= shape[axis]! * sa[axis]!;
        q -= shape[axis]! * sb[axis]!;
        index[axis] = 0;
      }
    }
  }
  return { shape, data: result };
}

const operand = (v: Tensor | number | boolean): Operand => (isTensor(v) ? v : scalar(v));

function binary(f: Binary, kind: Kind = "same"): Operator {
  return (x: Tensor | number, y: Tensor | number) => {
    const [a, b] = [operand(x), operand(y)];
    return combine(a, b, f, (size) => fresh(kind, promoted(a, b), size));
  };
}

const add = binary((x, y) => x + y);
const mul = binary((x, y) => x * y);
const scaled = (y: Tensor | number, alpha: number): Tensor | number =>
  alpha === 1 ? y : isTensor(y) ? (mul(y, alpha) as Tensor) : y * alpha;

// Each is the formula whose error PyTorch's own has too, to single precision.
export const sigmoid: Unary = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : 1 - 1 / (1 + Math.exp(x)));

/** The power series near 0, a continued fraction beyond: exact to 1e-10. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  let value: number;
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; n < 60 && Math.abs(term) > 1e-17; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    value = (2 / Math.sqrt(Math.PI)) * sum;
  } else {
    let fraction = 0;
    for (let k = 40; k > 0; k--) fraction = k / 2 / (z + fraction);
    value = 1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction);
  }
  return x < 0 ? -value : value;
}

/** Lanczos' approximation, g = 7, nine coefficients. */
const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];
export function lgamma(x: number): number {
  if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - lgamma(1 - x);
  let sum = LANCZOS[0]!;
  for (let i = 1; i < 9; i++) sum += LANCZOS[i]! / (x - 1 + i);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

export function digamma(x: number): number {
  let shift = 0;
  while (x < 6) shift -= 1 / x++;
  const f = 1 / (x * x);
  return shift + Math.log(x) - 0.5 / x - f * (1 / 12 - f * (1 / 120 - f * (1 / 252 - f * (1 / 240 - f / 132))));
}

function roundEven(x: number): number {
  const r = Math.round(x);
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

const remainder: Binary = (x, y) => x - y * Math.floor(x / y);

function clamp(x: Tensor, low?: number | Tensor | null, high?: number | Tensor | null): Tensor {
  let out = x;
  if (low != null) out = (isTensor(low) ? operators.maximum!(out, low) : unary((v) => (v < low ? low : v), "same")(out)) as Tensor;
  if (high != null) out = (isTensor(high) ? operators.minimum!(out, high) : unary((v) => (v > high ? high : v), "same")(out)) as Tensor;
  return out;
}

function where(condition: Tensor, x: Tensor | number, y: Tensor | number): Tensor {
  const [a, b] = [operand(x), operand(y)];
  const shape = broadcast(condition.shape, broadcast(a.shape, b.shape));
  const spread = (t: Tensor): Values =>
    t.data.length === sizeOf(shape) ? t.data : combine(t, floats(shape), (v) => v, (n) => like(t.data, n)).data;
  const [c, u, v] = [spread(condition), spread(a), spread(b)];
  const out = like(promoted(a, b), c.length);
  for (let i = 0; i < out.length; i++) out[i] = c[i] ? u[i]! : v[i]!;
  return { shape, data: out };
}

function gelu(x: Tensor, approximate = "none"): Tensor {
  const root = Math.sqrt(2 / Math.PI);
  const f: Unary =
    approximate === "tanh"
      ? (v) => 0.5 * v * (1 + Math.tanh(root * (v + 0.044715 * v * v * v)))
      : (v) => 0.5 * v * (1 + erf(v * Math.SQRT1_2));
  return unary(f)(x) as Tensor;
}

const or = (value: unknown, otherwise: number): number => (typeof value === "number" ? value : otherwise);

export const operators: Record<string, Operator> = {
  relu: unary((x) => (x > 0 ? x : x !== x ? x : 0), "same"),
  relu6: unary((x) => Math.min(Math.max(x, 0), 6)),
  sigmoid: unary(sigmoid),
  tanh: unary(Math.tanh),
  exp: unary(Math.exp),
  exp2: unary((x) => 2 ** x),
  expm1: unary(Math.expm1),
  log: unary(Math.log),
  log1p: unary(Math.log1p),
  log2: unary(Math.log2),
  log10: unary(Math.log10),
  sqrt: unary(Math.sqrt),
  rsqrt: unary((x) => 1 / Math.sqrt(x)),
  reciprocal: unary((x) => 1 / x),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  tan: unary(Math.tan),
  asin: unary(Math.asin),
  acos: unary(Math.acos),
  atan: unary(Math.atan),
  sinh: unary(Math.sinh),
  cosh: unary(Math.cosh),
  asinh: unary(Math.asinh),
  acosh: unary(Math.acosh),
  atanh: unary(Math.atanh),
  erf: unary(erf),
  erfc: unary((x) => 1 - erf(x)),
  lgamma: unary(lgamma),
  digamma: unary(digamma),
  neg: unary((x) => -x, "same"),
  abs: unary(Math.abs, "same"),
  sign: unary(Math.sign, "same"),
  square: unary((x) => x * x, "same"),
  floor: unary(Math.floor, "same"),
  ceil: unary(Math.ceil, "same"),
  trunc: unary(Math.trunc, "same"),
  round: unary(roundEven, "same"),
  frac: unary((x) => x - Math.trunc(x)),
  isnan: unary((x) => +(x !== x), "bool"),
  isinf: unary((x) => +(Math.abs(x) === Infinity), "bool"),
  isfinite: unary((x) => +Number.isFinite(x), "bool"),
  logical_not: unary((x) => +!x, "bool"),
  bitwise_not: (x: Tensor) => unary((v) => (x.data instanceof Uint8Array ? +!v : ~v), "same")(x),
  silu: unary((x) => x * sigmoid(x)),
  mish: unary((x) => x * Math.tanh(Math.log1p(Math.exp(x)))),
  hardsigmoid: unary((x) => Math.min(Math.max(x / 6 + 0.5, 0), 1)),
  hardswish: unary((x) => x * Math.min(Math.max(x / 6 + 0.5, 0), 1)),
  log_sigmoid: unary((x) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)))),
  gelu,
  logit: (x: Tensor, eps?: number) =>
    unary((v) => {
      const p = eps == null ? v : Math.min(Math.max(v, eps), 1 - eps);
      return Math.log(p / (1 - p));
    })(x),
  softplus: (x: Tensor, beta?: number, threshold?: number) => {
    const [b, limit] = [or(beta, 1), or(threshold, 20)];
    return unary((v) => (v * b > limit ? v : Math.log1p(Math.exp(v * b)) / b))(x);
  },
  elu: (x: Tensor, alpha?: number, scale?: number, inputScale?: number) => {
    const [a, s, i] = [or(alpha, 1), or(scale, 1), or(inputScale, 1)];
    return unary((v) => (v > 0 ? s * v : s * a * Math.expm1(v * i)))(x);
  },
  celu: (x: Tensor, alpha?: number) => unary((v) => (v > 0 ? v : or(alpha, 1) * Math.expm1(v / or(alpha, 1))))(x),
  selu: unary((v) => 1.0507009873554805 * (v > 0 ? v : 1.6732632423543772 * Math.expm1(v))),
  leaky_relu: (x: Tensor, slope?: number) => unary((v) => (v > 0 ? v : v * or(slope, 0.01)))(x),
  hardtanh: (x: Tensor, low?: number, high?: number) => clamp(x, or(low, -1), or(high, 1)),
  clamp,
  clamp_min: (x: Tensor, low: number) => clamp(x, low),
  clamp_max: (x: Tensor, high: number) => clamp(x, null, high),
  nan_to_num: (x: Tensor, nan?: number, high?: number, low?: number) =>
    unary((v) => (v !== v ? or(nan, 0) : v === Infinity ? or(high, 3.4028234663852886e38) : v === -Infinity ? or(low, -3.4028234663852886e38) : v), "same")(x),

  add: (x: Tensor, y: Tensor | number, alpha = 1) => add(x, scaled(y, alpha)),
  sub: (x: Tensor, y: Tensor | number, alpha = 1) => binary((a, b) => a - b)(x, scaled(y, alpha)),
  rsub: (x: Tensor, y: Tensor | number, alpha = 1) => binary((a, b) => b - a)(scaled(x, alpha), y),
  mul,
  div: (x: Tensor, y: Tensor | number, mode?: string | null) =>
    mode === "floor" ? binary((a, b) => Math.floor(a / b))(x, y)
    : mode === "trunc" ? binary((a, b) => Math.trunc(a / b))(x, y)
    : binary((a, b) => a / b, "float")(x, y),
  floor_divide: binary((a, b) => Math.floor(a / b)),
  pow: binary((x, y) => (y === 2 ? x * x : y === 0.5 ? Math.sqrt(x) : Math.pow(x, y))),
  maximum: binary((x, y) => (x > y || x !== x ? x : y)),
  minimum: binary((x, y) => (x < y || x !== x ? x : y)),
  fmod: binary((x, y) => x % y),
  remainder: binary(remainder),
  atan2: binary(Math.atan2, "float"),
  xlogy: binary((x, y) => (x === 0 && y === y ? 0 : x * Math.log(y)), "float"),
  logaddexp: binary((x, y) => {
    const top = Math.max(x, y);
    return Math.abs(top) === Infinity ? top : top + Math.log1p(Math.exp(-Math.abs(x - y)));
  }, "float"),
  eq: binary((x, y) => +(x === y), "bool"),
  ne: binary((x, y) => +(x !== y), "bool"),
  lt: binary((x, y) => +(x < y), "bool"),
  le: binary((x, y) => +(x <= y), "bool"),
  gt: binary((x, y) => +(x > y), "bool"),
  ge: binary((x, y) => +(x >= y), "bool"),
  logical_and: binary((x, y) => +(!!x && !!y), "bool"),
  logical_or: binary((x, y) => +(!!x || !!y), "bool"),
  logical_xor: binary((x, y) => +(!!x !== !!y), "bool"),
  bitwise_and: binary((x, y) => x & y),
  bitwise_or: binary((x, y) => x | y),
  bitwise_xor: binary((x, y) => x ^ y),
  where,
  masked_fill: (x: Tensor, mask: Tensor, value: Tensor | number) => {
    const out = where(mask, value, x);
    const data = like(x.data, out.data.length);
    data.set(out.data);
    return { shape: out.shape, data };
  },
  addcmul: (x: Tensor, a: Tensor, b: Tensor, value = 1) => add(x, scaled(mul(a, b) as Tensor, value)),
  lerp: (x: Tensor, y: Tensor, w: Tensor | number) => add(x, mul(w, binary((a, b) => a - b)(y, x) as Tensor)),
};
for (const [alias, name] of Object.entries({ special_erf: "erf", true_divide: "div", multiply: "mul", negative: "neg", subtract: "sub", absolute: "abs", special_xlogy: "xlogy", special_expit: "sigmoid" }))
  operators[alias] = operators[name]!;
