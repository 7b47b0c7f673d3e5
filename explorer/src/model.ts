/** What the page asks of a model, answered by a server or by programs in the page itself. */

import { numbersOf, type Arr } from "./arrays";
import { normals } from "./maths";
import { Ready, Weights, type Tensor } from "./programs";
import type { Ability, Condition, Scene } from "./scene";

export type Row = ArrayLike<number>;

export interface Decoded {
  /** In double precision, which dates and large numbers need; codes and probabilities are in single. */
  x: Float64Array[];
  /** By the index of a column: for each row the probabilities of its levels. */
  probabilities: Map<number, Float32Array[]>;
}

export interface Codes {
  mean: Float32Array[];
  sd: Float32Array[] | null;
}

export interface Scored {
  elbo: number[];
  /** For each row the nats that each column takes. */
  columns: number[][] | null;
}

export interface Draw {
  x?: Row;
  z?: Row;
  levels?: number;
  n: number;
  seed: number;
  y?: Condition;
}

export interface Model {
  can(what: Ability): boolean;
  encode(x: Row[], y?: Condition[]): Promise<Codes>;
  decode(z: Row[], y?: Condition[], levels?: number | null): Promise<Decoded>;
  score(x: Row[], y?: Condition[]): Promise<Scored>;
  draw(asked: Draw): Promise<{ z: Float32Array[]; x: Decoded }>;
  impute(x: Row, y?: Condition): Promise<Float64Array>;
  /** Ends the server; null where there is none. */
  stop: (() => Promise<void>) | null;
}

const plain = (row: Row): (number | null)[] => Array.from(row, (v) => (Number.isNaN(v) ? null : v));
const arrays = (rows: (number | null)[][]): Float32Array[] => rows.map((r) => Float32Array.from(r, (v) => v ?? NaN));

function doubles(array: Arr): Float64Array[] {
  const [n, size] = array.shape as [number, number];
  const all = numbersOf(array);
  return Array.from({ length: n }, (_, i) => Float64Array.from(all.subarray(i * size, (i + 1) * size)));
}
const given = (y?: Condition[]): { y?: unknown } => (y && y.some((v) => v !== null) ? { y } : {});

/** A model on a server, which tells friend from stranger by a token. */
export class Remote implements Model {
  constructor(private readonly scene: Scene, private readonly token: string) {}

  can(what: Ability): boolean {
    return this.scene.can(what);
  }

  async encode(x: Row[], y?: Condition[]): Promise<Codes> {
    const got = await this.ask("encode", { x: x.map(plain), ...given(y) });
    return { mean: arrays(got.mean), sd: got.sd && arrays(got.sd) };
  }

  async decode(z: Row[], y?: Condition[], levels?: number | null): Promise<Decoded> {
    const got = await this.ask("decode", { z: z.map(plain), ...given(y), ...(levels == null ? {} : { levels }) });
    return this.decoded(got);
  }

  async score(x: Row[], y?: Condition[]): Promise<Scored> {
    const got = await this.ask("score", { x: x.map(plain), ...given(y) });
    return { elbo: got.elbo.map((v: number | null) => v ?? -Infinity), columns: got.columns ?? null };
  }

  async draw(asked: Draw): Promise<{ z: Float32Array[]; x: Decoded }> {
    const { x, z, y, ...rest } = asked;
    const got = await this.ask("draw", { ...rest, ...(x ? { x: plain(x) } : {}), ...(z ? { z: plain(z) } : {}), ...(y == null ? {} : { y }) });
    return { z: arrays(got.z), x: this.decoded(got) };
  }

  async impute(x: Row, y?: Condition): Promise<Float64Array> {
    const got = await this.ask("impute", { x: plain(x), ...(y == null ? {} : { y }) });
    return Float64Array.from(got.x as (number | null)[], (v) => v ?? NaN);
  }

  stop = async (): Promise<void> => {
    await this.ask("stop", {});
  };

  private decoded(got: any): Decoded {
    const names = this.scene.columns.map((c) => c.name);
    const probabilities = new Map<number, Float32Array[]>();
    for (const [name, rows] of Object.entries(got.probabilities ?? {})) {
      const at = names.indexOf(name);
      if (at >= 0) probabilities.set(at, arrays(rows as number[][]));
    }
    return { x: doubles(got.x), probabilities };
  }

