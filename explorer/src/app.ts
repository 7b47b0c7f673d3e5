/** What all parts of the page share. */

import { complain } from "./dom";
import { latest, type Decoded, type Model } from "./model";
import type { Scene } from "./scene";
import type { Place, Store } from "./view";

/** One decoded row: its numbers, and of category columns the probabilities of levels. */
export interface Shown {
  x: Float64Array;
  probabilities: Map<number, Float32Array>;
}

export const shownOf = (decoded: Decoded, i: number): Shown => ({
  x: decoded.x[i]!,
  probabilities: new Map([...decoded.probabilities].map(([column, rows]) => [column, rows[i]!])),
});

export class App {
  shown: Shown | null = null;
  private readonly listeners: ((shown: Shown) => void)[] = [];

  constructor(readonly scene: Scene, readonly model: Model, readonly store: Store) {
    const decode = latest<[Place, number | null]>(async ([place, levels]) => {
      const first = this.shown === null && performance.mark("asked");
      try {
        this.shown = shownOf(await model.decode([scene.onSpace(place.z)], [place.y], levels), 0);
        this.listeners.forEach((f) => f(this.shown!));
        if (first) performance.measure("first decode", "asked");
      } catch (error) {
        complain(error);
      }
    });
    store.on(["place", "levels"], () => decode([store.view.place, store.view.levels]));
  }

  onDecoded(f: (shown: Shown) => void): void {
    this.listeners.push(f);
  }

  /** Many places decoded, in their order; a condition is the place's own. */
  async decodeAll(places: Place[], levels: number | null = null): Promise<Shown[]> {
    const found = await this.model.decode(places.map((p) => this.scene.onSpace(p.z)), places.map((p) => p.y), levels);
    return places.map((_, i) => shownOf(found, i));
  }

  get priorDraws(): boolean {
    return this.model.can("draw") && (this.model.stop !== null || this.model.can("prior"));
  }
}

/** The newest answer only: what came in between is thrown away. */
export function newest<T>(): (work: Promise<T>, use: (value: T) => void) => void {
  let turn = 0;
  return (work, use) => {
    const mine = ++turn;
    work.then((value) => mine === turn && use(value), (error) => mine === turn && complain(error));
  };
}
