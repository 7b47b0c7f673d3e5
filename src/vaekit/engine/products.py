"""Products of matrices in C, for use among loops.

A library's products of a small model's step take a quarter longer: they are called from Python, one by one, for a few
hundred rows each. Here a tile of the result is kept in registers while a row of the one factor meets a column of
the other (Goto & van de Geijn 2008), which reaches what the processor can do where both fit its caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch.fx import Node

TILES = {"AVX512": (16, 8, 3), "AVX2": (8, 4, 3)}
"""Of processors, as torch calls them: the numbers in a register, and the rows of a tile and the registers that a row
takes. All of them, those of a row of the other factor and one for a number are to be no more than there are."""
LEAST = 8
"""Rows and columns, and half of the depth, below which a library is faster."""
MOST = 2**31
"""Multiplications above which a library is faster, which makes better use of all the caches."""

TYPE = (
    "typedef void product_of(int64_t, int64_t, int64_t, const float *, int64_t, int64_t, const float *, int64_t,"
    " int64_t, float *, const float *, int);"
)

SOURCE = r"""
#define DEPTH 1024 /* of a panel, so that it stays in the cache */
#define BLOCK 131072 /* numbers of A that stay in the cache */
#define SMALL 262144 /* multiplications below which one thread makes a product */
typedef float vector __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t places __attribute__((vector_size(4 * LANES)));

TILES

/* What a tile's sums become: added to what is there, or else to the bias, and rectified. */
static void finish(const float *sums, int64_t rows, int64_t columns, int64_t width, float *c, int64_t c_row,
                   const float *bias, int first, int rectified) {
  for (int64_t i = 0; i < rows; i++, sums += width, c += c_row)
    for (int64_t j = 0; j < columns; j++) {
      const float x = sums[j] + (!first ? c[j] : bias ? bias[j] : 0);
      c[j] = rectified && x < 0 ? 0 : x;
    }
}

/* All rows of the product with a panel of some columns. */
static void down(int64_t rows, int64_t columns, int64_t vectors, int64_t depth, const float *a, int64_t a_row,
                 int64_t a_k, const float *b, int64_t b_k, float *c, int64_t c_row, const float *bias, int first,
                 int rectified) {
  float sums[ROWS * VECTORS * LANES];
  const int64_t width = vectors * LANES;
  const int whole = first && !bias && !rectified && columns == width;
  for (int64_t i = 0, n; i < rows; i += n, a += n * a_row, c += n * c_row) {
    const int high = rows - i >= ROWS ? 2 : rows - i >= ROWS / 2 ? 1 : 0;
    n = heights[high];
    tiles[high][vectors - 1](depth, a, a_row, a_k, b, b_k, whole ? c : sums, whole ? c_row : width);
    if (!whole) finish(sums, n, columns, width, c, c_row, bias, first, rectified);
  }
}

/* The panel row by row, filled up with zeros. */
static void pack(const float *b, int64_t b_k, int64_t b_column, int64_t depth, int64_t columns, int64_t width,
                 float *panel) {
  for (int64_t v = 0; v < width; v += LANES) {
    int64_t k = 0;
    if (b_k == 1 && v + LANES <= columns)
      for (; k + LANES <= depth; k += LANES)
        turn(b + v * b_column + k, b_column, panel + k * width + v, width);
    for (; k < depth; k++)
      for (int64_t j = v; j < v + LANES; j++) panel[k * width + j] = j < columns ? b[k * b_k + j * b_column] : 0;
  }
}

/* C = A B, + bias if there is one, rectified if wanted: C (rows, columns) row by row, A (rows, depth) and B (depth,
   columns) by their strides. A number is the same whatever the threads, each of which makes a block of C. */
