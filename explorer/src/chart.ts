/** Curves of numbers over epochs, on a canvas. */

import { category, css, hexOf, isDark } from "./colours";
import { h } from "./dom";
import { written } from "./maths";
import { save } from "./pictures";

export interface Curve {
  name: string;
  x: number[];
  y: number[];
}

/** Round steps between the ends of a range, at most so many. */
export function ticks(low: number, high: number, most: number): number[] {
  const raw = (high - low) / Math.max(most, 1);
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw)!;
  const found: number[] = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) found.push(Math.abs(v) < 1e-9 * step ? 0 : v);
  return found;
}

const LEFT = 58;
const RIGHT = 14;
const TOP = 10;
const BOTTOM = 34;

export class Chart {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { class: "chart", role: "img" });
  private readonly legend = h("div", { class: "legend" });
  private curves: Curve[] = [];
  private hovered: number | null = null;

  constructor(public name: string) {
    this.element = h("div", { class: "curves" }, this.legend, this.canvas);
    this.canvas.addEventListener("pointermove", (e) => this.hover(e.clientX - this.canvas.getBoundingClientRect().left));
    this.canvas.addEventListener("pointerleave", () => this.hover(null));
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  show(curves: Curve[]): void {
    this.curves = curves;
    this.paint();
  }

  savePicture(title: string): void {
    save(this.canvas, title);
  }

  private hover(x: number | null): void {
    const xs = this.curves[0]?.x ?? [];
    this.hovered = x === null || xs.length === 0 ? null : xs.reduce((best, v) => (Math.abs(this.across(v) - x) < Math.abs(this.across(best) - x) ? v : best), xs[0]!);
    this.paint();
  }

  private get ends(): { x: [number, number]; y: [number, number] } {
    const xs = this.curves.flatMap((c) => c.x);
    const ys = this.curves.flatMap((c) => c.y).filter(Number.isFinite);
    const last = Math.max(...xs, 1);
    // The first epochs lie far off: what comes after them is to be seen.
    const sorted = [...ys].sort((a, b) => a - b);
    const cut = ys.length > 20 ? Math.floor(ys.length * 0.04) : 0;
    let [low, high] = [sorted[cut && 0] ?? 0, sorted[sorted.length - 1 - cut] ?? 1];
    if (cut && (sorted[sorted.length - 1] ?? high) - low < 2 * (high - low)) high = sorted[sorted.length - 1]!;
    const room = 0.06 * (high - low) || 0.5;
    return { x: [Math.min(...xs, last), last], y: [low - room, high + room] };
  }

  private across(epoch: number): number {
    const { x } = this.ends;
    const width = this.canvas.clientWidth;
    return LEFT + ((width - LEFT - RIGHT) * (epoch - x[0])) / (x[1] - x[0] || 1);
  }

  private paint(): void {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const context = canvas.getContext("2d")!;
    context.scale(ratio, ratio);
    const dark = isDark();
    const { x, y } = this.ends;
    const up = (v: number): number => TOP + ((height - TOP - BOTTOM) * (y[1] - v)) / (y[1] - y[0]);
    context.font = "12px system-ui, sans-serif";
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const steps = ticks(y[0], y[1], Math.max(2, Math.floor(height / 48)));
    const digits = Math.max(0, Math.min(4, -Math.floor(Math.log10((steps[1] ?? 1) - (steps[0] ?? 0) || 1))));
    for (const v of steps) {
      context.strokeStyle = css("--line");
      context.beginPath();
      context.moveTo(LEFT, Math.round(up(v)) + 0.5);
      context.lineTo(width - RIGHT, Math.round(up(v)) + 0.5);
      context.stroke();
      context.fillStyle = css("--muted");
      context.fillText(v.toFixed(digits), LEFT - 8, up(v));
    }
    context.textAlign = "center";
    for (const v of ticks(x[0], x[1], Math.max(2, Math.floor(width / 80)))) if (Number.isInteger(v)) context.fillText(String(v), this.across(v), height - BOTTOM + 12);
    context.fillText("epoch", (LEFT + width - RIGHT) / 2, height - 7);
    context.save();
    context.translate(9, (TOP + height - BOTTOM) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(`${this.name}, nats`, 0, 0);
    context.restore();
    this.curves.forEach((c, k) => {
      context.strokeStyle = context.fillStyle = hexOf(category(k, dark));
      context.lineWidth = 2;
      context.lineJoin = "round";
      context.save();
      context.beginPath();
      context.rect(LEFT - 3, TOP - 3, width - LEFT - RIGHT + 6, height - TOP - BOTTOM + 6);
      context.clip();
      context.beginPath();
      c.x.forEach((epoch, i) => (i ? context.lineTo(this.across(epoch), up(c.y[i]!)) : context.moveTo(this.across(epoch), up(c.y[i]!))));
      context.stroke();
      const at = c.x.indexOf(this.hovered ?? c.x[c.x.length - 1]!);
      if (at >= 0) {
        context.beginPath();
        context.arc(this.across(c.x[at]!), up(c.y[at]!), 3.5, 0, 2 * Math.PI);
        context.fill();
      }
      context.restore();
    });
    this.tell(dark);
  }

  /** What the curves are at the epoch under the pointer, or the last. */
  private tell(dark: boolean): void {
    this.legend.textContent = "";
    const said: string[] = [];
    this.curves.forEach((c, k) => {
      const epoch = this.hovered ?? c.x[c.x.length - 1];
      const at = epoch === undefined ? -1 : c.x.indexOf(epoch);
      if (at < 0) return;
      const swatch = h("span", { class: "swatch" });
      swatch.style.background = hexOf(category(k, dark));
      said.push(`${c.name} ${written(c.y[at]!, 2)} after epoch ${epoch}`);
      this.legend.append(h("span", { class: "entry" }, swatch, h("span", {}, `${c.name} ${written(c.y[at]!, 2)}`)));
    });
    if (this.hovered !== null) this.legend.append(h("span", {}, `after epoch ${this.hovered}`));
    this.canvas.setAttribute("aria-label", `${this.name}, nats: ${said.join(", ") || "nothing yet"}`);
  }
}
