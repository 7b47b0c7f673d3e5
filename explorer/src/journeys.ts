/** Journeys: from one datum to another, sums of codes, classes, components, levels, and draws. */

import { newest, shownOf, type App, type Shown } from "./app";
import { choice, h, replace, segments, settled, still } from "./dom";
import { film, type Frame } from "./film";
import { analogy, largest, mixed, spherical, written } from "./maths";
import type { Decoded } from "./model";
import { picture } from "./pictures";
import type { Condition } from "./scene";
import type { Journey, Place, Slot, View } from "./view";

const STEPS = 9;
const DRAWS = 24;

/** The place at `t` of a journey with a scrubber. */
export function placeAt(view: View, t: number): Place {
  const { a, b, c } = view.slots;
  if (view.journey === "sum") return { z: analogy(a.z, b.z, c.z, t), y: c.y, datum: null };
  const z = (view.spherical ? spherical : mixed)(a.z, b.z, t);
  return { z, y: t < 0.5 ? a.y : b.y, datum: t === 0 ? a.datum : t === 1 ? b.datum : null };
}

function available(app: App): { value: Journey; text: string }[] {
  const { scene, model } = app;
  const all: [Journey, string, boolean][] = [
    ["line", "From A to B", true],
    ["sum", "A − B + C", true],
    ["classes", "Classes", scene.file.data.conditional && scene.file.data.classes !== null],
    ["components", "Components", (scene.file.components?.mean.length ?? 0) > 0],
    ["levels", "Levels", model.can("levels") && scene.file.latents.length > 1],
    ["draws", "Posterior", model.can("draw")],
    ["prior", "Prior", app.priorDraws],
  ];
  return all.filter(([, , can]) => can).map(([value, text]) => ({ value, text }));
}

