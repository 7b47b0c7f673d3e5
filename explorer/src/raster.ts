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

/** The pixels that a disc covers, from that of its centre: how far across and down, and how much of each, 0 to 255. */
interface Mask {
  dx: Int32Array;
  dy: Int32Array;
  cover: Uint8Array;
}

/** A disc's masks for four by four places of the centre within its pixel, and how far they reach. */
const PLACES = 4;
const known = new Map<number, { reach: number; masks: Mask[] }>();

function masksOf(radius: number): { reach: number; masks: Mask[] } {
  const key = Math.round(radius * 8);
  const found = known.get(key);
  if (found) return found;
  const reach = Math.ceil(radius + 1);
  const masks: Mask[] = [];
  for (let v = 0; v < PLACES; v++)
    for (let u = 0; u < PLACES; u++) {
      const covered: [number, number, number][] = [];
      for (let y = -reach; y <= reach; y++)
        for (let x = -reach; x <= reach; x++) {
          const distance = Math.hypot(x - (u + 0.5) / PLACES + 0.5, y - (v + 0.5) / PLACES + 0.5);
          const cover = Math.round(255 * Math.min(1, Math.max(0, radius + 0.5 - distance)));
          if (cover > 0) covered.push([x, y, cover]);
        }
      masks.push({ dx: Int32Array.from(covered, (c) => c[0]), dy: Int32Array.from(covered, (c) => c[1]), cover: Uint8Array.from(covered, (c) => c[2]) });
    }
  const made = { reach, masks };
  known.set(key, made);
  return made;
}

/** Paints over what `image` holds, all of which is opaque. */
export function paintDiscs(image: ImageData, discs: Discs, radius: number): void {
  const { width, height } = image;
  // Unlike the image's own array, this one need not check each value's range.
  const data = new Uint8Array(image.data.buffer);
  const { reach, masks } = masksOf(radius);
  for (let k = 0; k < discs.n; k++) {
    const i = discs.order[k]!;
    const x = discs.xy[2 * i]!;
    const y = discs.xy[2 * i + 1]!;
    if (!(x > -reach && y > -reach && x < width + reach && y < height + reach)) continue;
    const px = Math.floor(x);
    const py = Math.floor(y);
    const { dx, dy, cover } = masks[Math.floor((y - py) * PLACES) * PLACES + Math.floor((x - px) * PLACES)]!;
    const r = discs.colours[3 * i]!;
    const g = discs.colours[3 * i + 1]!;
    const b = discs.colours[3 * i + 2]!;
    const opacity = discs.alpha[i]! + 1;
    const inside = px >= reach && py >= reach && px < width - reach && py < height - reach;
    for (let m = 0; m < cover.length; m++) {
      const u = px + dx[m]!;
      const v = py + dy[m]!;
      if (!inside && (u < 0 || v < 0 || u >= width || v >= height)) continue;
      const at = 4 * (v * width + u);
      const a = (cover[m]! * opacity) >> 8;
      const rest = 255 - a;
      // (v + 1 + v / 256) / 256 is v / 255, to the nearest byte.
      const red = r * a + data[at]! * rest + 127;
      const green = g * a + data[at + 1]! * rest + 127;
      const blue = b * a + data[at + 2]! * rest + 127;
      data[at] = (red + 1 + (red >> 8)) >> 8;
      data[at + 1] = (green + 1 + (green >> 8)) >> 8;
      data[at + 2] = (blue + 1 + (blue >> 8)) >> 8;
    }
  }
}
