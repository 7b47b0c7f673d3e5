/** Your own input: drawn, dropped or typed; encoded, reconstructed, and compared with what the model was trained on. */

import { shownOf, type App, type Shown } from "./app";
import { complain, h, replace, say, settled } from "./dom";
import { form, type Form } from "./form";
import { shortest } from "./maths";
import { latest } from "./model";
import { contributions, oddness } from "./oddness";
import { imageFrom, Pad } from "./pad";
import { draw, picture, save } from "./pictures";
import { rowElement, saveRows } from "./rows";
import type { Condition } from "./scene";

interface Answer {
  z: Float32Array;
  shown: Shown;
  elbo: number | null;
  columns: number[] | null;
  imputed: Float64Array | null;
}

async function ask(app: App, x: Float64Array, y: Condition): Promise<Answer> {
  const { model, scene } = app;
  const condition = [y];
  const { mean } = await model.encode([x], condition);
  const z = mean[0]!;
  const holes = x.some(Number.isNaN);
  const [decoded, scored, imputed] = await Promise.all([
    model.decode([z], condition),
    model.can("score") ? model.score([x], condition) : null,
    holes && scene.table && model.can("impute") ? model.impute(x, y) : null,
  ]);
  return { z, shown: shownOf(decoded, 0), elbo: scored?.elbo[0] ?? null, columns: scored?.columns?.[0] ?? null, imputed };
}

/** What is asked of an input, and under which condition. */
interface Asking {
  condition: Condition;
  now(): void;
}

/** Answers to what `current` holds, one at a time; the place goes along, and a class that is pressed there is the input's. */
function answering(app: App, current: () => Float64Array, show: (x: Float64Array, a: Answer) => void): Asking {
  const { store } = app;
  let own: Float32Array | null = null;
  const asking: Asking = {
    condition: store.view.place.y,
    now: latest<void>(async () => {
      try {
        const x = current();
        const answer = await ask(app, x, asking.condition);
        // What has been answered once the reader is elsewhere must not take the place from them.
        if (store.view.panel === "own") {
          store.go({ z: answer.z, y: asking.condition, datum: null });
          own = store.view.place.z;
        }
        show(x, answer);
      } catch (error) {
        complain(error);
      }
    }) as () => void,
  };
  store.on(["place"], () => {
    const { z, y } = store.view.place;
    if (z !== own || y === asking.condition) return;
    asking.condition = y;
    asking.now();
  });
  return asking;
}

const here = (app: App): number => app.store.view.place.datum ?? app.scene.nearest(app.store.view.place.z);
const button = (text: string, onclick: () => void): HTMLElement => h("button", { type: "button", onclick }, text);

function ownRow(app: App): HTMLElement {
  const { scene, store } = app;
  const result = h("div", { class: "answer" });
  const made: Form = form(scene, () => soon());
  const asking = answering(app, () => made.values(), (x, a) => {
    if (made.refused() !== null) return;
    made.fill(a.imputed, a.shown);
    const verdict = a.elbo === null ? scoreless(app) : oddness(scene, a.elbo, x);
    replace(result, verdict, a.columns ? contributions(scene, a.columns, scene.file.reference.columns ?? null, x) : null, h("h3", {}, "As the model sees it"), rowElement(scene, a.shown, x),
      h("button", { type: "button", class: "quiet", onclick: () => saveRows(scene, [{ x, probabilities: new Map() }, a.shown], ["given", "as the model sees it"], `${scene.file.title} row`) }, "Save PNG"));
    tell(verdict);
    result.dataset.ready = "";
  });
  const soon = settled(() => {
    if (store.view.panel !== "own") return;
    const refused = made.refused();
    if (refused === null) return asking.now();
    const verdict = h("div", { class: "oddness" }, h("p", { class: "verdict" }, `The model holds this for impossible: ${refused}`));
    replace(result, verdict);
    tell(verdict);
  }, 120);
  const take = (i: number): void => {
    asking.condition = scene.condition(i);
    made.set(scene.datum(i));
  };
  let first = true;
  store.on(["panel"], () => {
    if (store.view.panel !== "own") return;
    if (first) take(here(app));
    first = false;
  });
  return h(
    "div", { class: "panel" },
    h("div", { class: "lead" }, h("p", { class: "muted" }, "Change cells and see how odd the row becomes. Clear one, and the model says what belongs there.")),
    h("div", { class: "actions" }, button("Take the row on the map", () => take(here(app))), button("Clear all", () => made.set(new Float64Array(scene.size).fill(NaN)))),
    made.element, result,
  );
}

function ownVector(app: App): HTMLElement {
  const { scene, store } = app;
  const verdict = h("div", {});
  const reconstruction = picture(scene, new Float64Array(scene.size), "its reconstruction");
  const given = picture(scene, new Float64Array(scene.size), "the vector");
  const text = h("textarea", { rows: "5", "aria-label": `${scene.size} numbers`, oninput: () => soon() });
  const values = (): Float64Array => {
    const x = Float64Array.from(text.value.split(/[\s,;]+/).filter(Boolean), Number);
    if (x.length !== scene.size || x.some(Number.isNaN)) throw new Error(`${x.length} numbers are given; the model takes ${scene.size}.`);
    return x;
  };
  const asking = answering(app, values, (x, a) => {
    draw(given, scene, x);
    draw(reconstruction, scene, a.shown.x);
    replace(verdict, a.elbo === null ? scoreless(app) : oddness(scene, a.elbo, x));
    tell(verdict);
  });
  const soon = settled(asking.now, 200);
  const take = (): void => {
    asking.condition = scene.condition(here(app));
    text.value = Array.from(scene.datum(here(app)), (v) => shortest(v, scene.double)).join(", ");
    asking.now();
  };
  store.on(["panel"], () => store.view.panel === "own" && !text.value && take());
  return h(
    "div", { class: "panel" },
    h("div", { class: "lead" }, h("p", { class: "muted" }, "Change numbers, or paste others: they are encoded, decoded again, and compared with what the model was trained on.")),
    h("div", { class: "actions" }, button("Take the datum on the map", take)), text,
    h("div", { class: "trio" }, h("figure", {}, given, h("figcaption", {}, "the vector")), h("figure", {}, reconstruction, h("figcaption", {}, "reconstruction"))),
    verdict,
  );
}

