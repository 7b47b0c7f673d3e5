/** How strange a datum is among those that the model was trained on. */

import { h, svg } from "./dom";
import { above, percent, shares, written } from "./maths";
import type { Scene } from "./scene";

/** The bounds of the training data as a hill, and where that of x lies, which is of the cells that it has. */
export function oddness(scene: Scene, elbo: number, x: Float64Array): HTMLElement {
  const { elbo: quantiles } = scene.file.reference;
  const there = x.filter((v) => !Number.isNaN(v)).length;
  if (x.length - there > scene.usuallyMissing) {
    const why = "Data with more cells have other bounds, so that it is not compared with theirs.";
    return h("div", { class: "oddness" }, h("p", { class: "verdict" }, `Bound of ${there} of ${x.length} cells: ${written(elbo, 1)} nats`), h("p", { class: "muted" }, why));
  }
  if (quantiles.length < 2) return h("p", { class: "muted" }, `Bound ${written(elbo, 1)} nats.`);
  const stranger = above(quantiles, elbo);
  const usual = quantiles[Math.floor(quantiles.length * 0.01)]!;
  const top = quantiles[quantiles.length - 1]!;
  const from = Math.min(usual, Number.isFinite(elbo) ? elbo : usual) - 0.04 * (top - usual);
  const to = top + 0.04 * (top - usual);
  const parts = 48;
  const heights = shares(quantiles, from, to, parts);
  const most = Math.max(...heights, 1e-9);
  const [width, height] = [320, 72];
  const points = heights.map((v, i) => `${((i + 0.5) * width) / parts},${height - (height - 10) * (v / most)}`);
  const at = (Number.isFinite(elbo) ? Math.max(0, (elbo - from) / (to - from)) : 0) * width;
  const label = stranger > 0.5 ? `Stranger than ${percent(stranger)}` : `Less strange than ${percent(1 - stranger)}`;
  const text = !Number.isFinite(elbo) ? "The model holds this for impossible" : `${label} of the training data`;
  return h(
    "div", { class: "oddness" },
    h("p", { class: "verdict" }, text),
    svg(
      "svg", { viewBox: `0 0 ${width} ${height + 18}`, role: "img", "aria-label": `${text}; bound ${written(elbo, 1)} nats` },
      svg("polygon", { class: "hill", points: `0,${height} ${points.join(" ")} ${width},${height}` }),
      svg("line", { class: "ground", x1: 0, x2: width, y1: height, y2: height }),
      svg("line", { class: "here", x1: at, x2: at, y1: 2, y2: height + 3 }),
      svg("text", { class: "mark", x: Math.min(Math.max(at, 34), width - 34), y: height + 15, "text-anchor": "middle" }, `${written(elbo, 1)} nats`),
    ),
  );
}

/** The columns that take most nats of x, as bars, of the cells that it has. */
export function contributions(scene: Scene, nats: number[], reference: number[] | null, x: Float64Array): HTMLElement {
  const excess = nats.map((v, j) => ({ j, v: Number.isNaN(x[j]) ? NaN : v - (reference?.[j] ?? 0) }));
  const order = excess.filter(({ v }) => Number.isFinite(v)).sort((a, b) => b.v - a.v).slice(0, 8);
  const top = Math.max(...order.map(({ v }) => Math.abs(v)), 1e-9);
  return h(
    "div", { class: "contributions" },
    h("h3", {}, reference ? "What is odd about it" : "What each column takes"),
    h("p", { class: "muted" }, reference ? "Nats that a column takes beyond what it takes of usual rows." : "Nats: the more, the less the model expected the cell."),
    h("div", { class: "row", role: "list" }, order.map(({ j, v }) => {
      const fill = h("span", { class: v < 0 ? "less" : "more" });
      fill.style.width = `${(100 * Math.abs(v)) / top}%`;
      return h("div", { class: "cell", role: "listitem" }, h("span", { class: "name" }, scene.columns[j]!.name), h("span", { class: "value" }, written(v, 1)), h("span", { class: "bar" }, fill), h("span", { class: "note" }));
    })),
  );
}
