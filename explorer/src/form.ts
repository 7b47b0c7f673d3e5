/** A row of a table as a form: each cell can be changed, or cleared. */

import type { Shown } from "./app";
import { h } from "./dom";
import { percent, shortest } from "./maths";
import { cellText, ofDay, SECONDS } from "./rows";
import type { Column, Scene } from "./scene";

export interface Form {
  element: HTMLElement;
  values(): Float64Array;
  set(x: ArrayLike<number>): void;
  /** The name of the first column that can't have what its cell says, and what it can; none where all can. */
  refused(): string | null;
  /** What the model would put into the cells that are empty. */
  fill(imputed: Float64Array | null, shown: Shown): void;
}

interface Cell {
  input: HTMLInputElement | HTMLSelectElement;
  hint: HTMLElement;
  value(): number;
  set(value: number): void;
}

/** Which numbers a column has, where it has not any. */
const ACCEPTED: Record<string, [string, (v: number) => boolean]> = {
  positive: ["numbers above 0", (v) => v > 0],
  nonnegative: ["numbers from 0 on", (v) => v >= 0],
  count: ["whole numbers from 0 on", (v) => v >= 0 && Number.isInteger(v)],
  integer: ["whole numbers", (v) => Number.isInteger(v)],
};

function makeCell(column: Column, id: string, double: boolean, changed: () => void): Cell {
  const hint = h("span", { class: "hint muted" });
  if (column.levels) {
    const input = h("select", { id, onchange: changed }, h("option", { value: "" }, "—"), column.levels.map((l, k) => h("option", { value: String(k) }, l)));
    return { input, hint, value: () => (input.value === "" ? NaN : Number(input.value)), set: (v) => (input.value = Number.isNaN(v) ? "" : String(Math.round(v))) };
  }
  if (column.kind === "date" && (column.unit ?? "s") in SECONDS) {
    const seconds = SECONDS[column.unit ?? "s"]!;
    const [type, from, to] = column.unit === "D" ? ["date", 0, 10] as const : ofDay(column) ? ["time", 11, 19] as const : ["datetime-local", 0, 19] as const;
    const input = h("input", { type, id, step: type === "date" ? null : String(seconds), oninput: changed });
    return {
      input, hint,
      value: () => (input.value === "" ? NaN : Date.parse(type === "date" ? input.value : `${"1970-01-01T".slice(0, from)}${input.value}Z`) / (1000 * seconds)),
      set: (v) => (input.value = Number.isNaN(v) ? "" : new Date(v * seconds * 1000).toISOString().slice(from, to)),
    };
  }
  const whole = column.decimals === 0 || ["count", "integer"].includes(column.kind);
  const input = h("input", { type: "number", id, step: whole ? "1" : "any", inputmode: "decimal", oninput: changed });
  return {
    input, hint,
    value: () => (input.value === "" ? NaN : Number(input.value)),
    set: (v) => (input.value = Number.isNaN(v) ? "" : column.decimals === null ? shortest(v, double) : String(Number(v.toFixed(column.decimals)))),
  };
}

export function form(scene: Scene, changed: () => void): Form {
  const cells = scene.columns.map((column, j) => makeCell(column, `cell-${j}`, scene.double, changed));
  const rows = cells.map((cell, j) => {
    const column = scene.columns[j]!;
    const clear = h("button", { type: "button", class: "quiet clear", "aria-label": `Clear ${column.name}`, title: "Clear this cell", onclick: () => {
      cell.set(NaN);
      cell.input.focus();
      changed();
    } }, "×");
    return h("div", { class: cell.input.type === "datetime-local" ? "field time" : "field" }, h("label", { for: cell.input.id, title: column.name }, column.name, column.unit && column.kind !== "date" ? h("span", { class: "muted" }, ` ${column.unit}`) : null), h("span", { class: "entry" }, cell.input, clear), cell.hint);
  });
  return {
    element: h("div", { class: "form" }, rows),
    values: () => Float64Array.from(cells, (c) => c.value()),
    set: (x) => {
      cells.forEach((c, j) => c.set(x[j]!));
      changed();
    },
    refused: () => {
      const j = cells.findIndex((c, j) => !(ACCEPTED[scene.columns[j]!.kind]?.[1](c.value()) ?? true) && !Number.isNaN(c.value()));
      return j < 0 ? null : `${scene.columns[j]!.name} has ${ACCEPTED[scene.columns[j]!.kind]![0]}`;
    },
    fill: (imputed, shown) =>
      cells.forEach((c, j) => {
        const empty = Number.isNaN(c.value());
        const value = imputed?.[j] ?? shown.x[j]!;
        const p = shown.probabilities.get(j)?.[Math.round(value)];
        c.hint.textContent = empty ? `likely ${cellText(scene.columns[j]!, value)}${p === undefined ? "" : `, ${percent(p)}`}` : "";
        c.input.closest(".field")!.classList.toggle("hole", empty);
      }),
  };
}