function ownImage(app: App): HTMLElement {
  const { scene, store } = app;
  const pad = new Pad(scene, () => asking.now());
  const reconstruction = picture(scene, pad.x, "its reconstruction");
  const difference = picture(scene, pad.x, "the difference", 1);
  const verdict = h("div", { class: "answer" });
  const asking = answering(app, () => pad.x.map((v) => scene.snapped(v)), (x, a) => {
    draw(reconstruction, scene, a.shown.x);
    const [low, high] = scene.range;
    draw(difference, scene, x.map((v, i) => a.shown.x[i]! - v), (high - low) * 0.8);
    replace(verdict, a.elbo === null ? scoreless(app) : oddness(scene, a.elbo, x));
    tell(verdict);
    verdict.dataset.ready = "";
  });
  const take = async (file: Blob | null | undefined): Promise<void> => {
    if (!file) return;
    try {
      pad.set(await imageFrom(scene, file));
    } catch (error) {
      complain(error);
    }
  };
  const takeDatum = (): void => {
    asking.condition = scene.condition(here(app));
    pad.set(scene.datum(here(app)));
  };
  const chooser = h("input", { type: "file", accept: "image/*", class: "unseen", id: "file", tabindex: "-1", "aria-label": "An image file", onchange: () => void take(chooser.files?.[0]) });
  const size = h("input", { type: "range", min: 0.5, max: Math.max(3, scene.imageShape[2] / 8), step: 0.1, value: pad.brush, oninput: () => (pad.brush = Number(size.value)) });
  const eraser = h("button", { type: "button", "aria-pressed": "false", onclick: () => {
    pad.erasing = !pad.erasing;
    eraser.setAttribute("aria-pressed", String(pad.erasing));
  } }, "Eraser");
  const colour = scene.imageShape[0] < 3 ? null : h("input", { type: "color", value: "#ffffff", "aria-label": "Colour of the brush" });
  colour?.addEventListener("input", () => (pad.colour = [1, 3, 5].map((i) => parseInt(colour.value.slice(i, i + 2), 16) / 255) as [number, number, number]));
  const figure = (element: HTMLElement, name: string): HTMLElement => h("figure", {}, element, h("figcaption", {}, name));
  const drop = h("div", { class: "dropzone" }, h("div", { class: "trio" }, figure(pad.element, "draw here"), figure(reconstruction, "reconstruction"), figure(difference, "difference")));
  const element = h(
    "div", { class: "panel" },
    h("div", { class: "lead" }, h("p", { class: "muted" }, "Draw, drop or paste an image: it is encoded, decoded again, and compared with what the model was trained on.")),
    drop,
    h("div", { class: "actions" },
      button("Clear", () => pad.clear()), eraser,
      h("label", { class: "choice" }, h("span", {}, "Brush"), size), colour,
      button("Open an image", () => chooser.click()), chooser,
      button("Take the datum on the map", () => takeDatum()),
      h("button", { type: "button", class: "quiet", onclick: () => save(reconstruction, `${scene.file.title} reconstruction`) }, "Save PNG")),
    verdict,
  );
  const over = (e: DragEvent): void => {
    if (![...(e.dataTransfer?.types ?? [])].includes("Files")) return;
    e.preventDefault();
    drop.classList.toggle("ready", e.type !== "dragleave");
  };
  for (const name of ["dragenter", "dragover", "dragleave"] as const) element.addEventListener(name, over);
  element.addEventListener("drop", (e) => {
    e.preventDefault();
    drop.classList.remove("ready");
    void take([...(e.dataTransfer?.files ?? [])][0]);
  });
  document.addEventListener("paste", (e) => {
    const file = [...(e.clipboardData?.files ?? [])].find((f) => f.type.startsWith("image/"));
    if (!file) return;
    store.set({ panel: "own" });
    void take(file);
  });
  let first = true;
  store.on(["panel"], () => {
    if (store.view.panel !== "own") return;
    // The pad begins with what one looks at, so that there is something to change.
    if (first) takeDatum();
    first = false;
  });
  return element;
}

export function own(app: App): HTMLElement {
  if (!app.model.can("encode")) return h("div", { class: "panel" }, h("p", {}, "This page cannot encode data of yours: open the run with vaekit explore."));
  return app.scene.table ? ownRow(app) : app.scene.images ? ownImage(app) : ownVector(app);
}

function scoreless(app: App): HTMLElement {
  return h("p", { class: "muted" }, app.scene.file.reference.elbo.length === 0 ? "This model has no density, so that nothing tells how strange a datum is." : "How strange it is only the server can tell: open the run with vaekit explore.");
}

function tell(verdict: HTMLElement): void {
  const text = verdict.querySelector(".verdict")?.textContent;
  if (text) say(text);
}
