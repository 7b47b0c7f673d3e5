/** What the page shows, as it comes from Python (show/explorer/scene.py), and as the page works with it. */

import { numbersOf, type Arr } from "./arrays";
import { onSpace } from "./maths";
import type { Program } from "./programs";

export interface Column {
  name: string;
  kind: string;
  levels: string[] | null;
  low: number;
  high: number;
  decimals: number | null;
  unit: string | null;
  date: string | null;
}

export interface Latent {
  name: string;
  size: number;
  shape: number[];
  discrete: boolean;
  groups: number | null;
  step: number;
  decoded: boolean;
  kl: number[] | null;
  mean: number[];
  sd: number[];
  active: boolean[];
  /** Where all its codes lie: "sphere", "simplex", or null, anywhere. */
  space?: string | null;
}

export interface Colouring {
  name: string;
  kind: "category" | "number";
  values: Arr | null;
  names: string[] | null;
  column: number | null;
}

export type Ability = "encode" | "decode" | "score" | "draw" | "levels" | "impute" | "prior";

export interface SceneFile {
  format: number;
  title: string;
  about: string[];
  data: {
    kind: "images" | "table" | "vectors";
    shape: number[];
    range: [number, number] | null;
    step?: number | null;
    columns: Column[] | null;
    classes: string[] | null;
    conditional: boolean;
    covariates?: number;
  };
  latents: Latent[];
  points: {
    n: number;
    names: string[] | null;
    x: Arr;
    mean: Arr;
    sd: Arr | null;
    y: Arr | null;
    projections: { name: string; axes: [string, string]; xy: Arr }[];
    colours: Colouring[];
  };
  reference: { elbo: number[]; columns?: number[] | null };
  components: { mean: number[][]; weight: number[] } | null;
  can: Ability[];
  programs: { encode?: Program; decode?: Program; score?: Program } | null;
  /** What constants of the programs are read from, base64. */
  weights: string | null;
}

/** One dimension of a latent: where it stands in z. */
export interface Dimension {
  index: number;
  latent: Latent;
  at: number;
  label: string;
  kl: number | null;
  mean: number;
  sd: number;
  active: boolean;
}

/** A condition: the index of a class, or the numbers of covariates; null of a model that is given none. */
export type Condition = number | number[] | null;

/** The scene with its arrays unpacked. */
export class Scene {
  readonly n: number;
  readonly size: number;
  readonly latentSize: number;
  readonly dimensions: Dimension[] = [];
  private readonly x: ArrayLike<number>;
  private gaps: number | null = null;
  private readonly bytes: boolean;
  private readonly mean: ArrayLike<number>;
  private readonly sd: ArrayLike<number> | null;
  private readonly y: ArrayLike<number> | null;

  constructor(readonly file: SceneFile) {
    const { points, data, latents } = file;
    if (file.format !== 1) throw new Error(`This page reads scenes of format 1, and was given one of format ${file.format}.`);
    this.n = points.n;
    this.size = data.shape.reduce((a, b) => a * b, 1);
    this.x = numbersOf(points.x);
    this.bytes = points.x.dtype === "uint8";
    this.mean = numbersOf(points.mean);
    this.sd = points.sd && numbersOf(points.sd);
    this.y = points.y && numbersOf(points.y);
    this.latentSize = latents.reduce((sum, l) => sum + l.size, 0);
    for (const latent of latents)
      for (let at = 0; at < latent.size; at++)
        this.dimensions.push({
          index: this.dimensions.length,
          latent,
          at,
          // Counted from 0, as in files of codes and in pictures.
          label: latent.size === 1 ? latent.name : `${latent.name}${/\d$/.test(latent.name) ? "." : ""}${at}`,
          kl: latent.kl?.[at] ?? null,
          mean: latent.mean[at]!,
          sd: latent.sd[at]!,
          active: latent.active[at]!,
        });
  }

  /** Whether programs are given data in double precision. */
  get double(): boolean {
    return this.file.points.x.dtype === "float64";
  }

  get images(): boolean {
    return this.file.data.kind === "images";
  }

