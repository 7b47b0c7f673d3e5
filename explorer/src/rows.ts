/** Rows of a table: cells as bars between the column's ends, and categories with their probabilities. */

import type { Shown } from "./app";
import { category, css, hexOf, isDark } from "./colours";
import { h } from "./dom";
import { percent, written } from "./maths";
import { save } from "./pictures";
import type { Column, Scene } from "./scene";

export const SECONDS: Record<string, number> = { D: 86400, h: 3600, min: 60, s: 1 };

/** Whether a column of dates has times of day, which are counted from midnight. */
export const ofDay = ({ date }: Column): boolean => /%H|%I/.test(date ?? "") && !/%[dYymbjB]/.test(date ?? "");

/** A date's number as text; of times of day, which are counted from midnight, the time alone. */
export function dateText(column: Column, value: number): string {
  const seconds = value * (SECONDS[column.unit ?? "s"] ?? 1);
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return written(value);
  const text = date.toISOString();
  if (column.unit === "D") return text.slice(0, 10);
  if (ofDay(column)) return text.slice(11, column.unit === "s" ? 19 : 16);
  return text.slice(0, 16).replace("T", " ");
}

export function cellText(column: Column, value: number): string {
  if (Number.isNaN(value)) return "—";
  if (column.levels) return column.levels[Math.round(value)] ?? String(value);
  if (column.kind === "date") return dateText(column, value);
  return written(value, column.decimals) + (column.unit ? ` ${column.unit}` : "");
}

/** Where a number lies between the ends of its column, 0 to 1. */
export const position = (column: Column, value: number): number =>
  Math.min(1, Math.max(0, (value - column.low) / (column.high - column.low || 1)));

/** Segments as wide as the levels are probable. */
function segments(column: Column, p: ArrayLike<number>): HTMLElement {
  const dark = isDark();
  const bar = h("span", { class: "bar levels" });
  Array.from(p, (v, k) => ({ v, k }))
    .sort((a, b) => b.v - a.v)
    .forEach(({ v, k }, place) => {
      if (v < 0.004) return;
      const part = h("span", { title: `${column.levels![k]}: ${percent(v)}` });
      part.style.width = `${100 * v}%`;
      part.style.background = place > 5 ? "var(--line)" : hexOf(category(k, dark));
      bar.append(part);
    });
  return bar;
}

function numberBar(at: number): HTMLElement {
  const fill = h("span", {});
  fill.style.width = `${100 * at}%`;
  return h("span", { class: "bar" }, fill);
}

/** One line for a column. */
function line(column: Column, value: number, p: ArrayLike<number> | undefined, other: number | null): HTMLElement {
  const sure = p && column.levels ? p[Math.round(value)] : undefined;
  const missing = Number.isNaN(value);
  const bar = missing ? h("span", { class: "bar" }) : p ? segments(column, p) : column.levels ? segments(column, column.levels.map((_, k) => +(k === Math.round(value)))) : numberBar(position(column, value));
  const note = other !== null && !Number.isNaN(other) && cellText(column, other) !== cellText(column, value) ? `datum: ${cellText(column, other)}` : "";
  if (other !== null && !column.levels && !Number.isNaN(other)) {
    const tick = h("span", { class: "tick" });
    tick.style.left = `${100 * position(column, other)}%`;
    bar.append(tick);
  }
  return h(
    "div", { class: "cell", role: "listitem" },
    h("span", { class: "name", title: column.name }, column.name),
    h("span", { class: "value", title: cellText(column, value) }, cellText(column, value), sure !== undefined ? h("span", { class: "muted" }, ` ${percent(sure)}`) : null),
    bar,
    h("span", { class: "note muted", title: note }, note),
  );
}

/** All columns of a row; of `other`, the datum itself, what differs. */
export function rowElement(scene: Scene, shown: Shown, other: ArrayLike<number> | null = null): HTMLElement {
  return h("div", { class: "row", role: "list" }, scene.columns.map((c, j) => line(c, shown.x[j]!, shown.probabilities.get(j), other ? other[j]! : null)));
}

let spreads: Float64Array | null = null;

/** Standard deviations of the columns over the data. */
function spreadsOf(scene: Scene): Float64Array {
  return (spreads ??= Float64Array.from(scene.columns, (_, j) => {
    let [n, sum, squares] = [0, 0, 0];
    for (let i = 0; i < scene.n; i++) {
      const v = scene.cell(i, j);
      if (Number.isNaN(v)) continue;
      n++;
      sum += v;
      squares += v * v;
    }
    return Math.sqrt(Math.max(squares / Math.max(n, 1) - (sum / Math.max(n, 1)) ** 2, 1e-12));
  }));
}

/** How much a column differs between rows, in standard deviations of the data; of categories, in moved probability. */
function change(scene: Scene, rows: Shown[], j: number): number {
  const column = scene.columns[j]!;
  let most = 0;
  for (const a of rows) {
    const b = rows[0]!;
    const [p, q] = [a.probabilities.get(j), b.probabilities.get(j)];
    if (p && q) most = Math.max(most, p.reduce((sum, v, k) => sum + Math.abs(v - q[k]!), 0));
    else if (column.levels) most = Math.max(most, Number(Math.round(a.x[j]!) !== Math.round(b.x[j]!)));
    else most = Math.max(most, Math.abs(a.x[j]! - b.x[j]!) / spreadsOf(scene)[j]!);
  }
  return most;
}

