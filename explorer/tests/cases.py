"""Writes cases.json: what PyTorch answers for each operator that the page knows, to compare the page's answers with.

Run it from the project's root, where PyTorch is: python explorer/tests/cases.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

HERE = Path(__file__).parent
aten = torch.ops.aten
CASES: list[dict[str, Any]] = []


def written(value: Any) -> Any:
    """A tensor as {shape, dtype, data}, several as a list, all else as it is."""
    if isinstance(value, Tensor):
        kinds = {torch.bool: "bool", torch.float64: "float64"}
        kind = kinds.get(value.dtype, "float32" if value.is_floating_point() else "int32")
        short = {"float32": lambda v: round(v, 6), "float64": float}.get(kind, int)
        flat = [short(v) for v in value.reshape(-1).tolist()]
        return {
            "shape": list(value.shape),
            "dtype": kind,
            "data": [v if v == v and abs(v) < 1e38 else str(v) for v in flat],
        }
    if isinstance(value, (list, tuple)):
        return [written(each) for each in value]
    if isinstance(value, torch.dtype):
        return str(value)
    return value


def case(name: str, *given: Any, op: Any = None, out: Any = None) -> None:
    """One case; `op` where the operator of that name takes a keyword that the page takes in its place."""
    found = (op or getattr(aten, name))(*given) if out is None else out
    found = [each for each in found if each is not None] if isinstance(found, (tuple, list)) else found
    CASES.append({"op": name, "in": written(given), "out": written(found)})


def rand(*shape: int, positive: bool = False) -> Tensor:
    """Normal numbers, or positive ones."""
    x = torch.randn(shape, generator=GENERATOR)
    return ((x.abs() + 0.1 if positive else x) * 1000).round() / 1000  # short in the file, and exactly what is compared


GENERATOR = torch.Generator().manual_seed(0)


def pointwise() -> None:
    """Operators of each value by itself."""
    x = torch.cat([rand(8), torch.tensor([0.0, -0.0, 30.0, -30.0, 0.5, 1.5, 2.5, -0.5])])
    for name in [
        "relu",
        "sigmoid",
        "tanh",
        "exp",
        "expm1",
        "sin",
        "cos",
        "atan",
        "sinh",
        "cosh",
        "asinh",
        "erf",
        "erfc",
        "neg",
        "abs",
        "sign",
        "floor",
        "ceil",
        "trunc",
        "round",
        "frac",
        "silu",
        "hardsigmoid",
        "hardswish",
        "gelu",
        "elu",
        "leaky_relu",
        "softplus",
        "hardtanh",
        "square",
        "exp2",
        "mish",
        "selu",
        "celu",
        "relu6",
        "isnan",
        "isinf",
        "logical_not",
    ]:
        case(name, x.clamp(-8, 8) if name in ("exp", "sinh", "cosh", "expm1", "exp2") else x)
    p = rand(12, positive=True)
    for name in ["log", "log1p", "log2", "log10", "sqrt", "rsqrt", "reciprocal", "lgamma", "digamma"]:
        case(name, p)
    unit = p / (p.max() + 1)
    for name in ("asin", "acos", "atanh", "logit"):
        case(name, unit)
    case("gelu", x, op=lambda v: functional.gelu(v, approximate="tanh"))
    CASES[-1]["in"].append("tanh")
    case("elu", x, 1.5, 1.0, 1.0)
    case("softplus", x, 2.0, 10.0)
    a, b = rand(2, 1, 3), rand(4, 1)
    for name in [
        "add",
        "sub",
        "mul",
        "div",
        "maximum",
        "minimum",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "atan2",
        "logaddexp",
        "fmod",
        "remainder",
    ]:
        case(name, a, b)
    case("add", a, b, 0.5, op=lambda u, v, alpha: aten.add(u, v, alpha=alpha))
    case("rsub", a, 1.0)
    case("sub", a, 2)
    case("mul", a, a[0])
    case("div", a, b, "floor", op=lambda u, v, mode: aten.div(u, v, rounding_mode=mode))
    case("pow", p, 2)
    case("pow", p, 0.5)
    case("pow", p, rand(12))
    case("xlogy", torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 3.0, 0.5]))
    case("clamp", x, -1.0, 1.0)
    case("clamp", x, None, 1.0)
    case("where", a > 0, a, b)
    case("where", x > 0, x, torch.zeros(()))
    case("masked_fill", a, a > 0, -5.0)
    case("bitwise_and", a > 0, b > 0)
    case("logical_or", a > 0, b > 0)
    case("bitwise_not", a > 0)
    case("nan_to_num", torch.tensor([float("nan"), float("inf"), 1.0]), 0.0, 9.0, -9.0)
    case("addcmul", rand(3), rand(3), rand(3))
    case("lerp", rand(3), rand(3), 0.3)
    whole = torch.tensor([1, -2, 3, 7])
    case("div", whole, 2)
    case("mul", whole, 2)
    case("add", whole, rand(4))


def products() -> None:
    """Products of matrices, and convolutions."""
    case("mm", rand(6, 5), rand(5, 7))
    case("addmm", rand(7), rand(6, 5), rand(5, 7))
    case("addmm", rand(1, 7), rand(1, 5), rand(5, 7))
    case("bmm", rand(3, 2, 4), rand(3, 4, 5))
    case("baddbmm", rand(3, 1, 5), rand(3, 2, 4), rand(3, 4, 5))
    case("linear", rand(2, 3, 5), rand(4, 5), rand(4))
    case("matmul", rand(2, 3, 5), rand(5, 4))
    case("matmul", rand(4, 5), rand(5))
    x = rand(2, 4, 6, 5)
    plain = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    case("convolution", x, rand(6, 4, 3, 3), rand(6), *plain)
    case("convolution", x, rand(6, 4, 3, 3), None, [2, 1], [0, 2], [1, 2], False, [0, 0], 1)
    case("convolution", x, rand(6, 2, 3, 2), rand(6), [2, 2], [1, 0], [1, 1], False, [0, 0], 2)
    case("convolution", x, rand(4, 1, 3, 3), rand(4), *plain[:-1], 4)
    case("convolution", x, rand(3, 4, 1, 1), rand(3), [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    case("convolution", x, rand(4, 3, 4, 4), rand(3), [2, 2], [1, 1], [1, 1], True, [0, 0], 1)
    case("convolution", x, rand(4, 3, 3, 3), rand(3), [2, 1], [1, 0], [1, 2], True, [1, 0], 1)
    case("convolution", x, rand(4, 3, 3, 3), rand(6), [2, 2], [1, 1], [1, 1], True, [1, 1], 2)
    case("convolution", rand(2, 3, 9), rand(5, 3, 4), rand(5), [2], [1], [1], False, [0], 1)


def shapes() -> None:
    """What moves, picks or makes values."""
    x = rand(2, 3, 4)
    case("view", x, [6, -1])
    case("permute", x, [2, 0, 1])
    case("transpose", x, 0, -1)
    case("t", x[0])
    case("expand", rand(3, 1), [2, 3, 4])
    case("expand", rand(3, 1), [-1, 4])
    case("squeeze", rand(1, 3, 1))
    case("squeeze", rand(1, 3, 1), 0)
    case("squeeze", rand(1, 3, 1), [0, 2])
    case("unsqueeze", x, -1)
    case("unsqueeze", x, 1)
    case("slice", x, 1, 1, 9223372036854775807)
    case("slice", x, -1, 0, -1)
    case("slice", x, 2, 1, 4, 2)
    case("select", x, 1, -1)
    case("cat", [x, rand(2, 1, 4)], 1)
    case("cat", [x, x], -1)
    case("stack", [x, x], 1)
    case("split", x, 2, 2)
    case("split_with_sizes", x, [1, 3], 2)
    case("unbind", x, 1)
    case("repeat", rand(2, 3), [2, 1, 2])
    case("flip", x, [0, 2])
    case("constant_pad_nd", x, [1, 2, 0, 1], 3.0)
    case("constant_pad_nd", x, [-1, 0])
    case("reflection_pad2d", rand(1, 2, 4, 3), [1, 2, 0, 3])
    case("replication_pad2d", rand(1, 2, 4, 3), [1, 2, 0, 3])
    case("index_select", x, 1, torch.tensor([2, 0, 2]))
    case("embedding", rand(5, 3), torch.tensor([[1, 4], [0, 0]]))
    case("gather", x, 1, torch.tensor([[[0, 1, 2, 0]], [[2, 2, 1, 0]]]))
    case("scatter", x, 1, torch.tensor([[[0, 1, 2, 0]], [[2, 2, 1, 0]]]), 9.0)
    case("index", x, [None, torch.tensor([2, 0])])
    case("index", x, [torch.tensor([1, 0]), torch.tensor([2, 0])])
    case("index", x, [torch.tensor([1, 0]), None, torch.tensor([3, 1])])
    case("index", x, [None, None, torch.tensor([[3, 1], [0, 0]])])
    case("slice_scatter", x, rand(2, 1, 4), 1, 1, 2)
    case("select_scatter", x, rand(2, 4), 1, -1)
    case("pixel_shuffle", rand(1, 8, 2, 3), 2)
    case("pixel_unshuffle", rand(1, 2, 4, 6), 2)
    case("one_hot", torch.tensor([[0, 2], [1, 1]]), 3)
    case("full", [2, 3], 1.5)
    case("full", [2], True)
    case("zeros_like", x)
    case("arange", 2, 7, 2)
    case("_to_copy", torch.tensor([1, 0]), torch.float32, op=lambda v, dtype: v.to(dtype))
    case("_to_copy", torch.tensor([1.5, 0.0]), torch.bool, op=lambda v, dtype: v.to(dtype))
    case("clone", x)
    case("flatten", x, 1)


def reductions() -> None:
    """What brings values together."""
    x = rand(2, 3, 4)
    for name in ("sum", "mean", "amax", "amin", "logsumexp"):
        case(name, x, [1])
        case(name, x, [0, -1], True)
    case("sum", x)
    case("sum", x > 0, [2])
    case("mean", x)
    case("prod", x, 1)
    case("any", x > 1, 2)
    case("all", x > -1, -1, True)
    case("argmax", x, 1)
    case("argmin", x, -1, True)
    case("max", x, 1)
    case("min", x, 2, True)
    case("var", x, [1], False)
    case("var", x, [1, 2], 1, True, op=lambda v, d, c, k: torch.var(v, d, correction=c, keepdim=k))
    case("std", x, [1], True)
    case("var_mean", x, [1], 0, True, op=lambda v, d, c, k: torch.var_mean(v, d, correction=c, keepdim=k))
    case("linalg_vector_norm", x, 2, [1])
    case("linalg_vector_norm", x, 1.0, [1, 2], True)
    case("_softmax", x, 1, False)
    case("_log_softmax", x, -1, False)
    case("cumsum", x, 1)
    case("cumprod", x, -1)
    image = rand(2, 4, 6, 5)
    case("native_group_norm", image, rand(4), rand(4), 2, 4, 30, 2, 1e-5)
    CASES[-1]["out"] = CASES[-1]["out"][:1]
    case("group_norm", image, 2, rand(4), rand(4), 1e-5)
    case("native_layer_norm", x, [4], rand(4), rand(4), 1e-5)
    CASES[-1]["out"] = CASES[-1]["out"][:1]
    case("layer_norm", x, [3, 4], None, None, 1e-5)
    case("_native_batch_norm_legit_no_training", image, rand(4), rand(4), rand(4), rand(4, positive=True), 0.1, 1e-5)
    CASES[-1]["out"] = CASES[-1]["out"][:1]
    case("avg_pool2d", image, [2, 2], [2, 2])
    case("avg_pool2d", image, [3, 3], [2, 2], [1, 1], False, False)
    case("max_pool2d_with_indices", image, [3, 2], [2, 1], [1, 1])
    CASES[-1]["out"] = CASES[-1]["out"][:1]
    case("_adaptive_avg_pool2d", image, [4, 3])
    case("upsample_nearest2d", image, [12, 10], None, op=lambda v, size, _: aten.upsample_nearest2d(v, size))
    case(
        "upsample_bilinear2d",
        image,
        [9, 10],
        False,
        None,
        op=lambda v, size, c, _: aten.upsample_bilinear2d(v, size, c),
    )
    case(
        "upsample_bilinear2d", image, [12, 7], True, None, op=lambda v, size, c, _: aten.upsample_bilinear2d(v, size, c)
    )


def doubles() -> None:
    """What is in double precision stays so: seconds since 1970, which single precision has to 128."""
    x = torch.tensor([[1_700_000_001.0, 1_700_000_002.5], [torch.nan, 1_700_000_003.0]], dtype=torch.float64)
    near, one = torch.tensor([1_700_000_000.25, 1_700_000_000.5], dtype=torch.float64), rand(2)
    case("sub", x, near)
    case("sub", x, 1_700_000_000)
    case("sub", x, 1_700_000_000.1)
    case("add", one, near)
    case("mul", x, torch.tensor(2.0))
    case("mul", one, torch.tensor(0.1, dtype=torch.float64))
    case("div", x, near)
    case("sqrt", x)
    case("isnan", x)
    case("where", x.isnan(), near, x)
    case("where", x.isnan(), 0.5, x)
    case("where", x.isnan(), one, near)
    case("clamp", x, 1_700_000_001.5, None)
    case("masked_fill", x, x.isnan(), 0.5)
    case("_to_copy", one, torch.float64, op=lambda v, dtype: v.to(dtype))
    case("_to_copy", x - 1_700_000_000, torch.float32, op=lambda v, dtype: v.to(dtype))
    case("full", [2], 1_700_000_001.5, torch.float64, op=lambda size, v, dtype: torch.full(size, v, dtype=dtype))
    case("cat", [one, near])
    case("slice", x, 1, 1, 2)
    case("index_select", x, 1, torch.tensor([1, 0]))
    case("sum", x, [0])
    case("amax", near, [0])
    case("logsumexp", near, [0])
    case("_softmax", near - 1_700_000_000, 0, False)


if __name__ == "__main__":
    for part in (pointwise, products, shapes, reductions, doubles):
        part()
    (HERE / "cases.json").write_text(
        "[\n" + ",\n".join(json.dumps(each, separators=(",", ":")) for each in CASES) + "\n]\n"
    )
