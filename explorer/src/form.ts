/** A row of a table as a form: each cell can be changed, or cleared. */

import type { Shown } from "./app";
import { h } from "./dom";
import { percent, shortest } from "./maths";
import { cellText } from "./rows";
import type { Column, Scene } from "./scene";

export interface Form {
  element: HTMLElement;
  values(): Float64Array;
  set(x: ArrayLike<number>): void;
  /** What the model would put into the cells that are empty. */
  fill(imputed: Float64Array | null, shown: Shown): void;
}

const SECONDS: Record<string, number> = { D: 86400, h: 3600, min: 60, s: 1 };

interface Cell {
  input: HTMLInputElement | HTMLSelectElement;
  hint: HTMLElement;
  value(): number;
  set(value: number): void;
}

function makeCell(column: Column, id: string, double: boolean, changed: () => void): Cell {
  const hint = h("span", { class: "hint muted" });
  if (column.levels) {
    const input = h("select", { id, onchange: changed }, h("option", { value: "" }, "—"), column.levels.map((l, k) => h("option", { value: String(k) }, l)));
    return { input, hint, value: () => (input.value === "" ? NaN : Number(input.value)), set: (v) => (input.value = Number.isNaN(v) ? "" : String(Math.round(v))) };
  }
  if (column.kind === "date" && (column.unit ?? "s") in SECONDS) {
    const days = column.unit === "D";
    const scale = SECONDS[column.unit ?? "s"]! * 1000;
    const input = h("input", { type: days ? "date" : "datetime-local", id, step: days ? null : "1", oninput: changed });
    return {
      input, hint,
      value: () => (input.value === "" ? NaN : Date.parse(days ? input.value : `${input.value}Z`) / scale),
      set: (v) => (input.value = Number.isNaN(v) ? "" : new Date(v * scale).toISOString().slice(0, days ? 10 : 19)),
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
