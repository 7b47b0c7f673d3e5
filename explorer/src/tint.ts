/** What the points of the map are coloured by, and the legend that says so. */

import { category, css, graded, hexOf, isDark, parse } from "./colours";
import { h } from "./dom";
import { written } from "./maths";
import { cellText } from "./rows";
import type { Discs } from "./raster";
import type { Colouring, Scene } from "./scene";

/** Categories in a legend, at most. */
const LEGEND = 24;

export class Tint {
  readonly legend = h("div", { class: "legend" });
  private colouring: Colouring | undefined;
  private values: ArrayLike<number> | null = null;
  private readonly hidden = new Set<number>();

  constructor(private readonly scene: Scene, private readonly discs: Discs, private readonly changed: () => void) {}

  /** Colours the points by one of the scene's colours. */
  by(name: string): void {
    const { scene, discs } = this;
    const dark = isDark();
    this.colouring = scene.file.points.colours.find((c) => c.name === name);
    const values = (this.values = this.colouring ? scene.colourValues(this.colouring) : null);
    this.hidden.clear();
    this.legend.textContent = "";
    const none = parse(css("--muted") || "#888888");
    const put = (i: number, colour: ArrayLike<number>): void => {
      for (let c = 0; c < 3; c++) discs.colours[3 * i + c] = colour[c]!;
    };
    if (!values || !this.colouring) for (let i = 0; i < scene.n; i++) put(i, category(0, dark));
    else if (this.colouring.kind === "category") {
      const used = new Set<number>();
      for (let i = 0; i < scene.n; i++) {
        const k = values[i]!;
        const known = k >= 0 && !Number.isNaN(k);
        if (known) used.add(k);
        put(i, known ? category(k, dark) : none);
      }
      this.categories([...used].sort((a, b) => a - b), dark);
    } else {
      const finite = Float64Array.from(values as ArrayLike<number>).filter(Number.isFinite).sort();
      // The ends of the scale leave out the outermost hundredth, which would squeeze the rest.
      const low = finite[Math.floor(finite.length * 0.01)] ?? 0;
      const high = finite[Math.ceil(finite.length * 0.99) - 1] ?? 1;
      for (let i = 0; i < scene.n; i++) put(i, Number.isFinite(values[i]!) ? graded((values[i]! - low) / (high - low || 1), dark) : none);
      const steps = Array.from({ length: 11 }, (_, k) => `${hexOf(graded(k / 10, dark))} ${k * 10}%`);
      const bar = h("span", { class: "gradient" });
      bar.style.background = `linear-gradient(to right, ${steps.join(", ")})`;
      this.legend.append(h("span", {}, this.say(low)), bar, h("span", {}, this.say(high)));
    }
    this.alphas();
    this.changed();
  }

  private categories(used: number[], dark: boolean): void {
    const name = (k: number): string => this.colouring?.names?.[k] ?? String(k);
    for (const k of used.slice(0, LEGEND)) {
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = hexOf(category(k, dark));
      const button = h(
        "button",
        {
          type: "button", class: "entry", "aria-pressed": "true", title: `Show or hide ${name(k)}`,
          onclick: () => {
            if (this.hidden.has(k)) this.hidden.delete(k);
            else this.hidden.add(k);
            button.setAttribute("aria-pressed", String(!this.hidden.has(k)));
            this.alphas();
            this.changed();
          },
        },
        swatch, h("span", {}, name(k)),
      );
      this.legend.append(button);
    }
    if (used.length > LEGEND) this.legend.append(h("span", { class: "muted" }, `and ${used.length - LEGEND} more`));
  }

  private alphas(): void {
    const strong = this.scene.n > 4000 ? 170 : this.scene.n > 1200 ? 205 : 235;
    for (let i = 0; i < this.scene.n; i++) this.discs.alpha[i] = this.hidden.size && this.values && this.hidden.has(this.values[i]!) ? 14 : strong;
  }

  private say(value: number): string {
    const at = this.colouring?.column;
    const column = at == null ? undefined : this.scene.columns[at];
    return column ? cellText(column, value) : written(value);
  }

  /** What is said of a datum beside its name: its class, and what it is coloured by. */
  describe(i: number): string[] {
    const parts: string[] = [];
    const of = this.scene.className(i);
    if (of !== null) parts.push(`class ${of}`);
    const c = this.colouring;
    if (c && this.values && !(c.column === null && /^class( of the row)*$/.test(c.name))) {
      const v = this.values[i]!;
      parts.push(`${c.name} ${c.kind === "category" ? (c.names?.[v] ?? (v < 0 || Number.isNaN(v) ? "—" : v)) : this.say(v)}`);
    }
    return parts;
  }
}
