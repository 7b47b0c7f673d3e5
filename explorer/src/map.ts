/** The map: codes of the data in the plane, seen from any distance, with the place that one looks at. */

import { css, parse } from "./colours";
import { everyFrame, h, say } from "./dom";
import { Ground, type Camera } from "./ground";
import { picture, save } from "./pictures";
import { planeOf, type Plane } from "./plane";
import { paintDiscs, type Discs } from "./raster";
import type { Scene } from "./scene";
import { Tint } from "./tint";
import { placeOf, type Slot, type Store } from "./view";

/** How near a pointer has to come to a point or the place's handle, in CSS pixels. */
const NEAR = 14;
const HANDLE = 18;

export class MapView {
  readonly element: HTMLElement;
  private readonly points = h("canvas", { class: "points" });
  private readonly over = h("canvas", {
    class: "over", tabindex: "0", role: "application", id: "map",
    "aria-label": "Map of the data. Arrow keys go from datum to datum, Enter decodes it, A, B and C keep it, plus and minus zoom, 0 shows all, Shift with arrows moves the place.",
  });
  private readonly tip = h("div", { class: "tip", hidden: true });
  private readonly xName = h("span", { class: "axis x" });
  private readonly yName = h("span", { class: "axis y" });
  private plane: Plane;
  private camera: Camera = { x: 0, y: 0, scale: 1 };
  private fitted: Camera = this.camera;
  private discs: Discs;
  private readonly tint: Tint;
  private readonly ground: Ground;
  private hovered: number | null = null;
  private focused: number | null = null;
  private image: ImageData | null = null;
  private readonly pointers = new Map<number, { x: number; y: number }>();
  private dragging: "pan" | "place" | "pinch" | null = null;
  private moved = 0;
  private readonly paintSoon = everyFrame(() => this.paintAll());
  private readonly overSoon = everyFrame(() => this.paintOver());
  /** The page's ground as one pixel. */
  private empty = 0xffffffff;

