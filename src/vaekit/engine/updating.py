"""The optimizer's update of the weights, of Adam in C where that can be had."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from .compiling import CompilerError, compiled

log = logging.getLogger(__name__)

SOURCE = r"""
/* Numbers below the normal ones, as zeros: the mean of gradients that have become zero halves every seven steps, and is
   one of these for good after seven hundred. They take the processor several times as long. */
#ifdef __SSE__
#include <xmmintrin.h>
static unsigned flush_denormals(void) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  return before;
}
static void stop_flushing(unsigned before) { _mm_setcsr(before); }
#else
static unsigned flush_denormals(void) { return 0; }
static void stop_flushing(unsigned before) {}
#endif

/* Kingma & Ba 2015, algorithm 1, of `count` tensors; decay as there or, if `apart`, as in Loshchilov & Hutter 2019. */
void adam(int64_t count, const int64_t *size, float **p, float **g, float **m, float **v, float **step,
          double rate, double beta1, double beta2, double eps, double decay, int64_t apart) {
  const float own = 1 - beta1, kept2 = beta2, own2 = 1 - beta2, e = eps;
  const float in_gradient = apart ? 0 : decay, in_weight = apart ? 1 - rate * decay : 1;
  for (int64_t k = 0; k < count; k++) {
    float *const pk = p[k], *const gk = g[k], *const mk = m[k], *const vk = v[k];
    if (!gk) continue;
    step[k][0] += 1;
    const float by = rate / (1 - pow(beta1, step[k][0])), root = sqrt(1 - pow(beta2, step[k][0]));
    const int64_t n = size[k];
    #pragma omp parallel if (n >= 16384)
    {
      const unsigned before = flush_denormals();
      #pragma omp for simd schedule(static)
      for (int64_t i = 0; i < n; i++) {
        const float weight = pk[i] * in_weight, gradient = gk[i] + in_gradient * pk[i];
        const float mean = mk[i] + own * (gradient - mk[i]), square = kept2 * vk[i] + own2 * gradient * gradient;
        mk[i] = mean;
        vk[i] = square;
        pk[i] = weight - by * mean / (sqrtf(square) / root + e);
      }
      stop_flushing(before);
    }
  }
}
"""
ADAM = [ctypes.c_int64, *[ctypes.c_void_p] * 6, *[ctypes.c_double] * 5, ctypes.c_int64]


class Update:
    """`optimizer.step()`, if `long` that of Adam and AdamW in C, where there is a compiler.

    torch's own takes a third longer, and as much again in Python around it. The state stays the optimizer's.
    Call `refresh` when weights or state may lie elsewhere.
    """

    def __init__(self, optimizer: Optimizer, long: bool) -> None:
        self.optimizer = optimizer
        self.adam: Callable[..., None] | None = None
        self.groups: list[_Group] | None = None
        if long and _is_known(optimizer):
            try:
                self.adam = compiled(SOURCE, {"adam": ADAM})["adam"]
            except CompilerError as error:
                log.info("Adam's updates are torch's, not loops in C, which are faster: %s", error)

    def refresh(self) -> None:
        """Look again where everything is; `ValueError` for a state that is not of its weights."""
        self.groups = None
        if _is_adam(self.optimizer):
            check_state(self.optimizer)

    def __call__(self) -> None:
        if self.adam is None:
            self.optimizer.step()
            return
        if self.groups is None:
            check_state(self.optimizer)
            self.groups = [_Group(group, self.optimizer.state) for group in self.optimizer.param_groups]
        if all(group.look() for group in self.groups):
            for group in self.groups:
                group.step(self.adam)
        else:
            self.groups = None
            self.optimizer.step()


def check_state(optimizer: Optimizer) -> None:
    """`ValueError` where the state of an Adam has other numbers than its weights, beyond which an update would write.

    Neither torch's own fused update nor the one in C looks.
    """
    for group in optimizer.param_groups:
        for index, weight in enumerate(group["params"]):
            for name, tensor in optimizer.state.get(weight, {}).items():
                shape = torch.Size() if name == "step" else weight.shape
                dtype = tensor.dtype if name == "step" else weight.dtype
                if (tensor.shape, tensor.dtype) != (shape, dtype):
                    found = f"shape {tuple(tensor.shape)} and type {tensor.dtype}"
                    needed = f"needed: shape {tuple(shape)} and type {dtype}"
                    raise ValueError(f"the optimizer's {name!r} of weight {index} has {found}; {needed}")


def _is_adam(optimizer: Optimizer) -> bool:
    return type(optimizer) in (Adam, AdamW)


def _is_known(optimizer: Optimizer) -> bool:
    """Whether an optimizer is the Adam that `SOURCE` has."""
    plain = _is_adam(optimizer) and not any(
        group[name]
        for group in optimizer.param_groups
        for name in ("amsgrad", "maximize", "capturable", "differentiable")
    )
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return plain and all(p.dtype == torch.float32 and p.device.type == "cpu" for p in parameters)


class _Group:
    """Parameters with the same options, and where they and their state lie."""

    def __init__(self, options: dict[str, Any], state: dict[Tensor, dict[str, Tensor]]) -> None:
        self.options, self.parameters = options, options["params"]
        of = [state.get(parameter, {}) for parameter in self.parameters]
        tensors = [
            [p.detach() for p in self.parameters],
            *([each.get(name) for each in of] for name in ("exp_avg", "exp_avg_sq", "step")),
        ]
        self.stepped = [bool(each) for each in of]
        self.kept = tensors  # so that their memory is not another's before the next look
        given = [t for each in tensors for t in each if t is not None]
        self.lies = all(t.is_contiguous() and t.dtype == torch.float32 and t.device.type == "cpu" for t in given)
        count = len(self.parameters)
        self.sizes = (ctypes.c_int64 * count)(*(parameter.numel() for parameter in self.parameters))
        self.places = [_pointers(each) for each in tensors]
        self.gradients = (ctypes.c_void_p * count)()

    def look(self) -> bool:
        """Whether all gradients lie as C wants them, and have a state."""
        for i, parameter in enumerate(self.parameters):
            gradient = parameter.grad
            if gradient is not None and not (self.stepped[i] and gradient.is_contiguous()):
                return False
            self.gradients[i] = gradient.data_ptr() if gradient is not None else None
        return self.lies

    def step(self, adam: Callable[..., None]) -> None:
        weights, means, squares, steps = self.places
        chosen = self.options
        adam(
            len(self.parameters),
            self.sizes,
            weights,
            self.gradients,
            means,
            squares,
            steps,
            float(chosen["lr"]),
            *chosen["betas"],
            chosen["eps"],
            chosen["weight_decay"],
            bool(chosen["decoupled_weight_decay"]),
        )


def _pointers(tensors: Sequence[Tensor | None]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(None if t is None else t.data_ptr() for t in tensors))