/** The columns that differ between rows, those first that do most. */
export function changing(scene: Scene, rows: Shown[], least = 0.15): number[] {
  return scene.columns
    .map((_, j) => ({ j, by: change(scene, rows, j) }))
    .filter(({ by }) => by > least)
    .sort((a, b) => b.by - a.by)
    .map(({ j }) => j);
}

/** Rows side by side, a column of the table a line, those lines first that differ most. */
export function comparison(scene: Scene, rows: Shown[], names: string[], title: string, most = 12): HTMLElement {
  const columns = changing(scene, rows, 0.05).slice(0, most);
  if (columns.length === 0) return h("p", { class: "muted" }, "These rows are alike in all columns.");
  const cell = (j: number, shown: Shown): HTMLElement => {
    const column = scene.columns[j]!;
    const p = shown.probabilities.get(j);
    return h("td", {}, h("span", { class: "text" }, cellText(column, shown.x[j]!)), p ? segments(column, p) : column.levels ? null : numberBar(position(column, shown.x[j]!)));
  };
  const table = h(
    "div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Rows side by side" },
    h(
      "table", { class: "comparison" },
      h("thead", {}, h("tr", {}, h("td", {}), names.map((n) => h("th", { scope: "col" }, n)))),
      h("tbody", {}, columns.map((j) => h("tr", {}, h("th", { scope: "row", title: scene.columns[j]!.name }, scene.columns[j]!.name), rows.map((r) => cell(j, r))))),
    ),
  );
  return h("div", { class: "film" }, table, h("button", { type: "button", class: "quiet", onclick: () => saveRows(scene, rows, names, title, columns) }, "Save PNG"));
}

const LINE = 30;
const WIDEST = 260;
/** Lines of a picture: browsers have none that is much higher. */
const LINES = 500;

/** Rows side by side as a picture: a column of the table a line, its cells as text and as bars. */
export function saveRows(scene: Scene, rows: Shown[], names: string[], title: string, some: number[] = scene.columns.map((_, j) => j)): void {
  const columns = some.slice(0, LINES);
  const more = some.length - columns.length;
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d")!;
  const font = "14px system-ui, sans-serif";
  context.font = font;
  const left = Math.min(WIDEST, columns.reduce((most, j) => Math.max(most, context.measureText(scene.columns[j]!.name).width), 60)) + 24;
  const each = 190;
  const head = names.some((n) => n) ? LINE : 8;
  const [width, height] = [left + each * rows.length + 12, head + LINE * (columns.length + +(more > 0)) + 8];
  const scale = Math.max(2, Math.ceil(400 / height));
  [canvas.width, canvas.height] = [width * scale, height * scale];
  context.scale(scale, scale);
  context.font = font;
  context.textBaseline = "middle";
  context.fillStyle = css("--background");
  context.fillRect(0, 0, width, height);
  const dark = isDark();
  const write = (text: string, x: number, y: number, most: number, colour: string): void => {
    let shown = text;
    while (shown.length > 1 && context.measureText(shown).width > most) shown = `${shown.replace(/…$/, "").slice(0, -1)}…`;
    context.fillStyle = css(colour);
    context.fillText(shown, x, y);
  };
  names.forEach((n, i) => write(n, left + each * i, head / 2, each - 14, "--muted"));
  columns.forEach((j, k) => {
    const column = scene.columns[j]!;
    const y = head + LINE * k;
    write(column.name, 12, y + 11, left - 24, "--muted");
    rows.forEach((r, i) => {
      const [x, value, p] = [left + each * i, r.x[j]!, r.probabilities.get(j)];
      write(cellText(column, value), x, y + 11, each - 14, "--text");
      context.fillStyle = css("--line");
      context.fillRect(x, y + 21, each - 14, 4);
      if (Number.isNaN(value)) return;
      const parts = column.levels ? Array.from(p ?? column.levels.map((_, l) => +(l === Math.round(value))), (v, l) => ({ v, colour: hexOf(category(l, dark)) })).sort((a, b) => b.v - a.v) : [{ v: position(column, value), colour: css("--accent") }];
      let at = x;
      for (const { v, colour } of parts) {
        context.fillStyle = colour;
        context.fillRect(at, y + 21, v * (each - 14), 4);
        at += v * (each - 14);
      }
    });
  });
  if (more > 0) write(`and ${more} more columns`, 12, height - 8 - LINE / 2, width - 24, "--muted");
  save(canvas, title);
}

/** Rows as they would stand in the table, one below another. */
export function rowsElement(scene: Scene, rows: ArrayLike<number>[], names: string[]): HTMLElement {
  return h(
    "div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Rows" },
    h(
      "table", { class: "comparison" },
      h("thead", {}, h("tr", {}, h("td", {}), scene.columns.map((c) => h("th", { scope: "col" }, c.name)))),
      h("tbody", {}, rows.map((row, i) => h("tr", {}, h("th", { scope: "row" }, names[i] ?? ""), scene.columns.map((c, j) => h("td", {}, h("span", { class: "text" }, cellText(c, row[j]!))))))),
    ),
  );
}
