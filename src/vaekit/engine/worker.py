"""A process of its own that compiles operations while the one that trains goes on: run by its path, without vaekit.

It reads from its standard input, as JSON: the operations as source, the tensors that they take, the number of threads,
and the file that torch's compiled artifact goes to.
"""

from __future__ import annotations

import json
import sys
from typing import Any

OPTIONS = {
    "fallback_random": True,  # the draws of torch's own streams, in their order
    "layout_optimization": False,  # which leaves results of convolutions as the views after them can't be taken
    "size_asserts": False,
    "alignment_asserts": False,
}
"""Of Inductor."""


def main() -> None:
    """Compile what is asked for."""
    asked: dict[str, Any] = json.load(sys.stdin)
    import torch
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError as error:  # there is none, which is known before all the work that comes before its own
        sys.exit(f"error: {error}")
    from torch._inductor import config, lowering, standalone_compile
    from torch._inductor.fx_passes.mkldnn_fusion import _mkldnn_fusion_init
    from torch.fx.experimental.proxy_tensor import make_fx

    torch.set_num_threads(asked["threads"])
    # Inductor has oneDNN's product for weights that never change; here it is to be called as it is.
    _mkldnn_fusion_init()
    linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if linear is not None:
        fallback = lowering.fallback_handler(linear.default, add_to_fallback_set=False)
        lowering.lowerings[linear.default] = fallback
    known: dict[str, Any] = {"torch": torch, "device": torch.device, "inf": float("inf"), "nan": float("nan")}
    exec(asked["source"], known)
    tensors: list[Any] = [
        torch.empty_strided(shape, stride, dtype=getattr(torch, dtype)) for shape, stride, dtype in asked["tensors"]
    ]
    with torch.no_grad(), config.patch(OPTIONS):
        operations = make_fx(lambda *given: known["forward"](None, *given), tracing_mode="fake")(*tensors)
        standalone_compile(operations, tensors).save(path=asked["path"])


if __name__ == "__main__":
    main()
