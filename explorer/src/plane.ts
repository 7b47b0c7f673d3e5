/** Codes in the plane, and the way back: two of their dimensions, their principal components, or another layout of the points. */

import { numbersOf } from "./arrays";
import { loadings } from "./maths";
import { pairOf } from "./view";
import type { Scene } from "./scene";

export interface Plane {
  /** Of point i at 2i and 2i + 1; NaN of a point that has no place. */
  xy: Float32Array;
  axes: [string, string];
  to(z: ArrayLike<number>, datum: number | null): [number, number];
  /** The code at a place, as near to `z` as there is one. */
  from(x: number, y: number, z: ArrayLike<number>): Float32Array;
}

/** Points around a place whose codes are averaged where a layout has no inverse. */
const NEIGHBOURS = 8;

function ofPair(scene: Scene, [i, j]: [number, number]): Plane {
  const xy = new Float32Array(2 * scene.n);
  for (let k = 0; k < scene.n; k++) {
    xy[2 * k] = scene.codeAt(k, i);
    xy[2 * k + 1] = scene.codeAt(k, j);
  }
  return {
    xy,
    axes: [scene.dimensions[i]!.label, scene.dimensions[j]!.label],
    to: (z) => [z[i]!, z[j]!],
    from: (x, y, z) => {
      const out = Float32Array.from(z);
      out[i] = x;
      // One dimension alone lies along the diagonal: the nearest place of it.
      out[j] = i === j ? (x + y) / 2 : y;
      return out;
    },
  };
}

function ofProjection(scene: Scene, name: string): Plane {
  const found = scene.file.points.projections.find((p) => p.name === name)!;
  const xy = Float32Array.from(numbersOf(found.xy));
  const linear = loadings((i, j) => scene.codeAt(i, j), xy, scene.n, scene.latentSize);
  if (linear) {
    const { mean, axes } = linear;
    const to = (z: ArrayLike<number>): [number, number] =>
      axes.map((axis) => axis.reduce((sum, v, j) => sum + v * (z[j]! - mean[j]!), 0)) as [number, number];
    const lengths = axes.map((axis) => axis.reduce((sum, v) => sum + v * v, 0));
    return {
      xy,
      axes: found.axes,
      to,
      from: (x, y, z) => {
        const now = to(z);
        const [u, v] = [(x - now[0]) / lengths[0]!, (y - now[1]) / lengths[1]!];
        return Float32Array.from(z, (value, j) => value + u * axes[0][j]! + v * axes[1][j]!);
      },
    };
  }
  const at = (i: number): [number, number] => [xy[2 * i]!, xy[2 * i + 1]!];
  return {
    xy,
    axes: found.axes,
    to: (z, datum) => at(datum ?? scene.nearest(z)),
    from: (x, y) => {
      const near: { i: number; d: number }[] = [];
      for (let i = 0; i < scene.n; i++) {
        const d = (xy[2 * i]! - x) ** 2 + (xy[2 * i + 1]! - y) ** 2;
        if (Number.isNaN(d) || (near.length === NEIGHBOURS && d >= near[NEIGHBOURS - 1]!.d)) continue;
        near.push({ i, d });
        near.sort((a, b) => a.d - b.d);
        near.length = Math.min(near.length, NEIGHBOURS);
      }
      // Weights fall to nothing at the farthest of them, so that the code changes without jumps.
      const reach = near[near.length - 1]!.d * 1.001 + 1e-9;
      const out = new Float32Array(scene.latentSize);
      let total = 0;
      for (const { i, d } of near) {
        const w = (1 - d / reach) ** 2 / (d + 1e-3 * reach);
        total += w;
        for (let j = 0; j < out.length; j++) out[j] = out[j]! + w * scene.codeAt(i, j);
      }
      return out.map((v) => v / total);
    },
  };
}

export function planeOf(scene: Scene, projection: string): Plane {
  const pair = pairOf(scene, projection);
  return pair ? ofPair(scene, pair) : ofProjection(scene, projection);
}

/** The dimensions by how much they tell: mean KL, else the spread of codes. */
export function telling(scene: Scene): number[] {
  const weight = (i: number): number => scene.dimensions[i]!.kl ?? scene.dimensions[i]!.sd;
  return scene.dimensions.map((d) => d.index).sort((a, b) => weight(b) - weight(a));
}
