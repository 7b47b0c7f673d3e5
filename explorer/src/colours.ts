/** Colours of points and pictures, told apart by the colour-blind too. */

export type Colour = [number, number, number];

// Okabe & Ito 2008, as show/plots/style.py has them.
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a1f", "#4d4d4d"];
const DARK = ["#56b4e9", "#e69f00", "#1fb88c", "#cc79a7", "#e8703a", "#3a86c8", "#f0e442", "#b8b8b8"];
// Ten classes are common: two more that stand apart from the eight in lightness.
const MORE_LIGHT = ["#a30059", "#7fc8a9", "#5b4a9e", "#b08968"];
const MORE_DARK = ["#ff9fcf", "#8fd694", "#a99cf0", "#c9a27e"];

// Points of viridis at equal steps (van der Walt & Smith 2015).
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];

export const parse = (hex: string): Colour => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)) as Colour;
export const hexOf = (c: Colour): string => `#${c.map((v) => Math.round(v).toString(16).padStart(2, "0")).join("")}`;

export const isDark = (): boolean => {
  const set = document.documentElement.dataset.theme;
  return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

export function category(k: number, dark: boolean): Colour {
  const names = dark ? [...DARK, ...MORE_DARK] : [...LIGHT, ...MORE_LIGHT];
  return parse(names[k % names.length]!);
}

const viridis = VIRIDIS.map(parse);

/** t in [0, 1]; the darkest end is left out on dark ground, the palest on light. */
export function graded(t: number, dark: boolean): Colour {
  const inside = Math.min(1, Math.max(0, t));
  const place = (dark ? 0.14 + 0.86 * inside : 0.94 * inside) * (viridis.length - 1);
  const i = Math.min(viridis.length - 2, Math.floor(place));
  const [a, b] = [viridis[i]!, viridis[i + 1]!];
  return [0, 1, 2].map((c) => a[c]! + (place - i) * (b[c]! - a[c]!)) as Colour;
}

/** From orange over grey-white to blue: a difference of −1, 0, 1. */
export function twoSided(t: number, dark: boolean): Colour {
  const middle: Colour = dark ? [28, 32, 38] : [246, 247, 249];
  const end = parse(t < 0 ? (dark ? "#e8703a" : "#d55e00") : dark ? "#56b4e9" : "#0072b2");
  const s = Math.min(1, Math.abs(t));
  return [0, 1, 2].map((c) => middle[c]! + s * (end[c]! - middle[c]!)) as Colour;
}

export const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
