/** Each operator of the page against what PyTorch answers (cases.py), and programs as wholes. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { OPERATORS, Ready, Weights, type Program } from "../src/programs";
import { isTensor, type Tensor } from "../src/operators/tensor";

interface Written {
  shape: number[];
  dtype: "float64" | "float32" | "int32" | "bool";
  data: (number | string)[];
}

const number = (v: number | string): number => (v === "nan" ? NaN : v === "inf" ? Infinity : v === "-inf" ? -Infinity : Number(v));

function read(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(read);
  if (typeof value !== "object" || value === null) return value;
  const { shape, dtype, data } = value as Written;
  const numbers = data.map(number);
  return { shape, data: dtype === "float64" ? Float64Array.from(numbers) : dtype === "float32" ? Float32Array.from(numbers) : dtype === "int32" ? Int32Array.from(numbers) : Uint8Array.from(numbers) };
}

function close(got: unknown, wanted: unknown, what: string): void {
  if (Array.isArray(wanted)) return wanted.forEach((w, i) => close((got as unknown[])[i], w, `${what}[${i}]`));
  const [a, b] = [got as Tensor, wanted as Tensor];
  assert.deepEqual(a.shape, b.shape, `${what}: shape`);
  assert.equal(a.data.constructor, b.data.constructor, `${what}: type`);
  const error = b.data instanceof Float64Array ? 1e-12 : 3e-5;
  b.data.forEach((v, i) => {
    const u = a.data[i]!;
    assert.ok(Object.is(u, v) || u === v || Math.abs(u - v) <= error + error * Math.abs(v), `${what}: at ${i} ${u} is not ${v}`);
  });
}

const cases = JSON.parse(readFileSync("tests/cases.json", "utf8")) as { op: string; in: unknown[]; out: unknown }[];

for (const [i, { op, in: given, out }] of cases.entries())
  test(`${op} ${i}`, () => {
    const run = OPERATORS[op];
    assert.ok(run, `no operator ${op}`);
    let got: unknown = run(...(given.map(read) as Tensor[]));
    const wanted = read(out);
    if (Array.isArray(wanted) && isTensor(got)) got = [got];
    close(got, wanted, op);
  });

const encoded = (values: number[]): string => Buffer.from(Float32Array.from(values).buffer).toString("base64");

const held = new Weights(encoded([1, 2, 3, 4, 10, 20]));

const program: Program = {
  inputs: ["x"],
  outputs: ["y", "n"],
  constants: { w: { shape: [2, 2], dtype: "float32", offset: 0 }, b: { shape: [2], dtype: "float32", offset: 16 } },
  nodes: [
    { op: "permute", in: [{ id: "w" }, [1, 0]], out: "wt" },
    { op: "addmm", in: [{ id: "b" }, { id: "x" }, { id: "wt" }], out: "h" },
    { op: "clamp", in: [{ id: "h" }, { number: "-inf" }, 30], out: "y" },
    { op: "full", in: [[{ batch: true }, { batch: true, times: 2 }], 0.5], out: "f" },
    { op: "max", in: [{ id: "h" }, 1], out: ["m", "k"] },
    { op: "sum", in: [{ id: "f" }, [1]], out: "n" },
  ],
};

test("a program computes what depends on weights once, and rows as many as it is given", () => {
  const ready = new Ready(program, held);
  const [y, n] = ready.run({ shape: [2, 2], data: Float32Array.of(1, 0, 0, 1) });
  assert.deepEqual([...y!.data], [11, 23, 12, 24]);
  assert.deepEqual(y!.shape, [2, 2]);
  assert.deepEqual([...n!.data], [2, 2]);
  assert.deepEqual([...ready.run({ shape: [1, 2], data: Float32Array.of(5, 5) })[0]!.data], [25, 30]);
});

test("an operator that the page lacks is refused by name", () => {
  assert.throws(() => new Ready({ ...program, nodes: [{ op: "fold", in: [{ id: "x" }], out: "y" }] }, held), /no operator fold/);
});

test("a decoder 20 → 400 → 784 answers well within a frame", () => {
  const random = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) / 20);
  const weights = [...random(400 * 20), ...random(400), ...random(784 * 400), ...random(784)];
  const mlp = new Ready({
    inputs: ["z"], outputs: ["x"],
    constants: {
      w1: { shape: [400, 20], dtype: "float32", offset: 0 }, b1: { shape: [400], dtype: "float32", offset: 32000 },
      w2: { shape: [784, 400], dtype: "float32", offset: 33600 }, b2: { shape: [784], dtype: "float32", offset: 1288000 },
    },
    nodes: [
      { op: "t", in: [{ id: "w1" }], out: "u1" },
      { op: "t", in: [{ id: "w2" }], out: "u2" },
      { op: "addmm", in: [{ id: "b1" }, { id: "z" }, { id: "u1" }], out: "h" },
      { op: "relu", in: [{ id: "h" }], out: "r" },
      { op: "addmm", in: [{ id: "b2" }, { id: "r" }, { id: "u2" }], out: "o" },
      { op: "sigmoid", in: [{ id: "o" }], out: "x" },
    ],
  }, new Weights(encoded(weights)));
  const z: Tensor = { shape: [1, 20], data: Float32Array.from(random(20)) };
  for (let i = 0; i < 20; i++) mlp.run(z);
  const times = Array.from({ length: 20 }, () => {
    const start = performance.now();
    mlp.run(z);
    return performance.now() - start;
  }).sort((a, b) => a - b);
  // The median is well below a millisecond on an idle machine; this one may be busy.
  assert.ok(times[10]! < 20, `${times[10]} ms`);
});
