/** Light or dark, as the browser wants it, or as it was chosen on the page. */

import { isDark } from "./colours";
import { h } from "./dom";

export function themeSwitch(retint: () => void): HTMLElement {
  const root = document.documentElement;
  try {
    const kept = localStorage.getItem("vaekit theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch {
    // A page from a file may have no storage.
  }
  const button = h("button", { type: "button", class: "quiet", onclick: () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("vaekit theme", root.dataset.theme);
    } catch {
      // Then it is forgotten.
    }
    name();
    retint();
  } });
  const name = (): void => void (button.textContent = isDark() ? "Light" : "Dark");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    name();
    retint();
  });
  name();
  return button;
}
