/** The page: reads the scene, and puts its parts together. */

import { App } from "./app";
import { choice, h, say, settled } from "./dom";
import { journeys, placeAt } from "./journeys";
import { live } from "./live";
import { MapView } from "./map";
import { Local, Remote, type Model } from "./model";
import { own } from "./own";
import { telling } from "./plane";
import { Scene, type SceneFile } from "./scene";
import { sliders } from "./sliders";
import { stage } from "./stage";
import { themeSwitch } from "./theme";
import { hashOf, pairOf, placeOf, Store, viewFrom, type Panel, type View } from "./view";

/** What the page shows; null where it is a training that goes on, which it then shows. */
async function load(main: HTMLElement): Promise<{ scene: Scene; model: Model } | null> {
  const inlined = document.getElementById("scene");
  if (inlined) {
    const scene = new Scene(JSON.parse(inlined.textContent ?? "") as SceneFile);
    return { scene, model: new Local(scene) };
  }
  const secret = new URLSearchParams(location.search).get("token") ?? "";
  const ask = async (what: string): Promise<any> => {
    const answer = await fetch(`api/${what}`, { headers: { "X-Token": secret } });
    const got = await answer.json();
    if (!answer.ok) throw new Error(got.error ?? `The server answered ${answer.status}.`);
    return got;
  };
  const got = await ask("scene");
  if (got.stage) {
    live(main, got, ask);
    return null;
  }
  const scene = new Scene(got as SceneFile);
  return { scene, model: new Remote(scene, secret) };
}

/** Three data to begin with, of different classes where there are classes. */
function beginnings(scene: Scene): number[] {
  const found = [0];
  for (let i = 1; i < scene.n && found.length < 3; i++) if (!found.some((j) => scene.classOf(j) === scene.classOf(i)) || scene.classOf(0) < 0) found.push(i);
  while (found.length < 3) found.push(Math.min(found.length, scene.n - 1));
  return found;
}

function firstView(scene: Scene): View {
  const [a, b, c] = beginnings(scene) as [number, number, number];
  const { projections, colours } = scene.file.points;
  const [i, j] = telling(scene).filter((k) => !scene.dimensions[k]!.latent.discrete);
  const pair = i !== undefined && scene.latentSize > 1 ? `z:${[i, j ?? i].sort((p, q) => p - q).join()}` : "z:0,0";
  return {
    place: placeOf(scene, a), levels: null,
    slots: { a: placeOf(scene, a), b: placeOf(scene, b), c: placeOf(scene, c) },
    armed: null, projection: projections.find((p) => p.name !== "PCA")?.name ?? projections[0]?.name ?? pair, colour: colours[0]?.name ?? "",
    panel: "sliders", journey: "line", spherical: false, t: 0, plane: false, cloud: [],
  };
}

function mapTools(app: App, map: MapView): HTMLElement {
  const { scene, store } = app;
  const { projections, colours } = scene.file.points;
  const usable = telling(scene);
  const two = "two dimensions";
  const options = projections.map((p) => ({ value: p.name, text: p.name }));
  if (usable.length > 1) options.push({ value: two, text: "two dimensions of z" });
  const pair = (): [number, number] => pairOf(scene, store.view.projection) ?? [usable[0]!, usable[1] ?? usable[0]!];
  const place = choice("Lay out by", options, "", (v) => store.set({ projection: v === two ? `z:${pair().join()}` : v }));
  const dims = usable.slice(0, 300).map((i) => ({ value: String(i), text: scene.dimensions[i]!.label }));
  const across = choice("across", dims, "", (v) => store.set({ projection: `z:${v},${pair()[1]}` }));
  const up = choice("up", dims, "", (v) => store.set({ projection: `z:${pair()[0]},${v}` }));
  const tint = choice("Colour by", colours.map((c) => ({ value: c.name, text: c.name })), store.view.colour, (v) => store.set({ colour: v }));
  const plane = h("button", { type: "button", title: "Show what the places of the map decode to", onclick: () => store.set({ plane: !store.view.plane }) }, "Decoded ground");
  const sync = (): void => {
    const chosen = pairOf(scene, store.view.projection);
    place.select.value = chosen ? two : store.view.projection;
    across.element.hidden = up.element.hidden = !chosen || scene.latentSize <= 2;
    place.element.hidden = options.length < 2;
    if (chosen) [across.select.value, up.select.value] = chosen.map(String) as [string, string];
    tint.select.value = store.view.colour;
    plane.setAttribute("aria-pressed", String(store.view.plane));
  };
  store.on(["projection", "colour", "plane"], sync);
  sync();
  const tool = (name: string, label: string, f: () => void): HTMLElement => h("button", { type: "button", class: "quiet square", "aria-label": label, title: label, onclick: f }, name);
  map.element.append(
    h("div", { class: "zooms", role: "group", "aria-label": "The map's view" },
      tool("+", "Zoom in", () => map.zoomBy(1.5)), tool("−", "Zoom out", () => map.zoomBy(1 / 1.5)), tool("⤢", "Show all", () => map.fitAll()), tool("↓", "Save the map as PNG", () => map.savePicture())),
  );
  return h(
    "div", { class: "tools" },
    place.element, across.element, up.element, colours.length ? tint.element : null, scene.images ? plane : null,
  );
}

