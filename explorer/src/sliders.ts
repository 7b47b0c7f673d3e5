/** A slider for each dimension of the latent space, those first that tell most, above it what a walk along it changes. */

import { newest, type App, type Shown } from "./app";
import { h, replace, settled } from "./dom";
import { written } from "./maths";
import { strip } from "./pictures";
import { cellText, changing } from "./rows";
import { telling } from "./plane";
import type { Dimension, Latent } from "./scene";
import type { Place } from "./view";

/** Pictures along a slider; rows that are shown before one asks for more. */
const FRAMES = 11;
const FIRST = 10;

interface Slider {
  dimension: Dimension;
  element: HTMLElement;
  input: HTMLInputElement;
  output: HTMLOutputElement;
  changes: HTMLElement;
  low: number;
  high: number;
  /** What the strip was made for: the place without this dimension. */
  made: string;
}

export function sliders(app: App): HTMLElement {
  const { scene, store } = app;
  const all: Slider[] = [];
  const visible = new Set<Slider>();
  const latest = newest<Shown[]>();

  const levelsOf = (latent: Latent): number | null => (latent.decoded || app.model.stop === null ? null : latent.step + 1);
  const moved = (d: Dimension, value: number): Place => {
    const z = Float32Array.from(store.view.place.z);
    z[d.index] = value;
    return { z, y: store.view.place.y, datum: null };
  };

  const make = (d: Dimension, top: number): Slider => {
    // The prior is about 1 wide: of an inactive dimension the codes tell nothing of its width.
    const half = 3.5 * Math.max(d.sd, 0.7);
    const low = Math.floor((d.mean - half) * 2) / 2;
    const high = Math.ceil((d.mean + half) * 2) / 2;
    const id = `slider-${d.index}`;
    const input = h("input", { type: "range", id, min: low, max: high, step: 0.01 });
    const output = h("output", { for: id });
    const changes = h("div", { class: "changes" });
    const kl = h("span", { class: "kl", title: "Mean KL divergence of this dimension: what it tells of a datum" });
    if (d.kl !== null) {
      const bar = h("span", { class: "fill" });
      bar.style.width = `${Math.round((100 * Math.max(d.kl, 0)) / Math.max(top, 1e-9))}%`;
      kl.append(h("span", { class: "klbar" }, bar), `${written(d.kl, 2)} nats`);
    }
    const element = h("div", { class: "slider" }, h("div", { class: "head" }, h("label", { for: id }, d.label), kl, output), changes, input);
    const slider: Slider = { dimension: d, element, input, output, changes, low, high, made: "" };
    input.addEventListener("input", () => store.go(moved(d, Number(input.value)), levelsOf(d.latent)));
    const pick = (e: PointerEvent): void => {
      const box = changes.getBoundingClientRect();
      const t = Math.min(1, Math.max(0, (e.clientX - box.left) / box.width));
      store.go(moved(d, low + t * (high - low)), levelsOf(d.latent));
    };
    if (!scene.table) {
      changes.addEventListener("pointerdown", (e) => {
        if (e.pointerType === "mouse") changes.setPointerCapture(e.pointerId);
        pick(e);
      });
      changes.addEventListener("pointermove", (e) => changes.hasPointerCapture(e.pointerId) && pick(e));
    }
    all.push(slider);
    return slider;
  };

  const values = (s: Slider): number[] =>
    scene.table
      ? [s.dimension.mean - 2 * Math.max(s.dimension.sd, 0.5), s.dimension.mean + 2 * Math.max(s.dimension.sd, 0.5)]
      : Array.from({ length: FRAMES }, (_, i) => s.low + ((s.high - s.low) * (i + 0.5)) / FRAMES);

  const paint = (s: Slider, rows: Shown[]): void => {
    if (!scene.table) {
      replace(s.changes, strip(scene, rows.map((r) => r.x), `${s.dimension.label} from ${s.low} to ${s.high}`));
      return;
    }
    const top = changing(scene, rows, 0.1).slice(0, 3);
    replace(
      s.changes,
      top.length === 0 ? h("span", { class: "muted" }, "changes little here") : top.map((j) => {
        const column = scene.columns[j]!;
        const [a, b] = rows.map((r) => cellText(column, r.x[j]!));
        return h("span", { class: "change" }, h("span", { class: "muted" }, column.name), " ", a === b ? `${a}, more or less surely` : `${a} → ${b}`);
      }),
    );
  };

  const restrip = (): void => {
    if (store.view.panel !== "sliders") return;
    const { place } = store.view;
    const stale = [...visible].filter((s) => {
      const rest = `${place.y};${Array.from(place.z, (v, i) => (i === s.dimension.index ? "" : v.toFixed(3))).join()}`;
      if (s.made === rest) return false;
      s.element.dataset.next = rest;
      return true;
    });
    if (stale.length === 0) return;
    const groups = new Map<number | null, Slider[]>();
    for (const s of stale) {
      const levels = levelsOf(s.dimension.latent);
      groups.set(levels, [...(groups.get(levels) ?? []), s]);
    }
    const work = async (): Promise<Shown[]> => {
      for (const [levels, group] of groups) {
        const places = group.flatMap((s) => values(s).map((v) => moved(s.dimension, v)));
        const found = await app.decodeAll(places, levels);
        const each = values(group[0]!).length;
        group.forEach((s, i) => {
          s.made = s.element.dataset.next ?? "";
          paint(s, found.slice(i * each, (i + 1) * each));
        });
      }
      return [];
    };
    latest(work(), () => undefined);
  };
  const restripSoon = settled(restrip, 140);

  const observer = new IntersectionObserver((entries) => {
    for (const e of entries) {
      const s = all.find((each) => each.element === e.target)!;
      if (e.isIntersecting) visible.add(s);
      else visible.delete(s);
    }
    restripSoon();
  }, { rootMargin: "200px" });

  const order = telling(scene);
  const usable = order.map((i) => scene.dimensions[i]!).filter((d) => !d.latent.discrete && (d.latent.decoded || app.model.stop !== null));
  const top = Math.max(...usable.map((d) => d.kl ?? 0), 1e-9);
  const untold = [...new Set(usable.filter((d) => d.kl === null).map((d) => d.latent.name))];
  const active = usable.filter((d) => d.active);
  const idle = usable.filter((d) => !d.active);
  const list = h("div", { class: "sliders" });
  const place = (ds: Dimension[]): HTMLElement[] =>
    ds.map((d) => {
      const s = make(d, top);
      observer.observe(s.element);
      return s.element;
    });
  list.append(...place(active.slice(0, FIRST)));
  const rest = active.slice(FIRST);
  if (rest.length > 0) {
    const more = h("button", { type: "button", class: "quiet more", onclick: () => {
      more.replaceWith(...place(rest.splice(0, 40)));
      if (rest.length) list.insertBefore(more, fold);
      sync();
    } }, `Show the ${rest.length === 1 ? "other one" : `${Math.min(rest.length, 40)} more`}`);
    list.append(more);
  }
  const fold = h("details", { class: "fold" }, h("summary", {}, `${idle.length} inactive dimension${idle.length === 1 ? "" : "s"}`));
  fold.append(h("p", { class: "muted" }, "The codes of the data hardly differ along these: the model has no use for them."));
  const inside = h("div", { class: "sliders" });
  fold.append(inside);
  fold.addEventListener("toggle", () => {
    if (fold.open && !inside.childElementCount) {
      inside.append(...place(idle.slice(0, 40)));
      sync();
    }
  });
  if (idle.length > 0) list.append(fold);
  fold.open = active.length === 0;

  const discrete = scene.file.latents.filter((l) => l.discrete);
  const choices = discrete.filter((l) => l.groups !== null).map((l) => oneHots(app, l));
  const tokens = discrete.filter((l) => l.groups === null);

  const sync = (): void => {
    const { z } = store.view.place;
    for (const s of all) {
      const v = z[s.dimension.index]!;
      s.input.value = String(v);
      s.output.textContent = written(v, 2);
      s.element.style.setProperty("--at", String(Math.min(1, Math.max(0, (v - s.low) / (s.high - s.low)))));
    }
  };
  store.on(["place", "levels", "panel"], () => {
    sync();
    restripSoon();
  });
  sync();

  const home = h("button", { type: "button", class: "quiet", onclick: () => store.go({ z: Float32Array.from(scene.dimensions, (d) => (d.latent.discrete ? store.view.place.z[d.index]! : d.mean)), y: store.view.place.y, datum: null }) }, "All to the mean");
  return h(
    "div", { class: "panel" },
    h("div", { class: "lead" },
      h("p", { class: "muted" }, scene.table
        ? "Each slider is a dimension of the latent space, those first that tell most of a row. Above it: what changes from its low to its high end."
        : "Each slider is a dimension of the latent space, those first that tell most of a datum. The strip shows a walk along it, all others held."),
      usable.length ? home : null),
    untold.length ? h("p", { class: "muted" }, `${several(untold)} no nats beside ${untold.length === 1 ? "its sliders: its KL is" : "their sliders: their KL is"} known only as a whole, not as a sum over dimensions, so that these are in the order of how far codes spread.`) : null,
    choices.map((c) => c),
    tokens.length ? h("p", { class: "muted" }, `${tokens.map((l) => l.name).join(", ")}: tokens of a codebook, between which nothing lies; go from datum to datum on the map instead.`) : null,
    list,
  );
}

