/** The ground of the map: what its places decode to, as small pictures on a lattice. */

import { isDark } from "./colours";
import { pairOf, type View } from "./view";
import { paint } from "./pictures";
import type { Plane } from "./plane";
import type { Scene } from "./scene";

/** From where the map is seen: its middle, and how many CSS pixels one unit has. */
export interface Camera {
  x: number;
  y: number;
  scale: number;
}

interface Cell {
  x: Float64Array;
  left: number;
  top: number;
}

/** How much of its cell a picture fills. */
const SHARE = 0.9;

export class Ground {
  private made: { camera: Camera; key: string; cells: Cell[]; side: [number, number] } | null = null;
  private timer = 0;

  constructor(private readonly scene: Scene, private readonly decode: (z: Float32Array[]) => Promise<Float64Array[]>, private readonly changed: () => void) {}

  get there(): boolean {
    return this.made !== null;
  }

  /** Decodes what lies under the map, once it has come to rest. */
  soon(state: () => { view: View; plane: Plane; camera: Camera; size: [number, number] }): void {
    clearTimeout(this.timer);
    if (state().view.plane && this.scene.images) {
      this.timer = window.setTimeout(() => void this.make(state()), 120);
      return;
    }
    if (this.made) {
      this.made = null;
      this.changed();
    }
  }

  private async make({ view, plane, camera, size: [w, h] }: { view: View; plane: Plane; camera: Camera; size: [number, number] }): Promise<void> {
    const pair = pairOf(this.scene, view.projection);
    const { z, y } = view.place;
    // Of two latent dimensions the ground does not depend on where in their plane one is.
    const still = Array.from(z, (v, i) => (pair?.includes(i) ? 0 : v));
    const key = [w, h, camera.x, camera.y, camera.scale, view.projection, y, ...(this.scene.latentSize > 2 ? still.map((v) => v.toFixed(2)) : [])].join();
    if (this.made?.key === key) return;
    const [, height, width] = this.scene.imageShape;
    const across = Math.max(36, Math.min(72, Math.sqrt((w * h) / 150)));
    const side: [number, number] = [across, (across * height) / width];
    const places: { left: number; top: number }[] = [];
    for (let top = 0; top < h; top += side[1]) for (let left = 0; left < w; left += side[0]) places.push({ left, top });
    const at = ({ left, top }: { left: number; top: number }): [number, number] => [camera.x + (left + side[0] / 2 - w / 2) / camera.scale, camera.y - (top + side[1] / 2 - h / 2) / camera.scale];
    const found = await this.decode(places.map((p) => plane.from(...at(p), z)));
    this.made = { camera: { ...camera }, key, side, cells: places.map((p, i) => ({ ...p, x: found[i]! })) };
    this.changed();
  }

  /** Paints it as it is seen now, which may be from elsewhere than when it was made. */
  paint(context: CanvasRenderingContext2D, now: Camera, [w, h]: [number, number], ratio: number): void {
    const { cells, camera, side } = this.made!;
    const zoom = now.scale / camera.scale;
    const [dx, dy] = [(camera.x - now.x) * now.scale, (now.y - camera.y) * now.scale];
    // No more than a hint: the points are what the map is of.
    context.globalAlpha = isDark() ? 0.34 : 0.24;
    for (const { x, left, top } of cells) {
      const u = w / 2 + dx + (left - w / 2) * zoom;
      const v = h / 2 + dy + (top - h / 2) * zoom;
      paint(context, this.scene, x, Math.round(u * ratio), Math.round(v * ratio), Math.round(SHARE * side[0] * zoom * ratio), Math.round(SHARE * side[1] * zoom * ratio));
    }
    context.globalAlpha = 1;
  }
}
