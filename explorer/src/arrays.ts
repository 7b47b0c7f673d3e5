/** Arrays as they travel: base64 of little-endian values, in C order. */

export interface Arr {
  dtype: "float64" | "float32" | "float16" | "uint8" | "int32" | "bool";
  shape: number[];
  data: string;
}

export type Numbers = Float64Array | Float32Array | Int32Array | Uint8Array;

export function bytesOf(base64: string): Uint8Array {
  // Newer browsers have it built in.
  const built = (Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array }).fromBase64;
  if (built) return built.call(Uint8Array, base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** What the 65,536 half-precision numbers are as single-precision ones; made when first needed. */
let halves: Float32Array | null = null;

function halfTable(): Float32Array {
  const table = new Float32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const sign = h & 0x8000 ? -1 : 1;
    const exponent = (h >> 10) & 31;
    const fraction = h & 1023;
    if (exponent === 31) table[h] = fraction ? NaN : sign * Infinity;
    else if (exponent === 0) table[h] = sign * fraction * 2 ** -24;
    else table[h] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return table;
}

/** `count` values from byte `offset` on; halves become single-precision numbers, booleans bytes. */
export function numbersAt(bytes: Uint8Array, dtype: Arr["dtype"], offset: number, count: number): Numbers {
  const start = bytes.byteOffset + offset;
  // A typed array has to begin at a multiple of its width; a copy always does.
  const copy = (width: number): ArrayBuffer => bytes.slice(offset, offset + width * count).buffer as ArrayBuffer;
  switch (dtype) {
    case "float64":
      return new Float64Array(copy(8));
    case "float32":
      return start % 4 ? new Float32Array(copy(4)) : new Float32Array(bytes.buffer, start, count);
    case "int32":
      return start % 4 ? new Int32Array(copy(4)) : new Int32Array(bytes.buffer, start, count);
    case "float16": {
      const table = (halves ??= halfTable());
      const raw = new Uint16Array(copy(2));
      return Float32Array.from(raw, (h) => table[h]!);
    }
    default:
      return bytes.slice(offset, offset + count);
  }
}

export function numbersOf(array: Arr): Numbers {
  const count = array.shape.reduce((a, b) => a * b, 1);
  return numbersAt(bytesOf(array.data), array.dtype, 0, count);
}
