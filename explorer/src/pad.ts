/** A pad to draw an image on, in the image's own pixels: by mouse, finger, pen, or keys. */

import { css } from "./colours";
import { h, say } from "./dom";
import { draw, pictureSize } from "./pictures";
import type { Scene } from "./scene";

export class Pad {
  readonly canvas: HTMLCanvasElement;
  readonly element: HTMLElement;
  x: Float64Array;
  brush: number;
  colour: [number, number, number] = [1, 1, 1];
  erasing = false;
  private cursor: [number, number] | null = null;
  private readonly mark = h("span", { class: "cursor", hidden: true });

  constructor(private readonly scene: Scene, private readonly changed: () => void) {
    const [width, height] = pictureSize(scene);
    this.brush = Math.max(0.7, width / 28);
    this.x = this.empty();
    this.canvas = h("canvas", {
      class: "picture pad", tabindex: "0", role: "application", id: "pad",
      "aria-label": "Drawing pad. Draw with the pointer; or move with the arrow keys and paint with the space bar.",
    });
    [this.canvas.width, this.canvas.height] = [width, height];
    this.element = h("div", { class: "padframe" }, this.canvas, this.mark);
    this.listen();
    this.paint();
  }

  private empty(): Float64Array {
    return new Float64Array(this.scene.size).fill(this.scene.range[0]);
  }

  clear(): void {
    this.set(this.empty());
  }

  /** An image, of which what is not a number is missing until it is painted over. */
  set(x: ArrayLike<number>): void {
    this.x = Float64Array.from(x);
    this.paint();
    this.changed();
  }

  paint(): void {
    draw(this.canvas, this.scene, this.x);
  }

  /** A soft dot with its centre in pixels. */
  private dot(u: number, v: number): void {
    const [channels, height, width] = this.scene.imageShape;
    const [low, high] = this.scene.range;
    const r = this.brush;
    for (let y = Math.max(0, Math.floor(v - r - 1)); y <= Math.min(height - 1, Math.ceil(v + r + 1)); y++)
      for (let x = Math.max(0, Math.floor(u - r - 1)); x <= Math.min(width - 1, Math.ceil(u + r + 1)); x++) {
        const cover = Math.min(1, Math.max(0, r + 0.5 - Math.hypot(x + 0.5 - u, y + 0.5 - v)));
        if (cover === 0) continue;
        for (let c = 0; c < channels; c++) {
          const at = (c * height + y) * width + x;
          const ink = this.erasing ? low : low + (channels === 1 ? 1 : this.colour[c % 3]!) * (high - low);
          // A single colour never grows thinner by a second stroke.
          const before = Number.isNaN(this.x[at]) ? low : this.x[at]!;
          const next = before + cover * (ink - before);
          this.x[at] = channels === 1 && !this.erasing ? Math.max(before, low + cover * (high - low)) : next;
        }
      }
  }

  /** A stroke between two places in pixels. */
  stroke(a: [number, number], b: [number, number]): void {
    const steps = Math.max(1, Math.ceil((3 * Math.hypot(b[0] - a[0], b[1] - a[1])) / this.brush));
    for (let i = 0; i <= steps; i++) this.dot(a[0] + ((b[0] - a[0]) * i) / steps, a[1] + ((b[1] - a[1]) * i) / steps);
    this.paint();
    this.changed();
  }

  private listen(): void {
    const { canvas } = this;
    let last: [number, number] | null = null;
    const at = (e: PointerEvent): [number, number] => {
      const box = canvas.getBoundingClientRect();
      return [((e.clientX - box.left) / box.width) * canvas.width, ((e.clientY - box.top) / box.height) * canvas.height];
    };
    canvas.addEventListener("pointerdown", (e) => {
      canvas.setPointerCapture(e.pointerId);
      last = at(e);
      this.stroke(last, last);
    });
    canvas.addEventListener("pointermove", (e) => {
      if (!last) return;
      for (const each of e.getCoalescedEvents?.() ?? [e]) {
        const next = at(each);
        this.stroke(last, next);
        last = next;
      }
    });
    for (const name of ["pointerup", "pointercancel"] as const) canvas.addEventListener(name, () => (last = null));
    canvas.addEventListener("keydown", (e) => this.key(e));
    canvas.addEventListener("blur", () => (this.mark.hidden = true));
  }