  /** `decode` answers what many places decode to; without, there is no place to be at, only data to look at. */
  constructor(private readonly scene: Scene, private readonly store: Store, private readonly decode: ((z: Float32Array[]) => Promise<Float64Array[]>) | null) {
    const n = scene.n;
    this.discs = { n, xy: new Float32Array(2 * n), colours: new Uint8Array(3 * n), alpha: new Uint8Array(n).fill(255), order: Uint32Array.from({ length: n }, (_, i) => i) };
    shuffle(this.discs.order);
    this.tint = new Tint(scene, this.discs, () => this.paintSoon());
    this.ground = new Ground(scene, decode ?? (async () => []), () => this.paintSoon());
    this.plane = planeOf(scene, store.view.projection);
    this.element = h("div", { class: "map" }, this.points, this.over, this.xName, this.yName, this.tip);
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.element);
    store.on(["projection"], () => this.reproject());
    store.on(["colour"], () => this.retint());
    store.on(["place", "slots", "panel", "journey", "cloud", "armed", "spherical"], () => this.overSoon());
    store.on(["place", "plane"], () => this.backdropSoon());
    this.reproject();
    this.retint();
  }

  get legendElement(): HTMLElement {
    return this.tint.legend;
  }

  /** Other colours of the points, or of the page. */
  retint(): void {
    const [red, green, blue] = parse(css("--background"));
    this.empty = new Uint32Array(Uint8Array.of(red, green, blue, 255).buffer)[0]!;
    this.tint.by(this.store.view.colour);
  }

  /** For the measuring of frames: moves the view a little and paints at once. */
  frame(dx: number): void {
    this.camera = { ...this.camera, x: this.camera.x + dx / this.camera.scale };
    this.paintAll();
  }

  savePicture(): void {
    const out = document.createElement("canvas");
    [out.width, out.height] = [this.points.width, this.points.height];
    const context = out.getContext("2d")!;
    context.fillStyle = css("--background");
    context.fillRect(0, 0, out.width, out.height);
    context.drawImage(this.points, 0, 0);
    context.drawImage(this.over, 0, 0);
    save(out, `${this.scene.file.title} map`);
  }

  private get ratio(): number {
    return Math.min(2, window.devicePixelRatio || 1);
  }

  private get size(): [number, number] {
    return [this.element.clientWidth, this.element.clientHeight];
  }

  private resize(): void {
    const [width, height] = this.size;
    if (!width || !height) return;
    for (const canvas of [this.points, this.over]) [canvas.width, canvas.height] = [Math.round(width * this.ratio), Math.round(height * this.ratio)];
    this.image = null;
    const zoom = this.camera.scale / this.fitted.scale;
    const centre = { ...this.camera };
    this.fit();
    if (Math.abs(zoom - 1) > 1e-6) this.camera = { ...centre, scale: this.fitted.scale * zoom };
    this.paintSoon();
    this.backdropSoon();
  }

  private reproject(): void {
    this.plane = planeOf(this.scene, this.store.view.projection);
    [this.xName.textContent, this.yName.textContent] = this.plane.axes;
    this.focused = this.hovered = null;
    this.fit();
    this.paintSoon();
    this.backdropSoon();
  }

  /** Looks at all points but the outermost one in a hundred. */
  private fit(): void {
    const [width, height] = this.size;
    const ends = [0, 1].map((k) => {
      const values = this.plane.xy.filter((v, i) => i % 2 === k && !Number.isNaN(v)).sort();
      const cut = Math.floor(values.length * 0.002);
      return [values[cut] ?? -1, values[values.length - 1 - cut] ?? 1] as [number, number];
    });
    const [[x0, x1], [y0, y1]] = ends as [[number, number], [number, number]];
    const scale = Math.min((width - 48) / Math.max(x1 - x0, 1e-6), (height - 48) / Math.max(y1 - y0, 1e-6));
    this.camera = this.fitted = { x: (x0 + x1) / 2, y: (y0 + y1) / 2, scale: Math.max(scale, 1e-9) };
  }

  // Places on the screen, in CSS pixels.
  private toScreen(x: number, y: number): [number, number] {
    const [width, height] = this.size;
    return [width / 2 + (x - this.camera.x) * this.camera.scale, height / 2 - (y - this.camera.y) * this.camera.scale];
  }

  private toPlane(u: number, v: number): [number, number] {
    const [width, height] = this.size;
    return [this.camera.x + (u - width / 2) / this.camera.scale, this.camera.y - (v - height / 2) / this.camera.scale];
  }

  private placeOnScreen(): [number, number] {
    if (!this.decode) return [-1e6, -1e6];
    const { z, datum } = this.store.view.place;
    return this.toScreen(...this.plane.to(z, datum));
  }

  private paintAll(): void {
    const { width, height } = this.points;
    if (!width || !height) return;
    const context = this.points.getContext("2d", { willReadFrequently: true })!;
    const [w, h_] = this.size;
    const { scale } = this.camera;
    const ratio = width / w;
    for (let i = 0; i < this.scene.n; i++) {
      this.discs.xy[2 * i] = (w / 2 + (this.plane.xy[2 * i]! - this.camera.x) * scale) * ratio;
      this.discs.xy[2 * i + 1] = (h_ / 2 - (this.plane.xy[2 * i + 1]! - this.camera.y) * scale) * ratio;
    }
    const zoom = Math.max(1, scale / this.fitted.scale);
    const base = this.scene.n > 4000 ? 2 : this.scene.n > 800 ? 2.8 : 3.8;
    const radius = Math.min(9, base * zoom ** 0.35) * ratio;
    if (this.ground.there) {
      context.fillStyle = css("--background");
      context.fillRect(0, 0, width, height);
      this.ground.paint(context, this.camera, this.size, ratio);
      this.image = context.getImageData(0, 0, width, height);
      paintDiscs(this.image, this.rims(), radius + 1.6 * ratio);
    } else {
      if (!this.image || this.image.width !== width || this.image.height !== height) this.image = context.createImageData(width, height);
      new Uint32Array(this.image.data.buffer).fill(this.empty);
    }
    paintDiscs(this.image, this.discs, radius);
    context.putImageData(this.image, 0, 0);
    this.paintOver();
  }

  /** What sets the points apart from a ground of pictures: the page's own colour around each that is not hidden. */
  private rims(): Discs {
    const ground = parse(css("--background"));
    const colours = Uint8Array.from({ length: 3 * this.discs.n }, (_, i) => ground[i % 3]!);
    return { ...this.discs, colours, alpha: this.discs.alpha.map((a) => (a > 20 ? 210 : 0)) };
  }

  /** The place, the places kept, the way between them, and the point under the pointer. */
  private paintOver(): void {
    const context = this.over.getContext("2d")!;
    const ratio = this.over.width / (this.size[0] || 1);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, ...this.size);
    const { view } = this.store;
    const [text, ground, accent] = [css("--text"), css("--background"), css("--accent")];
    const ring = (x: number, y: number, radius: number, colour: string, width: number): void => {
      for (const [style, w] of [[ground, width + 3], [colour, width]] as const) {
        context.strokeStyle = style;
        context.lineWidth = w;
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.stroke();
      }
    };
    context.fillStyle = accent;
    for (const z of view.cloud) {
      const [x, y] = this.toScreen(...this.plane.to(z, null));
      context.globalAlpha = 0.75;
      context.fillRect(x - 4, y - 0.75, 8, 1.5);
      context.fillRect(x - 0.75, y - 4, 1.5, 8);
    }
    context.globalAlpha = 1;
    if (view.panel === "journeys" && (view.journey === "line" || view.journey === "sum")) {
      const slots: Slot[] = view.journey === "line" ? ["a", "b"] : ["a", "b", "c"];
      const at = slots.map((s) => this.toScreen(...this.plane.to(view.slots[s].z, view.slots[s].datum)));
      context.setLineDash([5, 5]);
      for (const [style, width] of [[ground, 4], [text, 1.5]] as const) {
        context.strokeStyle = style;
        context.lineWidth = width;
        context.beginPath();
        context.moveTo(...at[0]!);
        context.lineTo(...at[1]!);
        if (at[2]) {
          context.moveTo(...at[2]);
          context.lineTo(...this.placeOnScreen());
        }
        context.stroke();
      }
      context.setLineDash([]);
      context.font = "600 12px system-ui, sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      slots.forEach((s, i) => {
        const [x, y] = at[i]!;
        context.fillStyle = text;
        context.beginPath();
        context.arc(x, y, 10, 0, 2 * Math.PI);
        context.fill();
        context.fillStyle = ground;
        context.fillText(s.toUpperCase(), x, y + 0.5);
      });
    }
    for (const i of new Set([this.hovered, this.focused]))
      if (i !== null) ring(...this.toScreen(this.plane.xy[2 * i]!, this.plane.xy[2 * i + 1]!), 7, text, 1.5);
    if (!this.decode) return;
    const [x, y] = this.placeOnScreen();
    ring(x, y, 11, accent, 3);
    context.fillStyle = accent;
    context.beginPath();
    context.arc(x, y, 2.5, 0, 2 * Math.PI);
    context.fill();
  }

  private nearest(u: number, v: number): number | null {
    const [x, y] = this.toPlane(u, v);
    let [best, at] = [(NEAR / this.camera.scale) ** 2, -1];
    for (let i = 0; i < this.scene.n; i++) {
      const d = (this.plane.xy[2 * i]! - x) ** 2 + (this.plane.xy[2 * i + 1]! - y) ** 2;
      if (d < best && this.discs.alpha[i]! > 20) [best, at] = [d, i];
    }
    return at < 0 ? null : at;
  }

  /** What is said of a datum: its name, its class, and what it is coloured by. */
  describe(i: number): string[] {
    return [this.scene.name(i), ...this.tint.describe(i)];
  }

  private hover(i: number | null): void {
    if (i === this.hovered) return;
    this.hovered = i;
    this.over.style.cursor = i === null ? "" : "pointer";
    this.tip.hidden = i === null;
    if (i !== null) this.showTip(i);
    this.overSoon();
  }

  private showTip(i: number): void {
    const { tip, scene } = this;
    tip.textContent = "";
    if (!scene.table) tip.append(picture(scene, scene.datum(i), scene.name(i)));
    const lines = this.describe(i);
    tip.append(h("div", {}, h("strong", {}, lines[0]!), lines.slice(1).map((l) => h("div", {}, l))));
    tip.hidden = false;
    const [x, y] = this.toScreen(this.plane.xy[2 * i]!, this.plane.xy[2 * i + 1]!);
    const [width, height] = this.size;
    const left = x + 16 + tip.offsetWidth > width ? x - 16 - tip.offsetWidth : x + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(height - tip.offsetHeight - 4, y - tip.offsetHeight / 2))}px`;
  }

  /** Goes to a datum, and keeps it where a slot waits for one. */
  choose(i: number, slot: Slot | null = this.store.view.armed): void {
    if (!this.decode) {
      this.focus(i);
      return;
    }
    const place = placeOf(this.scene, i);
    if (slot) this.store.set({ slots: { ...this.store.view.slots, [slot]: place } });
    this.store.go(place);
    say(`${slot ? `${slot.toUpperCase()} is ` : ""}${this.describe(i).join(", ")}`);
  }

  private goTo(u: number, v: number): void {
    if (!this.decode) return;
    const { place } = this.store.view;
    this.store.go({ z: this.plane.from(...this.toPlane(u, v), place.z), y: place.y, datum: null });
  }

  private zoom(factor: number, u = this.size[0] / 2, v = this.size[1] / 2): void {
    const before = this.toPlane(u, v);
    const limits = [this.fitted.scale / 4, this.fitted.scale * 60] as const;
    this.camera.scale = Math.min(limits[1], Math.max(limits[0], this.camera.scale * factor));
    this.camera = { ...this.camera };
    const after = this.toPlane(u, v);
    this.camera.x += before[0] - after[0];
    this.camera.y += before[1] - after[1];
    this.view();
  }

  private view(): void {
    this.tip.hidden = true;
    this.paintSoon();
    this.backdropSoon();
  }

  private backdropSoon(): void {
    this.ground.soon(() => ({ view: this.store.view, plane: this.plane, camera: this.camera, size: this.size }));
  }

  private listen(): void {
    const { over } = this;
    const at = (e: PointerEvent | WheelEvent): [number, number] => {
      const box = over.getBoundingClientRect();
      return [e.clientX - box.left, e.clientY - box.top];
    };
    over.addEventListener("pointerdown", (e) => {
      const [x, y] = at(e);
      this.pointers.set(e.pointerId, { x, y });
      try {
        over.setPointerCapture(e.pointerId);
      } catch {
        // A pointer that has gone already can't be held.
      }
      this.moved = 0;
      const [px, py] = this.placeOnScreen();
      this.dragging = this.pointers.size > 1 ? "pinch" : Math.hypot(px - x, py - y) < HANDLE ? "place" : "pan";
    });
    over.addEventListener("pointermove", (e) => {
      const [x, y] = at(e);
      const before = this.pointers.get(e.pointerId);
      if (!before) {
        const [px, py] = this.placeOnScreen();
        const near = this.nearest(x, y);
        this.hover(near);
        if (near === null) over.style.cursor = Math.hypot(px - x, py - y) < HANDLE ? "move" : "";
        return;
      }
      this.moved += Math.hypot(x - before.x, y - before.y);
      if (this.dragging === "place" && this.moved > 3) {
        this.hover(null);
        this.goTo(x, y);
      } else if (this.dragging === "pan" && this.moved > 3) {
        this.hover(null);
        this.camera = { ...this.camera, x: this.camera.x - (x - before.x) / this.camera.scale, y: this.camera.y + (y - before.y) / this.camera.scale };
        this.view();
      } else if (this.dragging === "pinch") {
        const other = [...this.pointers.entries()].find(([id]) => id !== e.pointerId)![1];
        const [was, is] = [Math.hypot(before.x - other.x, before.y - other.y), Math.hypot(x - other.x, y - other.y)];
        if (was > 0) this.zoom(is / was, (x + other.x) / 2, (y + other.y) / 2);
      }
      this.pointers.set(e.pointerId, { x, y });
    });
    const up = (e: PointerEvent): void => {
      const known = this.pointers.delete(e.pointerId);
      if (known && e.type === "pointerup" && this.moved <= 3 && this.dragging !== "pinch") {
        const [x, y] = at(e);
        const i = this.nearest(x, y);
        if (i !== null) this.choose(i, e.shiftKey ? "b" : e.altKey ? "c" : this.store.view.armed);
        else this.goTo(x, y);
      }
      if (this.pointers.size === 0) this.dragging = null;
      else this.moved = 99;
    };
    over.addEventListener("pointerup", up);
    over.addEventListener("pointercancel", up);
    over.addEventListener("pointerleave", () => this.pointers.size === 0 && this.hover(null));
    over.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0015)), ...at(e));
    }, { passive: false });
    over.addEventListener("dblclick", (e) => e.preventDefault());
    over.addEventListener("keydown", (e) => this.key(e));
    over.addEventListener("blur", () => {
      this.focused = null;
      this.tip.hidden = true;
      this.overSoon();
    });
  }

  private key(e: KeyboardEvent): void {
    const arrows: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[e.key];
    if (e.ctrlKey || e.metaKey) return;
    if (arrow && e.shiftKey) {
      const [x, y] = this.placeOnScreen();
      this.goTo(x + 12 * arrow[0], y + 12 * arrow[1]);
    } else if (arrow) this.step(...arrow);
    else if (e.key === "Enter" || e.key === " ") {
      if (this.focused !== null) this.choose(this.focused);
    } else if (/^[abc]$/i.test(e.key) && this.decode) this.choose(this.focused ?? this.scene.nearest(this.store.view.place.z), e.key.toLowerCase() as Slot);
    else if (e.key === "+" || e.key === "=") this.zoom(1.4);
    else if (e.key === "-") this.zoom(1 / 1.4);
    else if (e.key === "0") {
      this.camera = this.fitted;
      this.view();
      say("All data");
    } else return;
    e.preventDefault();
  }

  zoomBy(factor: number): void {
    this.zoom(factor);
  }

  fitAll(): void {
    this.camera = this.fitted;
    this.view();
  }

  /** From the datum in focus to the next one in a direction. */
  private step(dx: number, dy: number): void {
    const from = this.focused ?? this.store.view.place.datum ?? (this.decode ? this.scene.nearest(this.store.view.place.z) : 0);
    if (this.focused === null) {
      this.focus(from);
      return;
    }
    const xy = (i: number): [number, number] => this.toScreen(this.plane.xy[2 * i]!, this.plane.xy[2 * i + 1]!);
    const [x, y] = xy(from);
    let [best, found] = [Infinity, from];
    for (let i = 0; i < this.scene.n; i++) {
      const [u, v] = xy(i);
      const along = (u - x) * dx + (v - y) * dy;
      const across = Math.abs((u - x) * dy) + Math.abs((v - y) * dx);
      // A step goes on, not aside; what lies on top of the datum is left out.
      if (!(along > 1.5)) continue;
      const cost = along + 2.5 * across;
      if (cost < best) [best, found] = [cost, i];
    }
    this.focus(found);
  }

  private focus(i: number): void {
    this.focused = i;
    const [x, y] = this.toScreen(this.plane.xy[2 * i]!, this.plane.xy[2 * i + 1]!);
    const [width, height] = this.size;
    if (x < 20 || y < 20 || x > width - 20 || y > height - 20) {
      this.camera = { ...this.camera, x: this.plane.xy[2 * i]!, y: this.plane.xy[2 * i + 1]! };
      this.view();
    }
    this.showTip(i);
    this.overSoon();
    say(this.describe(i).join(", "));
  }
}

/** The same order each time, and no class on top. */
function shuffle(order: Uint32Array): void {
  let state = 1;
  for (let i = order.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const j = state % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
}

