/** Data as pictures on canvases. */

import { css, isDark, twoSided } from "./colours";
import { complain, h } from "./dom";
import type { Scene } from "./scene";

const scratch = document.createElement("canvas");

/** The size of a picture in its own pixels: an image's, or room for the line of a vector. */
export function pictureSize(scene: Scene): [number, number] {
  if (!scene.images) return [120, 80];
  const [, height, width] = scene.imageShape;
  return [width, height];
}

/** Paints an image's pixels; a missing one is transparent. `signed` paints differences, of which `range` is the largest. */
function pixels(scene: Scene, x: ArrayLike<number>, signed: number | null): ImageData {
  const [channels, height, width] = scene.imageShape;
  const out = new ImageData(width, height);
  const [low, high] = scene.range;
  const size = width * height;
  const dark = isDark();
  for (let i = 0; i < size; i++) {
    const at = 4 * i;
    if (signed !== null) {
      let difference = 0;
      for (let c = 0; c < channels; c++) difference += x[c * size + i]! / channels;
      const colour = twoSided(difference / signed, dark);
      for (let c = 0; c < 3; c++) out.data[at + c] = colour[c]!;
      out.data[at + 3] = Number.isNaN(difference) ? 0 : 255;
      continue;
    }
    for (let c = 0; c < 3; c++) {
      // Two channels are shown as red and green; one as grey.
      const v = channels === 1 ? x[i]! : c < channels ? x[c * size + i]! : low;
      out.data[at + c] = (255 * (v - low)) / (high - low || 1);
    }
    out.data[at + 3] = Number.isNaN(x[i]!) ? 0 : 255;
  }
  return out;
}

/** A line of a vector's numbers over where the data lie. */
function line(context: CanvasRenderingContext2D, scene: Scene, x: ArrayLike<number>, width: number, height: number): void {
  const [low, high] = limits(scene);
  context.clearRect(0, 0, width, height);
  context.strokeStyle = css("--accent");
  context.lineWidth = Math.max(1, height / 60);
  context.lineJoin = "round";
  context.beginPath();
  for (let i = 0; i < x.length; i++) {
    const u = (width * (i + 0.5)) / x.length;
    const v = height * (0.95 - (0.9 * (x[i]! - low)) / (high - low || 1));
    if (i === 0 || Number.isNaN(x[i - 1]!)) context.moveTo(u, v);
    else context.lineTo(u, v);
  }
  context.stroke();
}

let vectorLimits: [number, number] | null = null;
function limits(scene: Scene): [number, number] {
  if (vectorLimits) return vectorLimits;
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < scene.n; i++)
    for (let j = 0; j < scene.size; j++) {
      const v = scene.cell(i, j);
      if (v < low) low = v;
      if (v > high) high = v;
    }
  return (vectorLimits = [low, high]);
}

export function draw(canvas: HTMLCanvasElement, scene: Scene, x: ArrayLike<number>, signed: number | null = null): void {
  const context = canvas.getContext("2d")!;
  if (scene.images) {
    const data = pixels(scene, x, signed);
    if (canvas.width !== data.width || canvas.height !== data.height) [canvas.width, canvas.height] = [data.width, data.height];
    context.putImageData(data, 0, 0);
  } else line(context, scene, x, canvas.width, canvas.height);
}

/** A canvas that shows a datum, of its own pixels; CSS makes it as large as it should be. */
export function picture(scene: Scene, x: ArrayLike<number>, label: string, signed: number | null = null): HTMLCanvasElement {
  const [width, height] = pictureSize(scene);
  const canvas = h("canvas", { class: "picture", role: "img", "aria-label": label });
  const scale = scene.images ? 1 : 2;
  [canvas.width, canvas.height] = [width * scale, height * scale];
  draw(canvas, scene, x, signed);
  return canvas;
}

/** Paints a datum into a part of another canvas. */
export function paint(context: CanvasRenderingContext2D, scene: Scene, x: ArrayLike<number>, left: number, top: number, width: number, height: number): void {
  [scratch.width, scratch.height] = scene.images ? pictureSize(scene) : [Math.ceil(width), Math.ceil(height)];
  draw(scratch, scene, x);
  context.imageSmoothingEnabled = width < scratch.width;
  context.drawImage(scratch, left, top, width, height);
}

/** Small pictures side by side on one canvas. */
export function strip(scene: Scene, rows: ArrayLike<number>[], label: string): HTMLCanvasElement {
  const [width, height] = pictureSize(scene);
  const canvas = h("canvas", { class: "picture strip", role: "img", "aria-label": label });
  const gap = Math.max(1, Math.round(width / 16));
  [canvas.width, canvas.height] = [(width + gap) * rows.length - gap, height];
  const context = canvas.getContext("2d")!;
  rows.forEach((x, i) => {
    const left = i * (width + gap);
    if (scene.images) context.putImageData(pixels(scene, x, null), left, 0);
    else paint(context, scene, x, left, 0, width, height);
  });
  return canvas;
}

function download(canvas: HTMLCanvasElement, name: string): void {
  canvas.toBlob((blob) => {
    if (!blob) return complain("This browser can't make a picture so large.");
    const url = URL.createObjectURL(blob);
    const link = h("a", { href: url, download: `${name.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60) || "picture"}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
}

/** Pictures in a row or several, with their names beneath, as one PNG. */
export function saveAll(items: { canvas: HTMLCanvasElement; name: string }[], columns: number, name: string): void {
  if (items.length === 0) return;
  const first = items[0]!.canvas;
  const scale = Math.max(1, Math.ceil(160 / first.height));
  const [width, height] = [first.width * scale, first.height * scale];
  const gap = 12;
  const caption = items.some((i) => i.name) ? 24 : 0;
  const out = document.createElement("canvas");
  const across = Math.min(columns, items.length);
  out.width = gap + across * (width + gap);
  out.height = gap + Math.ceil(items.length / across) * (height + caption + gap);
  const context = out.getContext("2d")!;
  context.fillStyle = css("--background");
  context.fillRect(0, 0, out.width, out.height);
  context.imageSmoothingEnabled = false;
  context.fillStyle = css("--text");
  context.font = "14px system-ui, sans-serif";
  context.textAlign = "center";
  items.forEach((item, i) => {
    const left = gap + (i % across) * (width + gap);
    const top = gap + Math.floor(i / across) * (height + caption + gap);
    context.drawImage(item.canvas, left, top, width, height);
    context.fillText(item.name, left + width / 2, top + height + 17, width);
  });
  download(out, name);
}

/** One canvas as it is, on the page's ground; images enlarged to whole multiples. */
export function save(canvas: HTMLCanvasElement, name: string): void {
  const scale = Math.max(1, Math.ceil(400 / canvas.height));
  const out = document.createElement("canvas");
  [out.width, out.height] = [canvas.width * scale, canvas.height * scale];
  const context = out.getContext("2d")!;
  context.fillStyle = css("--background");
  context.fillRect(0, 0, out.width, out.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, out.width, out.height);
  download(out, name);
}
