/** A training while it goes on: its curves, where codes lie, reconstructions and samples, as its epochs end. */

import { numbersOf, type Arr } from "./arrays";
import { Chart, type Curve } from "./chart";
import { choice, h, replace, say, segments } from "./dom";
import { MapView } from "./map";
import { picture, saveAll } from "./pictures";
import { rowsElement, saveRows } from "./rows";
import { Scene, type SceneFile } from "./scene";
import { themeSwitch } from "./theme";
import { Store, type View } from "./view";

interface Epoch {
  epoch: number;
  split: string;
  terms: Record<string, number | null>;
  seconds: number;
}

interface Told {
  stage: "begins" | "training" | "scoring" | "ready";
  title: string;
  about: string[];
  epochs: number;
  progress: { epoch: number; step: number; steps: number; terms: Record<string, number | null> } | null;
  records: Epoch[];
  count: number;
  version: number;
}

interface Look {
  epoch: number;
  xy: Arr;
  data: Arr;
  reconstructions: Arr;
  samples: Arr;
}

type Ask = (what: string) => Promise<any>;

/** Milliseconds between questions. */
const EVERY = 1000;
const NAMES: Record<string, string> = { loss: "Loss", elbo: "ELBO", reconstruction: "Reconstruction", kl: "KL" };
const SPLITS: Record<string, string> = { train: "training", valid: "validation", test: "test" };

function rowsOf(array: Arr): Float64Array[] {
  const [n, size] = array.shape as [number, number];
  const all = numbersOf(array);
  return Array.from({ length: n }, (_, i) => Float64Array.from({ length: size }, (_, j) => all[i * size + j]!));
}

const minutes = (seconds: number): string => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);

/** Codes in the plane, which move as they are learned. */
class Codes {
  readonly element = h("section", { class: "mapside", "aria-label": "Map of the codes" }, h("p", { class: "muted" }, "Codes of the data are shown after the next epoch."));
  private map: MapView | null = null;
  private scene: Scene | null = null;
  private store: Store | null = null;

  constructor(private readonly ask: Ask) {}

  async show(look: Look): Promise<Scene> {
    if (!this.scene) {
      const file = (await this.ask("training/points")) as SceneFile;
      this.scene = new Scene(file);
      const none = { z: new Float32Array(0), y: null, datum: null };
      const first = file.points.projections[0]!;
      first.xy = look.xy;
      const view: View = {
        place: none, levels: null, slots: { a: none, b: none, c: none }, armed: null, projection: first.name, colour: file.points.colours[0]?.name ?? "",
        panel: "sliders", journey: "line", spherical: false, t: 0, plane: false, cloud: [],
      };
      this.store = new Store(view);
      this.map = new MapView(this.scene, this.store, null);
      const colours = file.points.colours.map((c) => ({ value: c.name, text: c.name }));
      const tint = choice("Colour by", colours, view.colour, (colour) => this.store!.set({ colour }));
      replace(this.element, h("div", { class: "tools" }, h("h2", {}, `Codes, ${first.name === "PCA" ? "their principal components" : "as they are"}`), colours.length > 1 ? tint.element : null), this.map.element, this.map.legendElement, h("button", { type: "button", class: "quiet", onclick: () => this.map!.savePicture() }, "Save PNG"));
    }
    this.scene.file.points.projections[0]!.xy = look.xy;
    this.store!.set({ projection: this.store!.view.projection });
    return this.scene;
  }

  retint(): void {
    this.map?.retint();
  }
}

function pictures(scene: Scene, title: string, rows: Float64Array[], names: string[]): HTMLElement {
  const six = rows.slice(0, 6);
  const saved = (): void => saveRows(scene, six.map((x) => ({ x, probabilities: new Map() })), names, title);
  if (scene.table) return h("section", {}, h("h2", {}, title), rowsElement(scene, six, names), h("button", { type: "button", class: "quiet", onclick: saved }, "Save PNG"));
  const items = rows.map((x, i) => ({ canvas: picture(scene, x, names[i] ?? title), name: "" }));
  const frames = h("div", { class: "frames" }, items.map(({ canvas }) => h("span", { class: "frame" }, canvas)));
  return h("section", { class: "film" }, h("h2", {}, title), frames, h("button", { type: "button", class: "quiet", onclick: () => saveAll(items, 8, title) }, "Save PNG"));
}