  private async ask(what: string, body: object): Promise<any> {
    let answer: Response;
    try {
      answer = await fetch(`api/${what}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Token": this.token },
        body: JSON.stringify(body),
      });
    } catch {
      throw new Error("The server does not answer: vaekit explore has ended. Start it again and open its new address.");
    }
    const got = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(typeof got.error === "string" ? got.error : `The server answered ${answer.status}.`);
    return got;
  }
}

/** Rows of numbers as one tensor (B, size), of single precision or `double`. */
function packed(rows: Row[], size: number, double = false): Tensor {
  const data = double ? new Float64Array(rows.length * size) : new Float32Array(rows.length * size);
  rows.forEach((row, i) => data.set(row, i * size));
  return { shape: [rows.length, size], data };
}

function rowsIn(t: Tensor): Tensor["data"][] {
  const n = t.shape[0]!;
  const size = t.data.length / Math.max(n, 1);
  return Array.from({ length: n }, (_, i) => t.data.subarray(i * size, (i + 1) * size));
}

const unpacked = (t: Tensor): Float32Array[] => rowsIn(t).map((row) => Float32Array.from(row));

/** Draws of the noise of a bound that are averaged. */
const SAMPLES = 16;

/** A model whose programs run in the page. */
export class Local implements Model {
  private readonly programs: Partial<Record<"encode" | "decode" | "score", Ready>> = {};
  readonly stop = null;

  constructor(private readonly scene: Scene) {
    const weights = new Weights(scene.file.weights ?? "");
    for (const name of ["encode", "decode", "score"] as const) {
      const program = scene.file.programs?.[name];
      if (program) this.programs[name] = new Ready(program, weights);
    }
  }

  can(what: Ability): boolean {
    if (what === "encode" || what === "decode" || what === "score") return this.scene.can(what) && what in this.programs;
    return what !== "levels" && this.scene.can(what);
  }

  async encode(x: Row[], y?: Condition[]): Promise<Codes> {
    const [mean, sd] = this.run("encode", { x, y });
    return { mean: unpacked(mean!), sd: sd ? unpacked(sd) : null };
  }

  async decode(z: Row[], y?: Condition[]): Promise<Decoded> {
    // In parts, so that the page stays alive while many are decoded.
    const parts: Decoded = { x: [], probabilities: new Map() };
    const part = 32;
    for (let at = 0; at < z.length; at += part) {
      if (at > 0) await new Promise((done) => setTimeout(done));
      const [x, ...others] = this.run("decode", { z: z.slice(at, at + part), y: y?.slice(at, at + part) });
      parts.x.push(...rowsIn(x!).map((row) => Float64Array.from(row)));
      const categories = this.scene.columns.flatMap((c, i) => (c.levels ? [i] : []));
      others.forEach((t, i) => {
        const column = categories[i]!;
        parts.probabilities.set(column, [...(parts.probabilities.get(column) ?? []), ...unpacked(t)]);
      });
    }
    return parts;
  }

  async score(x: Row[], y?: Condition[]): Promise<Scored> {
    const program = this.programs.score!;
    // Some draws take more numbers than they have themselves.
    const taken = program.sizes?.[program.inputs.indexOf("noise")] ?? this.scene.latentSize;
    const rounds = program.inputs.includes("noise") ? SAMPLES : 1;
    const elbo = new Array<number>(x.length).fill(0);
    let columns: number[][] | null = null;
    const next = normals(0);
    for (let s = 0; s < rounds; s++) {
      const noise = x.map(() => Float32Array.from({ length: taken }, next));
      const [bound, each] = this.run("score", { x, y, noise });
      bound!.data.forEach((v, i) => (elbo[i] = elbo[i]! + v / rounds));
      if (each) {
        const size = each.data.length / x.length;
        columns ??= x.map(() => new Array<number>(size).fill(0));
        each.data.forEach((v, i) => (columns![Math.floor(i / size)]![i % size]! += v / rounds));
      }
    }
    return { elbo, columns };
  }

  async draw({ x, n, seed, y }: Draw): Promise<{ z: Float32Array[]; x: Decoded }> {
    const next = normals(seed + 1);
    const conditions = y == null ? undefined : new Array<Condition>(n).fill(y);
    const codes = x && (await this.encode([x], y == null ? undefined : [y]));
    const z = Array.from({ length: n }, () =>
      Float32Array.from({ length: this.scene.latentSize }, (_, j) => (codes ? codes.mean[0]![j]! + (codes.sd?.[0]![j] ?? 0) * next() : next())),
    );
    return { z, x: await this.decode(z, conditions) };
  }

  async impute(x: Row, y?: Condition): Promise<Float64Array> {
    const conditions = y == null ? undefined : [y];
    const { mean } = await this.encode([x], conditions);
    const decoded = (await this.decode(mean, conditions)).x[0]!;
    return Float64Array.from(x, (v, i) => (Number.isNaN(v) ? decoded[i]! : v));
  }

  private run(name: "encode" | "decode" | "score", given_: { x?: Row[]; z?: Row[]; noise?: Row[]; y?: Condition[] | undefined }): Tensor[] {
    const program = this.programs[name];
    if (!program) throw new Error(`This file cannot ${name}: open the run with vaekit explore.`);
    const { x, z, noise, y } = given_;
    const rows = x ?? z!;
    const inputs: Record<string, () => Tensor> = {
      x: () => packed(x!, this.scene.size, this.scene.double),
      z: () => packed(z!, this.scene.latentSize),
      noise: () => packed(noise!, noise![0]!.length),
      y: () => {
        const values = rows.map((_, i) => y?.[i] ?? 0);
        return Array.isArray(values[0]) ? packed(values as number[][], values[0].length) : { shape: [rows.length], data: Int32Array.from(values as number[]) };
      },
    };
    return program.run(
      ...program.inputs.map((id) => {
        const make = inputs[id];
        if (!make) throw new Error(`This page has no input ${id}.`);
        return make();
      }),
    );
  }
}

/** Runs one request at a time, and of those that came meanwhile only the newest. */
export function latest<T>(work: (value: T) => Promise<void>): (value: T) => void {
  let busy = false;
  let waiting: { value: T } | null = null;
  const go = async (value: T): Promise<void> => {
    busy = true;
    try {
      await work(value);
    } finally {
      busy = false;
      const next = waiting as { value: T } | null;
      waiting = null;
      if (next) void go(next.value);
    }
  };
  return (value) => {
    if (busy) waiting = { value };
    else void go(value);
  };
}
