"""Source in C made into functions of this process by the machine's own compiler, if it has one."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

FLAGS = (
    "-O3",
    "-march=native",
    "-fopenmp",
    "-fwrapv",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-shared",
    "-fPIC",
    "-w",
)
"""No `-ffast-math`: a loss that is no number must stay one, and it would change how the whole process rounds."""
OPENMP = "libgomp.so.1"
"""The library of threads that gcc's programs ask for: the one that torch has loaded by then, if that has this name."""
MADE = "loops.so"
SECONDS = 60
"""A compiler that takes longer is stopped."""

PRELUDE = r"""
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define min(a, b) ((a) < (b) ? (a) : (b))

static inline float of_bits(int32_t bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline int32_t bits_of(float x) { int32_t bits; memcpy(&bits, &x, 4); return bits; }

static inline float load_bf16(uint16_t x) { return of_bits((int32_t)((uint32_t)x << 16)); }
static inline uint16_t store_bf16(float x) {  /* to the nearest, to even; no number stays none */
  uint32_t b = (uint32_t)bits_of(x);
  return x != x ? 0x7fc0 : (uint16_t)((b + 0x7fff + ((b >> 16) & 1)) >> 16);
}

/* 2^n e^r with r in [-log(2)/2, log(2)/2], and 2^n in two factors, either of which is a normal number. */
static inline float exp_f(float x) {
  x = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
  float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
  int32_t i = bits_of(shifted) - 0x4b400000, half = i >> 1;
  float r = x - n * 0.693145751953125f - n * 1.42860682030941723e-6f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * of_bits((half + 127) << 23) * of_bits((i - half + 127) << 23);
}
/* log(2^k m) = k log(2) + log(m), m in [sqrt(1/2), sqrt(2)), the second by atanh's series in (m - 1) / (m + 1). */
static inline float log_f(float x) {
  int tiny = x < 1.17549435e-38f;
  int32_t b = bits_of(tiny ? x * 33554432.0f : x) + (0x3f800000 - 0x3f3504f3);
  float k = (float)((b >> 23) - 127 - (tiny ? 25 : 0));
  float f = of_bits((b & 0x7fffff) + 0x3f3504f3) - 1.0f;
  float s = f / (2.0f + f), z = s * s, w = z * z;
  float r = z * (0.66666662693f + w * 0.28498786688f) + w * (0.40000972152f + w * 0.24279078841f);
  float half = 0.5f * f * f;
  float y = s * (half + r) + k * 9.0580006145e-6f - half + f + k * 6.9313812256e-1f;
  y = x == 0.0f ? -INFINITY : x < 0.0f ? NAN : y;
  return x < INFINITY ? y : x;
}
static inline float log1p_f(float x) {  /* what rounding 1 + x lost is put right by the factor */
  float u = 1.0f + x, d = u - 1.0f;
  return u == 1.0f ? x : x < INFINITY ? log_f(u) * (d == 0.0f ? 1.0f : x / d) : x;
}
static inline float expm1_f(float x) {
  float u = exp_f(x), d = u - 1.0f;
  return u == 1.0f ? x : d == -1.0f ? -1.0f : u < INFINITY ? d * (x / log_f(u)) : u;
}
static inline float tanh_f(float x) {
  float e = expm1_f(fabsf(x) > 20.0f ? 40.0f : 2.0f * fabsf(x)), t = e / (e + 2.0f);
  return x != x ? x : x < 0.0f ? -t : t;
}
static inline float sigmoid_f(float x) { return 1.0f / (1.0f + exp_f(-x)); }
static inline float sqrt_f(float x) { return sqrtf(x); }
static inline float abs_f(float x) { return fabsf(x); }

static inline double exp_d(double x) { return exp(x); }
static inline double log_d(double x) { return log(x); }
static inline double log1p_d(double x) { return log1p(x); }
static inline double expm1_d(double x) { return expm1(x); }
static inline double tanh_d(double x) { return tanh(x); }
static inline double sigmoid_d(double x) { return 1.0 / (1.0 + exp(-x)); }
static inline double sqrt_d(double x) { return sqrt(x); }
static inline double abs_d(double x) { return fabs(x); }
"""


class CompilerError(RuntimeError):
    """Source that can't be compiled here; the message says why, in one line."""


@dataclass
class _Compilation:
    """A compiler at work, in a folder that goes with it."""

    compiler: str
    process: subprocess.Popen[str]
    folder: tempfile.TemporaryDirectory[str]

    def library(self) -> ctypes.CDLL:
        """What it has made, once it is done."""
        with self.folder as folder:
            try:
                said = self.process.communicate(timeout=SECONDS)[1]
            except BaseException as error:
                self.process.kill()
                self.process.communicate()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise CompilerError(f"{self.compiler} took more than {SECONDS} s") from error
                raise
            if self.process.returncode:
                lines = [line for line in said.splitlines() if "error" in line] or ["it failed"]
                raise CompilerError(f"{self.compiler}: {lines[0].strip()}")
            try:
                return ctypes.CDLL(str(Path(folder) / MADE))
            except OSError as error:
                raise CompilerError(str(error)) from error


_begun: dict[str, _Compilation] = {}
_libraries: dict[str, ctypes.CDLL] = {}


def compiled(source: str, functions: Mapping[str, Sequence[Any]]) -> dict[str, Callable[..., None]]:
    """The `functions` of C `source`, by name, with the types of their arguments as ctypes has them.

    The compiler is `CC`, or else cc. What it makes is loaded from a folder of its own, which is gone afterwards: no
    file is kept that a later process would run. Raises `CompilerError` where there is no compiler, or it says no.

    >>> run = compiled("void twice(float *x) { x[0] *= 2; }", {"twice": [ctypes.c_void_p]})["twice"]
    >>> x = torch.tensor([1.5])
    >>> run(x.data_ptr())
    >>> x
    tensor([3.])
    """
    found: dict[str, Any] = {name: _library(source)[name] for name in functions}
    for name, types in functions.items():
        found[name].argtypes, found[name].restype = list(types), None
    return found


def address_of(source: str, name: str) -> int:
    """Where a function of C `source` is, for others to call it. Raises `CompilerError` as `compiled` does."""
    return ctypes.cast(_library(source)[name], ctypes.c_void_p).value or 0


def begin_compiling(source: str) -> None:
    """Let the compiler make what will be asked for, while something else is done. Raises as `compiled` does."""
    if source in _libraries or source in _begun:
        return
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        raise CompilerError(f"there is no C compiler {compiler[0]}; install one, or set CC")
    if not (Path(torch.__file__).parent / "lib" / OPENMP).exists():
        raise CompilerError(f"torch has not brought {OPENMP}, whose threads its own and compiled loops would share")
    folder = tempfile.TemporaryDirectory(prefix="vaekit-", ignore_cleanup_errors=True)
    path = Path(folder.name) / "loops.c"
    path.write_text(PRELUDE + source, encoding="utf-8")
    command = [*compiler, *FLAGS, str(path), "-o", str(path.with_name(MADE)), "-lm"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise CompilerError(f"{compiler[0]}: {error}") from error
    _begun[source] = _Compilation(compiler[0], process, folder)


def _library(source: str) -> ctypes.CDLL:
    if source not in _libraries:
        begin_compiling(source)
        _libraries[source] = _begun.pop(source).library()
    return _libraries[source]
