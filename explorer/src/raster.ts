/** Discs painted into the bytes of an image: many thousand a frame, also where no graphics card helps. */

export interface Discs {
  /** Centres in pixels, x at 2i and y at 2i + 1. */
  xy: Float32Array;
  /** Colours as bytes, three a disc. */
  colours: Uint8Array;
  /** Which disc is painted when; those that come later lie on top. */
  order: Uint32Array;
  /** How opaque each is, 0 to 255. */
  alpha: Uint8Array;
  n: number;
}

/** How much of each pixel around a disc's centre is covered, for four by four places of the centre within its pixel. */
const masks = new Map<number, { size: number; cover: Uint8Array[] }>();
const PLACES = 4;

function masksOf(radius: number): { size: number; cover: Uint8Array[] } {
  const key = Math.round(radius * 8);
  const known = masks.get(key);
  if (known) return known;
  const size = 2 * Math.ceil(radius + 1) + 1;
  const middle = (size - 1) / 2;
  const cover: Uint8Array[] = [];
  for (let v = 0; v < PLACES; v++)
    for (let u = 0; u < PLACES; u++) {
      const mask = new Uint8Array(size * size);
      for (let y = 0; y < size; y++)
        for (let x = 0; x < size; x++) {
          const d = Math.hypot(x - middle - (u + 0.5) / PLACES + 0.5, y - middle - (v + 0.5) / PLACES + 0.5);
          mask[y * size + x] = Math.round(255 * Math.min(1, Math.max(0, radius + 0.5 - d)));
        }
      cover.push(mask);
    }
  const made = { size, cover };
  masks.set(key, made);
  return made;
}

/** Paints over what `image` holds, whose alpha is left as it is where it is opaque and raised elsewhere. */
export function paintDiscs(image: ImageData, discs: Discs, radius: number): void {
  const { data, width, height } = image;
  const { size, cover } = masksOf(radius);
  const half = (size - 1) / 2;
  for (let k = 0; k < discs.n; k++) {
    const i = discs.order[k]!;
    const [x, y] = [discs.xy[2 * i]!, discs.xy[2 * i + 1]!];
    if (!(x > -size && y > -size && x < width + size && y < height + size)) continue;
    const [px, py] = [Math.floor(x), Math.floor(y)];
    const mask = cover[Math.floor((y - py) * PLACES) * PLACES + Math.floor((x - px) * PLACES)]!;
    const [r, g, b] = [discs.colours[3 * i]!, discs.colours[3 * i + 1]!, discs.colours[3 * i + 2]!];
    const opacity = discs.alpha[i]!;
    const [x0, x1] = [Math.max(0, half - px), Math.min(size, width - px + half)];
    const [y0, y1] = [Math.max(0, half - py), Math.min(size, height - py + half)];
    for (let v = y0; v < y1; v++)
      for (let u = x0, m = v * size + x0, at = 4 * ((py - half + v) * width + px - half + x0); u < x1; u++, m++, at += 4) {
        const a = (mask[m]! * opacity * 257) >> 16;
        if (a === 0) continue;
        const under = data[at + 3]!;
        if (under === 0) {
          data[at] = r;
          data[at + 1] = g;
          data[at + 2] = b;
          data[at + 3] = a;
          continue;
        }
        const rest = ((255 - a) * under) / 255;
        const whole = a + rest;
        data[at] = (r * a + data[at]! * rest) / whole;
        data[at + 1] = (g * a + data[at + 1]! * rest) / whole;
        data[at + 2] = (b * a + data[at + 2]! * rest) / whole;
        data[at + 3] = whole;
      }
  }
}