void product(int64_t rows, int64_t columns, int64_t depth, const float *a, int64_t a_row, int64_t a_k, const float *b,
             int64_t b_k, int64_t b_column, float *c, const float *bias, int rectified) {
  const int64_t vectors = (columns + LANES - 1) / LANES;
  const int threads = rows * columns * depth < SMALL ? 1 : omp_get_max_threads();
  const int64_t packing = b_column != 1 ? 14 : 8; /* what a row of B takes, in rows of A */
  int64_t down_in = 1, least = INT64_MAX;
  for (int64_t n = 1; n <= threads; n++) {
    const int64_t high = (rows + n * ROWS - 1) / (n * ROWS) * ROWS, wide = (vectors + threads / n - 1) / (threads / n);
    if (threads % n == 0 && (high + packing) * wide < least) least = (high + packing) * wide, down_in = n;
  }
  #pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (int64_t t = 0; t < threads; t++) {
    const int64_t across_in = threads / down_in;
    const int64_t row = rows * (t % down_in) / down_in, end = rows * (t % down_in + 1) / down_in;
    const int64_t left = vectors * (t / down_in) / across_in, right = vectors * (t / down_in + 1) / across_in;
    const int64_t panels = (right - left + VECTORS - 1) / VECTORS;
    const int64_t high = BLOCK / min(DEPTH, depth) / ROWS * ROWS;
    float *panel = 0;
    for (int64_t top = row; top < end; top += high)
    for (int64_t k = 0; k < depth; k += DEPTH)
      for (int64_t p = 0; p < panels; p++) {
        const int64_t from = left + (right - left) * p / panels, to = left + (right - left) * (p + 1) / panels;
        const int64_t x = from * LANES, width = (to - from) * LANES, own = min(width, columns - x);
        const int64_t deep = min(DEPTH, depth - k);
        const float *part = b + k * b_k + x * b_column;
        int64_t step = b_k;
        if (b_column != 1 || own < width) {
          if (!panel) panel = malloc(min(DEPTH, depth) * VECTORS * LANES * sizeof(float));
          pack(part, b_k, b_column, deep, own, width, panel);
          part = panel, step = width;
        }
        down(min(high, end - top), own, to - from, deep, a + top * a_row + k * a_k, a_row, a_k, part, step,
             c + top * columns + x, columns, bias ? bias + x : 0, !k, rectified && k + deep == depth);
      }
    free(panel);
  }
}
"""


@dataclass(frozen=True)
class Matrix:
    """Where numbers are: in the memory of `base`, from `offset` on, by `strides`."""

    base: Node
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """A product a b (+ bias) of float32 matrices, of (rows, columns, depth), perhaps rectified."""

    sizes: tuple[int, int, int]
    a: Matrix
    b: Matrix
    bias: Matrix | None
    rectified: bool

    @property
    def pays(self) -> bool:
        """Whether it is of a size at which no library is faster."""
        rows, columns, depth = self.sizes
        return min(rows, columns, depth // 2) >= LEAST and rows * columns * depth <= MOST


def can_multiply() -> bool:
    """Whether products in C are made for this processor."""
    return torch.backends.cpu.get_cpu_capability() in TILES


@cache
def product_source(processor: str | None = None) -> str:
    """The function `product` of `TYPE` in C, for this processor or another of `TILES`."""
    lanes, rows, vectors = TILES[processor or torch.backends.cpu.get_cpu_capability()]
    sizes = f"#define LANES {lanes}\n#define ROWS {rows}\n#define VECTORS {vectors}\n"
    return sizes + SOURCE.replace("\nTILES\n", "\n".join([*_tiles(rows, vectors), *_turn(lanes)]))


def _tiles(rows: int, vectors: int) -> Iterator[str]:
    """Tiles of one row, half of all and all, and of up to so many vectors: no loops but over what is summed, so that
    sums are in registers whatever the compiler makes of loops.
    """
    heights = (1, rows // 2, rows)
    for height in heights:
        for width in range(1, vectors + 1):
            places = [(i, j) for i in range(height) for j in range(width)]
            yield f"static void tile_{height}_{width}(int64_t depth, const float *a, int64_t a_row, int64_t a_k,"
            yield "const float *b, int64_t b_k, float *c, int64_t c_row) {"
            yield "vector " + ", ".join(f"s{i}_{j} = {{0}}" for i, j in places) + ";"
            yield "for (int64_t k = 0; k < depth; k++, a += a_k, b += b_k) {"
            yield "const vector " + ", ".join(f"b{j} = *(const vector *)(b + {j} * LANES)" for j in range(width)) + ";"
            yield from (f"s{i}_{j} += a[{i} * a_row] * b{j};" for i, j in places)
            yield "}"
            yield from (f"*(vector *)(c + {i} * c_row + {j} * LANES) = s{i}_{j};" for i, j in places)
            yield "}"
    yield "typedef void tile(int64_t, const float *, int64_t, int64_t, const float *, int64_t, float *, int64_t);"
    names = ("{" + ", ".join(f"tile_{height}_{width + 1}" for width in range(vectors)) + "}" for height in heights)
    yield f"static tile *const tiles[3][VECTORS] = {{{', '.join(names)}}};"
    yield f"static const int64_t heights[3] = {{{', '.join(map(str, heights))}}};"


def _turn(lanes: int) -> Iterator[str]:
    """As many rows as a register has numbers become columns: blocks beside the diagonal change places, of one number,
    of two by two, and so on.
    """
    yield "static void turn(const float *from, int64_t from_row, float *to, int64_t to_row) {"
    yield "vector " + ", ".join(f"r{i} = *(const vector *)(from + {i} * from_row)" for i in range(lanes)) + ", x;"
    size = 1
    while size < lanes:
        low = [lanes + j - size if j & size else j for j in range(lanes)]
        high = [lanes + j if j & size else j + size for j in range(lanes)]
        for name, chosen in (("low", low), ("high", high)):
            yield f"const places {name}{size} = {{{', '.join(map(str, chosen))}}};"
        for i in (i for i in range(lanes) if not i & size):
            one, other = f"r{i}", f"r{i + size}"
            yield f"x = {one}; {one} = __builtin_shuffle(x, {other}, low{size});"
            yield f"{other} = __builtin_shuffle(x, {other}, high{size});"
        size *= 2
    yield from (f"*(vector *)(to + {i} * to_row) = r{i};" for i in range(lanes))
    yield "}"