  get table(): boolean {
    return this.file.data.kind === "table";
  }

  get columns(): Column[] {
    return this.file.data.columns ?? [];
  }

  get range(): [number, number] {
    return this.file.data.range ?? [0, 1];
  }

  /** [channels, height, width] of an image. */
  get imageShape(): [number, number, number] {
    const s = this.file.data.shape;
    return s.length === 3 ? [s[0]!, s[1]!, s[2]!] : [1, s[s.length - 2]!, s[s.length - 1]!];
  }

  can(what: Ability): boolean {
    return this.file.can.includes(what);
  }

  name(i: number): string {
    return this.file.points.names?.[i] ?? `datum ${i}`;
  }

  /** A datum (E), in its own units, NaN where a cell is missing. */
  datum(i: number): Float64Array {
    const out = new Float64Array(this.size);
    const [low, high] = this.range;
    for (let j = 0, at = i * this.size; j < this.size; j++, at++)
      out[j] = this.bytes ? this.snapped(low + (this.x[at]! / 255) * (high - low)) : this.x[at]!;
    return out;
  }

  /** A pixel's value as one that the data can have. */
  snapped(value: number): number {
    const [low, high] = this.range;
    const step = this.file.data.step;
    const inside = Math.min(Math.max(value, low), high);
    return step ? low + Math.round((inside - low) / step) * step : inside;
  }

  /** Unlike a datum's own numbers, these are at hand without unpacking it. */
  cell(i: number, column: number): number {
    return this.x[i * this.size + column]!;
  }

  /** How many cells one half of the data lack at most. */
  get usuallyMissing(): number {
    if (this.gaps === null) {
      const counts = new Uint32Array(this.n);
      for (let i = 0; i < this.n * this.size; i++) if (Number.isNaN(this.x[i])) counts[Math.floor(i / this.size)]!++;
      this.gaps = counts.sort()[this.n >> 1] ?? 0;
    }
    return this.gaps;
  }

  code(i: number): Float32Array {
    const out = new Float32Array(this.latentSize);
    for (let j = 0; j < out.length; j++) out[j] = this.mean[i * this.latentSize + j]!;
    return out;
  }

  /** The nearest to a code, or so, that the model has: each latent's part on the space of its codes. */
  onSpace(z: Float32Array): Float32Array {
    if (!this.file.latents.some((latent) => latent.space)) return z;
    let at = 0;
    const parts = this.file.latents.map((latent) => onSpace(latent.space, z.slice(at, (at += latent.size))));
    return Float32Array.from(parts.flatMap((part) => [...part]));
  }

  codeAt(i: number, dimension: number): number {
    return this.mean[i * this.latentSize + dimension]!;
  }

  spread(i: number): Float32Array | null {
    return this.sd && Float32Array.from({ length: this.latentSize }, (_, j) => this.sd![i * this.latentSize + j]!);
  }

  /** What the model is given beside a datum. */
  condition(i: number): Condition {
    if (!this.file.data.conditional || !this.y) return null;
    const n = this.file.data.covariates ?? 0;
    return n ? Array.from({ length: n }, (_, j) => this.y![i * n + j]!) : this.y[i]!;
  }

  className(i: number): string | null {
    const names = this.file.data.classes;
    const k = names && this.y ? this.y[i]! : -1;
    return names?.[k] ?? null;
  }

  classOf(i: number): number {
    return this.file.data.classes && this.y ? this.y[i]! : -1;
  }

  /** Values by which points are coloured. */
  colourValues(colour: Colouring): ArrayLike<number> {
    if (colour.values) return numbersOf(colour.values);
    return Float64Array.from({ length: this.n }, (_, i) => this.cell(i, colour.column!));
  }

  nearest(z: ArrayLike<number>): number {
    let [best, at] = [Infinity, 0];
    for (let i = 0; i < this.n; i++) {
      let d = 0;
      for (let j = 0, k = i * this.latentSize; j < this.latentSize && d < best; j++, k++) d += (this.mean[k]! - z[j]!) ** 2;
      if (d < best) [best, at] = [d, i];
    }
    return at;
  }
}
