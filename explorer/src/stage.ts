/** The stage: what the place decodes to. */

import type { App, Shown } from "./app";
import { complain, h, replace, say } from "./dom";
import { picture, draw, save } from "./pictures";
import { rowElement, saveRows } from "./rows";
import { placeOf, type Slot } from "./view";

export function stage(app: App, describe: (i: number) => string[]): HTMLElement {
  const { scene, store, model } = app;
  const title = h("h2", { class: "place" });
  // The columns of a table may be more than there is room for: then they are scrolled, by keys too.
  const body = h("div", { class: "pictures", ...(scene.table ? { tabindex: "0", role: "region", "aria-label": "Columns" } : {}) });
  const decoded = scene.table ? null : picture(scene, new Float64Array(scene.size), "what the model decodes here");
  const caption = h("figcaption", {});
  const original = scene.table ? null : picture(scene, new Float64Array(scene.size), "the datum itself");
  const originalFigure = original && h("figure", { class: "original" }, original, caption);
  if (decoded && originalFigure) body.append(h("figure", {}, decoded, h("figcaption", {}, "decoded")), originalFigure);

  const keep = (slot: Slot): HTMLElement =>
    h(
      "button",
      {
        type: "button", class: "segment", title: `Keep this place as ${slot.toUpperCase()}`, "aria-label": `Keep this place as ${slot.toUpperCase()}`,
        onclick: () => {
          store.set({ slots: { ...store.view.slots, [slot]: store.view.place } });
          say(`Kept as ${slot.toUpperCase()}`);
        },
      },
      slot.toUpperCase(),
    );

  let seed = 0;
  const random = async (): Promise<void> => {
    try {
      if (app.priorDraws) {
        const { z } = await model.draw({ n: 1, seed: ++seed, ...(store.view.place.y === null ? {} : { y: store.view.place.y }) });
        store.go({ z: z[0]!, y: store.view.place.y, datum: null });
      } else store.go(placeOf(scene, Math.floor(Math.random() * scene.n)));
      say("A random place");
    } catch (error) {
      complain(error);
    }
  };

  const classes = scene.file.data.conditional ? scene.file.data.classes : null;
  const classButtons = classes?.map((name, k) =>
    h(
      "button",
      { type: "button", class: "segment", onclick: () => store.go({ ...store.view.place, y: k, datum: null }) },
      name,
    ),
  );
  const actions = h(
    "div", { class: "actions" },
    h("button", { type: "button", onclick: () => void random() }, app.priorDraws ? "Draw at random" : "Any datum"),
    h("div", { class: "kept", role: "group", "aria-label": "Keep this place as" }, h("span", { class: "muted" }, "Keep as"), h("span", { class: "segments" }, keep("a"), keep("b"), keep("c"))),
    h("button", { type: "button", class: "quiet", onclick: () => {
      const title = `${scene.file.title} decoded`;
      if (decoded) save(decoded, title);
      else if (app.shown) saveRows(scene, [app.shown], [""], title);
    } }, "Save PNG"),
  );
  const element = h(
    "section", { class: `stage ${scene.table ? "of-table" : ""}`, "aria-label": "What the place decodes to" },
    body,
    h(
      "div", { class: "told" },
      title,
      classButtons ? h("div", { class: "classes", role: "group", "aria-label": "Condition: class" }, h("span", { class: "muted" }, "Class"), h("span", { class: "segments" }, classButtons)) : null,
      actions,
    ),
  );

  const show = (shown: Shown): void => {
    const { place } = store.view;
    if (decoded && original) {
      draw(decoded, scene, shown.x);
      draw(original, scene, scene.datum(place.datum ?? scene.nearest(place.z)));
      caption.textContent = place.datum === null ? "nearest datum" : "the datum";
    } else replace(body, rowElement(scene, shown, place.datum === null ? null : scene.datum(place.datum)));
    element.dataset.ready = "";
  };
  app.onDecoded(show);
  const name = (): void => {
    const { place } = store.view;
    const [first, ...others] = place.datum === null ? ["No datum here", `the nearest is ${describe(scene.nearest(place.z)).join(", ")}`] : describe(place.datum);
    replace(title, first!, h("span", { class: "muted" }, others.join(", ")));
    classButtons?.forEach((b, k) => b.setAttribute("aria-pressed", String(place.y === k)));
  };
  store.on(["place", "colour"], name);
  name();
  return element;
}
