/** Small pieces of mathematics, pure. */

export type Vector = ArrayLike<number>;

/** Numbers on the space that codes are of: of length 1 on the "sphere", shares that add up to 1 on the "simplex". */
export function onSpace(space: string | null | undefined, z: Float32Array): Float32Array {
  if (space === "sphere") {
    const length = Math.hypot(...z);
    return length > 0 ? z.map((v) => v / length) : z;
  }
  if (space === "simplex") {
    const shares = z.map((v) => Math.max(v, 1e-6));
    const sum = shares.reduce((a, b) => a + b, 0);
    return shares.map((v) => v / sum);
  }
  return z;
}

export const mixed = (a: Vector, b: Vector, t: number): Float32Array =>
  Float32Array.from({ length: a.length }, (_, i) => a[i]! + t * (b[i]! - a[i]!));

const norm = (v: Vector): number => Math.sqrt(Array.from(v).reduce((sum, x) => sum + x * x, 0));

/** Between a and b along the great circle, the length going from one's to the other's; straight where they are parallel. */
export function spherical(a: Vector, b: Vector, t: number): Float32Array {
  const [la, lb] = [norm(a), norm(b)];
  if (la < 1e-6 || lb < 1e-6) return mixed(a, b, t);
  let dot = 0;
  for (let i = 0; i < a.length; i++) dot += (a[i]! / la) * (b[i]! / lb);
  const angle = Math.acos(Math.min(1, Math.max(-1, dot)));
  const sine = Math.sin(angle);
  if (sine < 1e-4) return mixed(a, b, t);
  const [u, v] = [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
  const length = la + t * (lb - la);
  return Float32Array.from({ length: a.length }, (_, i) => length * ((u * a[i]!) / la + (v * b[i]!) / lb));
}

/** a − b, times t, + c. */
export const analogy = (a: Vector, b: Vector, c: Vector, t: number): Float32Array =>
  Float32Array.from({ length: a.length }, (_, i) => c[i]! + t * (a[i]! - b[i]!));

/** The largest of numbers, however many: as arguments of Math.max, those of a large image are too many. */
export const largest = (values: Vector): number => Array.prototype.reduce.call(values, (most: any, v: any) => Math.max(most, v), -Infinity) as number;

/** The fraction of a distribution, given by its ascending quantiles, that lies above a value. */
export function above(quantiles: Vector, value: number): number {
  const n = quantiles.length;
  if (n === 0 || Number.isNaN(value)) return NaN;
  if (value <= quantiles[0]!) return 1;
  if (value >= quantiles[n - 1]!) return 0;
  let [low, high] = [0, n - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (quantiles[middle]! <= value) low = middle;
    else high = middle;
  }
  const [a, b] = [quantiles[low]!, quantiles[high]!];
  return 1 - (low + (b > a ? (value - a) / (b - a) : 0)) / (n - 1);
}

/** The share of a distribution in each of so many equal parts of [from, to], from its quantiles. */
export function shares(quantiles: Vector, from: number, to: number, parts: number): number[] {
  return Array.from({ length: parts }, (_, i) => {
    const edge = (k: number): number => above(quantiles, from + ((to - from) * k) / parts);
    return Math.max(0, edge(i) - edge(i + 1));
  });
}

/** Uniform numbers in [0, 1) from a seed (mulberry32). */
export function uniforms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Standard normal numbers from a seed. */
export function normals(seed: number): () => number {
  const next = uniforms(seed);
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

/** The directions of points' first and second axis in their codes, where these are linear in them (PCA); else null. */
export function loadings(codes: (i: number, j: number) => number, xy: Vector, n: number, size: number): { mean: Float32Array; axes: [Float32Array, Float32Array] } | null {
  const mean = new Float32Array(size);
  for (let j = 0; j < size; j++) {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += codes(i, j);
    mean[j] = sum / n;
  }
  // The scores of components are orthogonal to one another, so that each direction is found by itself.
  const axes = ([0, 1] as const).map((k) => {
    const axis = new Float32Array(size);
    let total = 0;
    for (let i = 0; i < n; i++) {
      const v = xy[2 * i + k]!;
      if (Number.isNaN(v)) return null;
      total += v * v;
      for (let j = 0; j < size; j++) axis[j] = axis[j]! + v * (codes(i, j) - mean[j]!);
    }
    return total > 0 ? axis.map((v) => v / total) : null;
  });
  const [first, second] = axes;
  if (!first || !second) return null;
  let [off, all] = [0, 0];
  for (let i = 0; i < n; i += Math.max(1, Math.floor(n / 200)))
    for (const [k, axis] of [first, second].entries()) {
      let v = 0;
      for (let j = 0; j < size; j++) v += axis[j]! * (codes(i, j) - mean[j]!);
      off += (v - xy[2 * i + k]!) ** 2;
      all += xy[2 * i + k]! ** 2;
    }
  return off < 1e-3 * all ? { mean, axes: [first, second] } : null;
}

/** A number as a person writes it: so many decimals where they are known, else about four digits. */
export function written(value: number, decimals: number | null = null): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "—" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const digits = decimals ?? (size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : size === 0 ? 0 : Math.min(8, 2 - Math.floor(Math.log10(size))));
  const text = value.toFixed(Math.min(digits, 12));
  const [whole, fraction] = text.replace("-", "").split(".");
  const grouped = whole!.length > 4 ? whole!.replace(/\B(?=(\d{3})+$)/g, ",") : whole!;
  return (Number(text) < 0 ? "−" : "") + grouped + (fraction ? `.${fraction}` : "");
}

/** A number in as few digits as tell it from all others of its precision, which is single unless it is of `double`. */
export function shortest(value: number, double: boolean): string {
  if (double) return String(value);
  for (let digits = 6; digits < 9; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === Math.fround(value)) return text;
  }
  return String(Number(value.toPrecision(9)));
}

/** A fraction as per cent; never 100 or 0 where it is not quite. */
export function percent(fraction: number): string {
  const value = 100 * fraction;
  if (value > 99.9 && value < 100) return "99.9 %";
  if (value < 0.1 && value > 0) return "0.1 %";
  return `${value.toFixed(value === 0 || value === 100 ? 0 : 1)} %`;
}
