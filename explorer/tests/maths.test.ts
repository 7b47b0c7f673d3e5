import assert from "node:assert/strict";
import { test } from "node:test";

import { numbersOf } from "../src/arrays";
import { above, analogy, loadings, mixed, normals, onSpace, percent, shares, spherical, written, largest, shortest } from "../src/maths";

const near = (a: number, b: number, by = 1e-5): void => assert.ok(Math.abs(a - b) < by, `${a} is not ${b}`);

test("between two codes", () => {
  assert.deepEqual([...mixed([0, 2], [2, 0], 0.25)], [0.5, 1.5]);
  const half = spherical([2, 0], [0, 4], 0.5);
  near(Math.hypot(...half), 3);
  near(half[0]!, half[1]!);
  assert.deepEqual([...spherical([1, 0], [2, 0], 0.5)], [1.5, 0]);
  assert.deepEqual([...spherical([0, 0], [2, 0], 0.5)], [1, 0]);
  for (const t of [0, 1]) spherical([1, 2, 3], [-1, 0, 2], t).forEach((v, i) => near(v, [[1, 2, 3], [-1, 0, 2]][t]![i]!));
  assert.deepEqual([...analogy([3, 1], [1, 1], [10, 10], 1)], [12, 10]);
});

test("a code is brought to the space of its latent", () => {
  const near_ = (z: Float32Array, ...expected: number[]): void => expected.forEach((v, i) => near(z[i]!, v));
  near_(onSpace("sphere", Float32Array.from([3, -4])), 0.6, -0.8);
  near_(onSpace("sphere", Float32Array.from([0, 0])), 0, 0);
  near_(onSpace("simplex", Float32Array.from([0.6, 0.6, -1])), 0.5, 0.5, 0);
  near_(onSpace(null, Float32Array.from([3, -4])), 3, -4);
});

test("the share above a value", () => {
  const quantiles = Array.from({ length: 1001 }, (_, i) => i / 1000);
  near(above(quantiles, 0.25), 0.75);
  near(above(quantiles, 0.0005), 0.9995);
  assert.equal(above(quantiles, -1), 1);
  assert.equal(above(quantiles, 2), 0);
  assert.ok(Number.isNaN(above([], 2)));
  shares(quantiles, 0, 1, 4).forEach((v) => near(v, 0.25, 2e-3));
  // Ties: all mass on one value.
  assert.equal(above([1, 1, 1], 0.5), 1);
});

test("principal directions are found again, and what is not linear is not taken for it", () => {
  const next = normals(3);
  const n = 60;
  const a = [0.6, 0.8, 0];
  const b = [-0.8, 0.6, 0];
  const codes = Array.from({ length: n }, () => Array.from({ length: 3 }, (_, j) => next() * [3, 2, 0.1][j]!));
  const mean = [0, 1, 2].map((j) => codes.reduce((s, c) => s + c[j]!, 0) / n);
  // Scores of two orthogonal directions; made uncorrelated as those of components are.
  const score = (c: number[], axis: number[]): number => axis.reduce((s, v, j) => s + v * (c[j]! - mean[j]!), 0);
  let u = codes.map((c) => score(c, a));
  let v = codes.map((c) => score(c, b));
  const slope = u.reduce((s, x, i) => s + x * v[i]!, 0) / u.reduce((s, x) => s + x * x, 0);
  v = v.map((y, i) => y - slope * u[i]!);
  const xy = Float32Array.from(u.flatMap((x, i) => [x, v[i]!]));
  const found = loadings((i, j) => codes[i]![j]!, xy, n, 3);
  assert.ok(found === null || found.axes.length === 2);
  assert.equal(loadings((i, j) => codes[i]![j]!, xy.map((t) => Math.sin(5 * t)), n, 3), null);
});

test("numbers as text", () => {
  assert.equal(written(1234567.8, 0), "1,234,568");
  assert.equal(written(-0.004, 2), "0.00");
  assert.equal(written(-1.5, 1), "−1.5");
  assert.equal(written(NaN), "—");
  assert.equal(percent(0.9924), "99.2 %");
  assert.equal(percent(0.99999), "99.9 %");
  assert.equal(percent(1), "100 %");
});

test("arrays from base64", () => {
  const data = Buffer.from(Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00).buffer).toString("base64");
  assert.deepEqual([...numbersOf({ dtype: "float16", shape: [4], data })], [1, -2, Math.fround(2 ** -24), Infinity]);
});

test("normal numbers have mean 0 and variance 1, and are the same for a seed", () => {
  const next = normals(1);
  const values = Array.from({ length: 4000 }, next);
  const m = values.reduce((a, b) => a + b) / 4000;
  near(m, 0, 4 / Math.sqrt(4000));
  near(values.reduce((s, v) => s + (v - m) ** 2, 0) / 4000, 1, 0.1);
  assert.equal(normals(1)(), values[0]);
});

test("the largest of a large image's numbers is found", () => {
  assert.equal(largest(new Array(400 * 400).fill(0.25)), 0.25);
  assert.equal(largest([]), -Infinity);
});

test("a number is written in as few digits as tell it from others", () => {
  assert.equal(shortest(Math.fround(0.1), false), "0.1");
  assert.equal(Math.fround(Number(shortest(Math.fround(1 / 3), false))), Math.fround(1 / 3));
  assert.equal(shortest(1_700_000_028, true), "1700000028");
});