export function live(main: HTMLElement, first: Told, ask: Ask): void {
  document.title = first.title;
  const records: Epoch[] = [];
  let term = "loss";
  let version = 0;
  let last: { scene: Scene; look: Look } | null = null;
  const chart = new Chart(NAMES[term]!);
  const codes = new Codes(ask);
  const state = h("p", { class: "state" });
  const bar = h("progress", { max: "1", "aria-label": "How much of the training is done" });
  const about = h("p", { class: "muted" });
  const terms = h("div", { class: "terms" });
  const made = h("div", { class: "made" });
  const theme = themeSwitch(() => {
    codes.retint();
    draw();
  });
  const saved = h("button", { type: "button", class: "quiet", onclick: () => chart.savePicture(`${document.title} ${term}`) }, "Save PNG");
  main.append(
    h("header", {}, h("div", { class: "heading" }, h("h1", {}, first.title), theme), about, state, bar),
    h("div", { class: "layout live" }, h("section", { "aria-label": "Curves" }, terms, chart.element, saved), codes.element, made),
    h("footer", {}, h("span", {}, "Made by vaekit.")),
  );

  const draw = (): void => {
    const known = Object.keys(NAMES).filter((name) => records.some((r) => typeof r.terms[name] === "number"));
    if (terms.childElementCount === 0 && known.length > 1)
      terms.append(segments("Curve of", known.map((name) => ({ value: name, text: NAMES[name]! })), term, (name) => {
        term = name;
        draw();
      }).element);
    const splits = [...new Set(records.map((r) => r.split))];
    const curves: Curve[] = splits.map((split) => {
      const own = records.filter((r) => r.split === split && typeof r.terms[term] === "number");
      return { name: SPLITS[split] ?? split, x: own.map((r) => r.epoch), y: own.map((r) => r.terms[term]!) };
    });
    chart.name = NAMES[term]!;
    chart.show(curves);
    if (last) {
      const { scene, look } = last;
      const [data, again, samples] = [look.data, look.reconstructions, look.samples].map(rowsOf) as [Float64Array[], Float64Array[], Float64Array[]];
      const pairs = scene.table ? 3 : 8;
      const shown = data.slice(0, pairs).flatMap((x, i) => (scene.table ? [x, again[i]!] : [x]));
      const names = shown.map((_, i) => (scene.table ? (i % 2 ? "reconstructed" : scene.name(i / 2)) : scene.name(i)));
      made.classList.toggle("of-table", scene.table);
      replace(
        made,
        pictures(scene, "Samples", samples, samples.map((_, i) => `sample ${i + 1}`)),
        scene.table ? pictures(scene, "Data and their reconstructions", shown, names) : pictures(scene, "Data, and below them their reconstructions", [...shown, ...again.slice(0, pairs)], [...names, ...names.map((n) => `${n} reconstructed`)]),
        h("p", { class: "muted" }, `Codes, samples and reconstructions are those after epoch ${look.epoch}.`),
      );
    }
  };

  const tell = (told: Told): void => {
    const done = records.length ? records[records.length - 1]!.epoch : 0;
    const part = told.progress ? told.progress.step / told.progress.steps : 0;
    const recent = [...new Set(records.map((r) => r.epoch))].slice(-5);
    const seconds = records.filter((r) => recent.includes(r.epoch)).reduce((sum, r) => sum + r.seconds, 0) / Math.max(recent.length, 1);
    const left = seconds * Math.max(0, told.epochs - done - part);
    bar.value = told.epochs ? (done + part) / told.epochs : 0;
    about.textContent = told.about.join("; ");
    bar.hidden = told.stage !== "training";
    const line = told.stage === "training"
      ? `epoch ${Math.min(done + 1, told.epochs)} of ${told.epochs}${recent.length ? `, ${minutes(seconds)} each, ${minutes(left)} left` : ""}`
      : told.stage === "scoring" ? "The training has ended. It is scored, and then this page becomes its explorer." : "The training begins.";
    if (state.textContent !== line) state.textContent = line;
  };

  let running = false;
  const turn = async (): Promise<void> => {
    if (running || document.hidden) return;
    running = true;
    try {
      const told = (await ask(`training/now?since=${records.length}`)) as Told;
      // The explorer is there, or another training has begun: of a run on the codes of this one.
      if (told.stage === "ready" || told.count < records.length) {
        location.reload();
        return;
      }
      records.push(...told.records);
      tell(told);
      if (told.version !== version) {
        version = told.version;
        const look = (await ask("training/look")) as Look;
        last = { scene: await codes.show(look), look };
        main.dataset.epoch = String(look.epoch);
        draw();
      } else if (told.records.length) draw();
      if (told.records.length) say(`epoch ${records[records.length - 1]!.epoch}`);
    } catch {
      state.textContent = "The training has ended, or was interrupted: nothing answers any more.";
      document.body.classList.add("ended");
      bar.hidden = true;
      clearInterval(timer);
    } finally {
      running = false;
    }
  };
  const timer = window.setInterval(() => void turn(), EVERY);
  document.addEventListener("visibilitychange", () => void turn());
  void turn();
}
