/** Where on the page one is: what its address holds, and what its parts listen to. */

import type { Condition, Scene } from "./scene";

export type Slot = "a" | "b" | "c";
export type Panel = "sliders" | "journeys" | "own";
export type Journey = "line" | "sum" | "classes" | "components" | "levels" | "draws" | "prior";

/** A place of the latent space that is kept: a datum's code, or one that was made. */
export interface Place {
  z: Float32Array;
  y: Condition;
  datum: number | null;
}

export interface View {
  place: Place;
  /** Of a latent that the decoder doesn't see: how many latents are kept, the rest drawn down from them; else null. */
  levels: number | null;
  slots: Record<Slot, Place>;
  armed: Slot | null;
  projection: string;
  colour: string;
  panel: Panel;
  journey: Journey;
  spherical: boolean;
  t: number;
  plane: boolean;
  /** Places shown on the map beside the one looked at. */
  cloud: Float32Array[];
}

type Key = keyof View;
type Listener = (changed: Set<Key>) => void;

export class Store {
  private readonly listeners: { keys: Key[]; f: Listener }[] = [];
  constructor(public view: View, private readonly onSpace: (z: Float32Array) => Float32Array = (z) => z) {}

  on(keys: Key[], f: Listener): void {
    this.listeners.push({ keys, f });
  }

  set(change: Partial<View>): void {
    const changed = new Set(Object.keys(change) as Key[]);
    this.view = { ...this.view, ...change };
    for (const { keys, f } of this.listeners) if (keys.some((k) => changed.has(k))) f(changed);
  }

  /** Goes to a place; with `levels`, of which the latents that are drawn later are left to the model. */
  go(place: Place, levels: number | null = null): void {
    this.set({ place: place.datum === null ? { ...place, z: this.onSpace(place.z) } : place, levels });
  }
}

export const placeOf = (scene: Scene, i: number): Place => ({ z: scene.code(i), y: scene.condition(i), datum: i });

const short = (v: number): string => String(Math.round(v * 1000) / 1000);

/** "12" for a datum; else the numbers, or what differs from a datum: "12;0:1.5;3:-2". */
function placeText(scene: Scene, place: Place): string {
  if (place.datum !== null) return String(place.datum);
  const near = scene.nearest(place.z);
  const from = scene.code(near);
  const parts = [String(near)];
  place.z.forEach((v, j) => {
    if (Math.abs(v - from[j]!) > 5e-4) parts.push(`${j}:${short(v)}`);
  });
  return parts.join(";");
}

function placeFrom(scene: Scene, text: string, y: string | null): Place | null {
  const [first, ...changes] = text.split(";");
  const at = Number(first);
  if (!/^\d+$/.test(first!) || at >= scene.n) return null;
  const place = placeOf(scene, at);
  for (const change of changes) {
    const [j, v] = change.split(":").map(Number);
    if (!Number.isInteger(j) || !Number.isFinite(v) || j! < 0 || j! >= scene.latentSize) return null;
    place.z[j!] = v!;
    place.datum = null;
  }
  if (y !== null && place.y !== null) {
    const numbers = y.split(",").map(Number);
    const classes = scene.file.data.classes;
    if (numbers.every(Number.isFinite) && (classes ? numbers[0]! in classes : numbers.length === scene.file.data.covariates)) {
      const given = classes ? numbers[0]! : numbers;
      if (String(given) !== String(place.y)) place.datum = null;
      place.y = given;
    }
  }
  return place;
}

export function hashOf(scene: Scene, view: View): string {
  const out = new URLSearchParams();
  out.set("at", placeText(scene, view.place));
  if (view.place.y !== null) out.set("y", String(view.place.y));
  out.set("map", view.projection);
  if (view.colour) out.set("colour", view.colour);
  out.set("panel", view.panel);
  if (view.plane) out.set("plane", "1");
  for (const slot of ["a", "b", "c"] as const) {
    const place = view.slots[slot];
    out.set(slot, placeText(scene, place));
    // A datum has its own; a place that was made may have another than the datum nearest to it.
    if (place.datum === null && place.y !== null) out.set(`y${slot}`, String(place.y));
  }
  if (view.panel === "journeys") {
    out.set("journey", view.journey);
    if (view.spherical) out.set("spherical", "1");
    out.set("t", short(view.t));
  }
  // These may stand in an address as they are, and are read more easily.
  return out.toString().replace(/%(3A|3B|2C)/g, decodeURIComponent);
}

/** What of a view an address names; what it names wrongly is left out. */
export function viewFrom(scene: Scene, hash: string, now: View): Partial<View> {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const out: Partial<View> = {};
  const at = given.get("at");
  const place = at && placeFrom(scene, at, given.get("y"));
  if (place) out.place = place;
  const map = given.get("map");
  if (map && (scene.file.points.projections.some((p) => p.name === map) || pairOf(scene, map))) out.projection = map;
  const colour = given.get("colour");
  if (colour && scene.file.points.colours.some((c) => c.name === colour)) out.colour = colour;
  const panel = given.get("panel");
  if (panel === "sliders" || panel === "journeys" || panel === "own") out.panel = panel;
  out.plane = given.get("plane") === "1";
  const slots = { ...now.slots };
  for (const slot of ["a", "b", "c"] as const) {
    const text = given.get(slot);
    slots[slot] = (text && placeFrom(scene, text, given.get(`y${slot}`))) || slots[slot];
  }
  out.slots = slots;
  const journey = given.get("journey");
  if (journey && ["line", "sum", "classes", "components", "levels", "draws", "prior"].includes(journey)) out.journey = journey as Journey;
  out.spherical = given.get("spherical") === "1";
  const t = Number(given.get("t") ?? NaN);
  if (Number.isFinite(t)) out.t = Math.min(1.5, Math.max(0, t));
  return out;
}

/** The two dimensions of a map that is named "z:0,3". */
export function pairOf(scene: Scene, projection: string): [number, number] | null {
  const found = /^z:(\d+),(\d+)$/.exec(projection);
  const pair = found && ([Number(found[1]), Number(found[2])] as [number, number]);
  return pair && pair.every((d) => d < scene.latentSize) ? pair : null;
}