/** Names that have something, some of them where they are many. */
function several(names: string[]): string {
  const shown = names.length > 4 ? [...names.slice(0, 3), `${names.length - 3} more`] : names;
  const last = shown[shown.length - 1]!;
  return shown.length === 1 ? `${last} has` : `${shown.slice(0, -1).join(", ")} and ${last} have`;
}

/** One-hots side by side, each a choice of its categories. */
function oneHots(app: App, latent: Latent): HTMLElement {
  const { scene, store } = app;
  const groups = latent.groups!;
  const levels = latent.size / groups;
  const start = scene.dimensions.find((d) => d.latent === latent)!.index;
  const element = h("div", { class: "onehots" });
  const latest = newest<void>();
  const with_ = (g: number, k: number): Place => {
    const z = Float32Array.from(store.view.place.z);
    for (let i = 0; i < levels; i++) z[start + g * levels + i] = +(i === k);
    return { z, y: store.view.place.y, datum: null };
  };
  const most = Math.min(groups, 12);
  const paint = async (): Promise<void> => {
    const rows: HTMLElement[] = [];
    const { z } = store.view.place;
    const shown = scene.table ? null : await app.decodeAll(Array.from({ length: most * levels }, (_, i) => with_(Math.floor(i / levels), i % levels)));
    for (let g = 0; g < most; g++) {
      const now = Array.from({ length: levels }, (_, k) => z[start + g * levels + k]!).reduce((best, v, k, all) => (v > all[best]! ? k : best), 0);
      const go = (k: number): void => store.go(with_(g, k));
      const buttons = Array.from({ length: levels }, (_, k) => {
        const button = h("button", { type: "button", class: "frame", "aria-pressed": String(k === now), "aria-label": `${latent.name} ${g + 1} is category ${k}`, onclick: () => go(k) });
        if (shown) button.append(strip(scene, [shown[g * levels + k]!.x], `category ${k}`));
        button.append(h("span", { class: "caption" }, String(k)));
        return button;
      });
      rows.push(h("div", { class: "slider" }, h("div", { class: "head" }, h("span", {}, groups === 1 ? latent.name : `${latent.name}.${g + 1}`)), h("div", { class: "frames" }, buttons)));
    }
    replace(element, rows);
  };
  const soon = settled(() => {
    if (store.view.panel === "sliders") latest(paint(), () => undefined);
  }, 160);
  store.on(["place", "panel"], soon);
  soon();
  return element;
}