function panels(app: App, describe: (i: number) => string[]): HTMLElement {
  const { store } = app;
  const made: [Panel, string, HTMLElement][] = [
    ["sliders", "Sliders", sliders(app)],
    ["journeys", "Journeys", journeys(app, describe)],
    ["own", "Your own", own(app)],
  ];
  const tabs = made.map(([id, text, content]) => {
    content.id = `panel-${id}`;
    content.setAttribute("role", "tabpanel");
    content.setAttribute("aria-labelledby", `tab-${id}`);
    return h("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`, onclick: () => store.set({ panel: id, armed: null }) }, text);
  });
  const sync = (): void =>
    made.forEach(([id, , content], i) => {
      const on = store.view.panel === id;
      content.hidden = !on;
      tabs[i]!.setAttribute("aria-selected", String(on));
      tabs[i]!.tabIndex = on ? 0 : -1;
    });
  store.on(["panel"], sync);
  sync();
  const list = h("div", { role: "tablist", class: "tabs", "aria-label": "What to do", onkeydown: (e: KeyboardEvent) => {
    const at = tabs.indexOf(document.activeElement as HTMLButtonElement);
    const next = e.key === "ArrowRight" ? (at + 1) % tabs.length : e.key === "ArrowLeft" ? (at + tabs.length - 1) % tabs.length : e.key === "Home" ? 0 : e.key === "End" ? tabs.length - 1 : -1;
    if (at < 0 || next < 0) return;
    e.preventDefault();
    store.set({ panel: made[next]![0], armed: null });
    tabs[next]!.focus();
  } }, tabs);
  return h("div", { class: "work" }, list, made.map(([, , content]) => content));
}

async function start(): Promise<void> {
  const main = document.getElementById("explorer")!;
  let loaded: { scene: Scene; model: Model } | null;
  try {
    loaded = await load(main);
  } catch (error) {
    main.append(h("h1", {}, "Nothing to explore"), h("p", {}, error instanceof Error ? error.message : String(error)));
    return;
  }
  if (!loaded) return;
  const { scene, model } = loaded;
  document.title = scene.file.title;
  const view = firstView(scene);
  const store = new Store({ ...view, ...viewFrom(scene, location.hash, view) }, (z) => scene.onSpace(z));
  const app = new App(scene, model, store);
  const map = new MapView(scene, store, async (z) => (await app.decodeAll(z.map((each) => ({ z: each, y: store.view.place.y, datum: null })))).map((s) => s.x));
  const describe = (i: number): string[] => map.describe(i);
  const theme = themeSwitch(() => {
    map.retint();
    // Strips and bars take their colours when they are painted.
    store.set({ place: { ...store.view.place } });
  });
  const [first, ...about] = scene.file.about;
  const stop = model.stop && h("button", { type: "button", class: "quiet", onclick: () => void model.stop!().catch(() => undefined).then(() => {
    document.body.classList.add("ended");
    say("The server has ended");
    stop!.replaceWith(h("span", { class: "muted" }, "The server has ended."));
  }) }, "End the server");
  main.append(
    h("header", {},
      h("div", { class: "heading" }, h("h1", {}, scene.file.title), theme),
      first === undefined ? null : h("details", { class: "about" }, h("summary", {}, first), about.map((line) => h("p", { class: "muted" }, line)))),
    h("div", { class: "layout" },
      h("div", { class: "left" },
        h("section", { class: "mapside", "aria-label": "Map of the data" }, mapTools(app, map), map.element, map.legendElement),
        stage(app, describe)),
      panels(app, describe)),
    h("footer", {}, h("span", {}, "Made by vaekit."), stop),
  );
  // The address follows the view, and the view an address that is put in.
  let written = "";
  const write = settled(() => {
    written = `#${hashOf(scene, store.view)}`;
    try {
      history.replaceState(null, "", written);
    } catch {
      // Some browsers limit how often an address may change.
    }
  }, 250);
  store.on(["place", "slots", "projection", "colour", "panel", "journey", "spherical", "t", "plane"], write);
  window.addEventListener("hashchange", () => {
    if (location.hash !== written) store.set(viewFrom(scene, location.hash, store.view));
  });
  // A link to a journey may leave out where on it one is.
  const linked = new URLSearchParams(location.hash.slice(1));
  if (!linked.has("at") && store.view.panel === "journeys" && ["line", "sum"].includes(store.view.journey)) store.view.place = placeAt(store.view, store.view.t);
  store.set(store.view);
  // What a program that measures the page asks of it.
  Object.assign(window, { explorer: { frame: (dx: number) => map.frame(dx), view: () => store.view, scene } });
}

void start();
