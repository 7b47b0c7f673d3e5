/** Several data side by side: pictures, or for a table its columns line by line. */

import type { App, Shown } from "./app";
import { h } from "./dom";
import { picture, saveAll } from "./pictures";
import { comparison } from "./rows";

export interface Frame {
  shown: Shown;
  name: string;
  /** What a click on it does. */
  go?: () => void;
  selected?: boolean;
}

/** Of tables so many stand side by side; more are too many to read. */
const ROWS = 5;

export function film(app: App, frames: Frame[], title: string, size: "small" | "large" = "small"): HTMLElement {
  const { scene } = app;
  if (scene.table) {
    const step = Math.max(1, Math.ceil(frames.length / ROWS));
    const some = frames.filter((_, i) => i % step === 0 || (i === frames.length - 1 && step > 1));
    return comparison(scene, some.map((f) => f.shown), some.map((f) => f.name), title);
  }
  const items = frames.map((f) => ({ canvas: picture(scene, f.shown.x, f.name || title), frame: f }));
  const frames_ = h("div", { class: "frames" });
  frames_.style.setProperty("--n", String(frames.length));
  frames_.append(
      ...items.map(({ canvas, frame }) => {
        const inside = [canvas, frame.name ? h("span", { class: "caption" }, frame.name) : null];
        return frame.go
          ? h("button", { type: "button", class: "frame", "aria-label": frame.name || title, "aria-pressed": frame.selected === undefined ? null : String(frame.selected), onclick: frame.go }, inside)
          : h("span", { class: "frame" }, inside);
      }),
  );
  return h(
    "div", { class: `film ${frames.length <= 11 ? "small" : size}` }, frames_,
    h("button", { type: "button", class: "quiet", onclick: () => saveAll(items.map((i) => ({ canvas: i.canvas, name: i.frame.name })), size === "large" ? 8 : 12, title) }, "Save PNG"),
  );
}