  private key(e: KeyboardEvent): void {
    const arrows: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const [width, height] = [this.canvas.width, this.canvas.height];
    const arrow = arrows[e.key];
    const now = (this.cursor ??= [Math.floor(width / 2), Math.floor(height / 2)]);
    if (arrow) {
      const next: [number, number] = [Math.min(width - 1, Math.max(0, now[0] + arrow[0])), Math.min(height - 1, Math.max(0, now[1] + arrow[1]))];
      // With Shift the cursor paints as it goes.
      if (e.shiftKey) this.stroke([now[0] + 0.5, now[1] + 0.5], [next[0] + 0.5, next[1] + 0.5]);
      this.cursor = next;
      say(`${next[0] + 1}, ${next[1] + 1}`);
    } else if (e.key === " ") this.stroke([now[0] + 0.5, now[1] + 0.5], [now[0] + 0.5, now[1] + 0.5]);
    else if (e.key === "Delete" || e.key === "Backspace") this.clear();
    else return;
    e.preventDefault();
    const [x, y] = this.cursor;
    Object.assign(this.mark.style, { left: `${(100 * x) / width}%`, top: `${(100 * y) / height}%`, width: `${100 / width}%`, height: `${100 / height}%`, borderColor: css("--accent") });
    this.mark.hidden = false;
  }
}

/** An image file as the data's images are: fitted in, its colours as they have them. */
export async function imageFrom(scene: Scene, file: Blob): Promise<Float64Array> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("This is no image that the browser can read; PNG, JPEG, WebP and GIF are.");
  }
  const [channels, height, width] = scene.imageShape;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.imageSmoothingQuality = "high";
  const scale = Math.min(width / bitmap.width, height / bitmap.height);
  const [w, h_] = [bitmap.width * scale, bitmap.height * scale];
  context.drawImage(halved(bitmap, w, h_), (width - w) / 2, (height - h_) / 2, w, h_);
  const { data } = context.getImageData(0, 0, width, height);
  const size = width * height;
  const grey = new Float32Array(size);
  let edge = 0;
  let edges = 0;
  for (let i = 0; i < size; i++) {
    const alpha = data[4 * i + 3]! / 255;
    grey[i] = (alpha * (0.299 * data[4 * i]! + 0.587 * data[4 * i + 1]! + 0.114 * data[4 * i + 2]!)) / 255;
    const [x, y] = [i % width, Math.floor(i / width)];
    if ((x === 0 || y === 0 || x === width - 1 || y === height - 1) && alpha > 0.5) {
      edge += grey[i]!;
      edges++;
    }
  }
  // Ink on paper where the data are light on dark, as digits are, is turned round.
  const turned = channels === 1 && darkEdges(scene) && edges > 0 && edge / edges > 0.6;
  const [low, high] = scene.range;
  return Float64Array.from({ length: scene.size }, (_, k) => {
    const [c, i] = [Math.floor(k / size), k % size];
    const alpha = data[4 * i + 3]! / 255;
    const v = channels === 1 ? (turned ? (alpha > 0 ? alpha - grey[i]! : 0) : grey[i]!) : (alpha * data[4 * i + (c % 3)]!) / 255;
    return low + v * (high - low);
  });
}

/** Halved until it is less than twice as large as it will be, so that no pixel is skipped. */
function halved(bitmap: ImageBitmap, width: number, height: number): CanvasImageSource {
  let source: ImageBitmap | HTMLCanvasElement = bitmap;
  while (source.width > 2 * width && source.height > 2 * height) {
    const next = document.createElement("canvas");
    [next.width, next.height] = [Math.ceil(source.width / 2), Math.ceil(source.height / 2)];
    next.getContext("2d")!.drawImage(source, 0, 0, next.width, next.height);
    source = next;
  }
  return source;
}

function darkEdges(scene: Scene): boolean {
  const [, height, width] = scene.imageShape;
  const [low, high] = scene.range;
  let [sum, n] = [0, 0];
  for (let i = 0; i < Math.min(scene.n, 50); i++) {
    const x = scene.datum(i);
    for (let u = 0; u < width; u++) {
      sum += (x[u]! - low) / (high - low) + (x[(height - 1) * width + u]! - low) / (high - low);
      n += 2;
    }
  }
  return sum / n < 0.35;
}