export function journeys(app: App, describe: (i: number) => string[]): HTMLElement {
  const { scene, store, model } = app;
  const options = available(app);
  const tabs = segments("Journey", options, store.view.journey, (v) => {
    stop();
    store.set({ journey: v as Journey, armed: null, cloud: [], t: v === "sum" ? 1 : 0 });
  });
  const kinds = choice("Way", [{ value: "line", text: "straight" }, { value: "sphere", text: "spherical" }], store.view.spherical ? "sphere" : "line", (v) => {
    store.set({ spherical: v === "sphere" });
    move(store.view.t);
  });
  const told = h("p", { class: "muted" });
  const chips = h("div", { class: "chips" });
  const result = h("div", { class: "result" });
  const scrubber = h("input", { type: "range", min: 0, max: 1, step: 0.005, id: "scrubber", "aria-label": "How far along", oninput: () => {
    stop();
    move(Number(scrubber.value));
  } });
  const at = h("output", { for: "scrubber" });
  const play = h("button", { type: "button", class: "play", "aria-label": "Play", onclick: () => (playing ? stop() : start()) }, "Play");
  const track = h("div", { class: "track" }, play, scrubber, at);
  const again = h("button", { type: "button", onclick: () => {
    seed += 1;
    repaint();
  } }, "Draw again");
  const latest = newest<HTMLElement>();
  let seed = 0;
  let playing = 0;

  const move = (t: number): void => {
    store.set({ t });
    store.go(placeAt(store.view, t));
  };

  const stop = (): void => {
    cancelAnimationFrame(playing);
    clearTimeout(playing);
    playing = 0;
    play.textContent = "Play";
    play.setAttribute("aria-label", "Play");
  };

  /** There and back, four seconds each way; in steps for those who want no motion. */
  const start = (): void => {
    play.textContent = "Pause";
    play.setAttribute("aria-label", "Pause");
    const end = Number(scrubber.max);
    if (still()) {
      const step = (): void => {
        const next = store.view.t + end / 8 > end + 1e-6 ? 0 : store.view.t + end / 8;
        move(Math.min(end, next));
        playing = window.setTimeout(step, 700);
      };
      step();
      return;
    }
    let phase = (store.view.t / end) * 4000;
    let before = performance.now();
    const step = (now: number): void => {
      phase = (phase + now - before) % 8000;
      before = now;
      const way = phase < 4000 ? phase / 4000 : 2 - phase / 4000;
      // Slow at both ends, where one looks at the data themselves.
      move(end * (0.5 - 0.5 * Math.cos(Math.PI * way)));
      playing = requestAnimationFrame(step);
    };
    playing = requestAnimationFrame(step);
  };

  const slotsOf = (journey: Journey): Slot[] => (journey === "line" ? ["a", "b"] : journey === "sum" ? ["a", "b", "c"] : journey === "draws" ? ["a"] : []);

  /** A, B and C: a press lets the map choose what it is. */
  const paintChips = newest<HTMLElement[]>();
  const chip = async (): Promise<HTMLElement[]> => {
    const { view } = store;
    const slots = slotsOf(view.journey);
    const made = slots.filter((s) => view.slots[s].datum === null);
    const decoded = made.length ? await app.decodeAll(made.map((s) => view.slots[s])) : [];
    return slots.map((s) => {
      const place = view.slots[s];
      const x = place.datum === null ? decoded[made.indexOf(s)]!.x : scene.datum(place.datum);
      const [name, of] = place.datum === null ? ["no datum", "a place that was kept"] : (describe(place.datum) as [string, string?]);
      return h(
        "button",
        {
          type: "button", class: "chip", "aria-pressed": String(view.armed === s), "aria-label": `${s.toUpperCase()}: ${name}, ${of ?? ""}. Press, then choose on the map.`,
          onclick: () => store.set({ armed: view.armed === s ? null : s }),
        },
        h("span", { class: "letter" }, s.toUpperCase()),
        scene.table ? null : picture(scene, x, name),
        h("span", { class: "of" }, h("span", {}, name), h("span", { class: "muted" }, view.armed === s ? "choose on the map" : (of ?? "change"))),
      );
    });
  };

  const frames = async (count: number, end: number): Promise<HTMLElement> => {
    const { view } = store;
    const ts = Array.from({ length: count }, (_, i) => (end * i) / (count - 1));
    const places = ts.map((t) => placeAt(view, t));
    const shown = await app.decodeAll(places);
    return film(app, shown.map((s, i) => ({ shown: s, name: written(ts[i]!, 2), go: () => {
      stop();
      move(ts[i]!);
    } })), view.journey === "line" ? "From A to B" : "A − B + C");
  };

  const grid = async (places: Place[], names: string[], title: string, now: (i: number) => boolean): Promise<HTMLElement> => {
    const shown = await app.decodeAll(places);
    return film(app, shown.map((s, i): Frame => ({ shown: s, name: names[i]!, selected: now(i), go: () => store.go(places[i]!) })), title, "large");
  };

  /** What draws decode to; of a table with the probabilities of categories, which draws don't come with. */
  const decoded = async (got: { z: Float32Array[]; x: Decoded }, y: Condition): Promise<Shown[]> =>
    scene.table ? app.decodeAll(got.z.map((z) => ({ z, y, datum: null }))) : got.z.map((_, i) => shownOf(got.x, i));

  const draws = async (): Promise<HTMLElement> => {
    const { a } = store.view.slots;
    const x = a.datum === null ? (await app.decodeAll([a]))[0]!.x : scene.datum(a.datum);
    const condition = a.y === null ? {} : { y: a.y };
    const got = await model.draw({ x, n: DRAWS, seed, ...condition });
    store.set({ cloud: got.z });
    const shown = await decoded(got, a.y);
    const all = film(app, shown.map((s, i) => ({ shown: s, name: scene.table ? `${i + 1}` : "", go: () => store.go({ z: got.z[i]!, y: a.y, datum: null }) })), "Draws of the posterior", "large");
    if (!scene.images) return all;
    // Mean and standard deviation of each pixel over the draws: where the code leaves the picture open.
    const mean = new Float64Array(scene.size);
    for (const s of shown) for (let j = 0; j < mean.length; j++) mean[j] = mean[j]! + s.x[j]! / shown.length;
    const spread = mean.map((m, j) => Math.sqrt(shown.reduce((sum, s) => sum + (s.x[j]! - m) ** 2, 0) / shown.length));
    const [low, high] = scene.range;
    const top = largest(spread) || 1;
    const summary = h(
      "div", { class: "trio" },
      h("figure", {}, picture(scene, x, "the datum"), h("figcaption", {}, "the datum")),
      h("figure", {}, picture(scene, mean, "mean of the draws"), h("figcaption", {}, "mean of the draws")),
      h("figure", {}, picture(scene, spread.map((v) => low + (v / top) * (high - low)), "their spread"), h("figcaption", {}, "where they differ")),
    );
    return h("div", {}, summary, all);
  };

  const prior = async (): Promise<HTMLElement> => {
    const { y } = store.view.place;
    const got = await model.draw({ n: DRAWS, seed, ...(y === null ? {} : { y }) });
    store.set({ cloud: got.z });
    const shown = await decoded(got, y);
    return film(app, got.z.map((z, i) => ({ shown: shown[i]!, name: scene.table ? `${i + 1}` : "", go: () => store.go({ z, y, datum: null }) })), "Draws of the prior", "large");
  };

  const levels = async (): Promise<HTMLElement> => {
    const { z, y } = store.view.place;
    const order = [...scene.file.latents].sort((p, q) => p.step - q.step);
    const most = order.length <= 6 ? order.map((_, k) => k) : [0, 1, 2, 3, 4, 5].map((i) => Math.round((i * (order.length - 1)) / 5));
    const blocks: HTMLElement[] = [];
    for (const k of most) {
      const got = await model.draw({ z, levels: k, n: 8, seed, ...(y === null ? {} : { y }) });
      const kept = k === 0 ? "Nothing kept: draws of the prior" : `Kept: ${order.slice(0, k).map((l) => l.name).join(", ")}`;
      const shown = await decoded(got, y);
      const rows = got.z.map((each, i): Frame => ({ shown: shown[i]!, name: scene.table ? `${i + 1}` : "", go: () => store.go({ z: each, y, datum: null }) }));
      blocks.push(h("h3", {}, kept), film(app, rows, kept, "large"));
    }
    return h("div", {}, blocks);
  };

  const texts: Record<Journey, string> = {
    line: "The codes between two data, each decoded. Move the slider or press Play.",
    sum: "The difference between A and B, added to C: what makes A of B is done to C.",
    classes: "The same code decoded as each class: what the model keeps apart from it.",
    components: "The middle of each component of the prior, and its weight.",
    levels: "The first levels of the hierarchy are kept as they are at this place, the others drawn anew: what each level decides.",
    draws: "One datum, and what its posterior thinks it may have been: codes drawn from q(z | x), each decoded. Crosses on the map.",
    prior: "Codes drawn from the prior, each decoded: what the model takes data to be.",
  };

  const content = (): Promise<HTMLElement> => {
    const { view } = store;
    const { place } = view;
    switch (view.journey) {
      case "line":
        return frames(STEPS, 1);
      case "sum":
        return frames(7, 1.5);
      case "classes": {
        const names = scene.file.data.classes!;
        return grid(names.map((_, y) => ({ z: place.z, y, datum: null })), names, "Classes", (i) => i === place.y);
      }
      case "components": {
        const { mean, weight } = scene.file.components!;
        return grid(mean.map((z) => ({ z: Float32Array.from(z), y: place.y, datum: null })), weight.map((w, k) => `${k} · ${written(100 * w, 1)} %`), "Components", () => false);
      }
      case "levels":
        return levels();
      case "draws":
        return draws();
      case "prior":
        return prior();
    }
  };

  const repaint = settled(() => {
    if (store.view.panel !== "journeys") return;
    latest(content(), (element) => replace(result, element));
  }, 60);

  const controls = (): void => {
    const { view } = store;
    if (!options.some((o) => o.value === view.journey)) return store.set({ journey: options[0]!.value });
    tabs.set(view.journey);
    const scrubbed = view.journey === "line" || view.journey === "sum";
    track.hidden = !scrubbed;
    kinds.element.hidden = view.journey !== "line";
    kinds.select.value = view.spherical ? "sphere" : "line";
    again.hidden = !["draws", "prior", "levels"].includes(view.journey);
    told.textContent = texts[view.journey];
    scrubber.max = view.journey === "sum" ? "1.5" : "1";
    paintChips(chip(), (chips_) => replace(chips, chips_));
  };
  const scrub = (): void => {
    scrubber.value = String(store.view.t);
    scrubber.style.setProperty("--at", String(store.view.t / Number(scrubber.max)));
    at.textContent = written(store.view.t, 2);
  };
  store.on(["slots", "journey", "armed", "panel"], controls);
  store.on(["t", "journey"], scrub);
  store.on(["slots", "journey", "spherical", "panel"], repaint);
  store.on(["panel"], () => store.view.panel !== "journeys" && (stop(), store.view.cloud.length && store.set({ cloud: [] })));
  store.on(["place"], () => (store.view.journey === "classes" || store.view.journey === "levels") && repaint());
  // A datum chosen on the map fills the waiting slot: then the journey is that to the new one.
  store.on(["slots"], () => {
    const { armed, journey } = store.view;
    if (armed === null) return;
    const slots = slotsOf(journey);
    const next = slots[slots.indexOf(armed) + 1] ?? null;
    store.set({ armed: next });
  });
  controls();
  scrub();
  return h("div", { class: "panel" }, tabs.element, h("div", { class: "lead" }, told, kinds.element, again), chips, track, result);
}
