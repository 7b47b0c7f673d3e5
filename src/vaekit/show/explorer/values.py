"""Values as the page has them: arrays as base64 in JSON, records as objects, text that ends no script."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ...system.disk import finite

DTYPES = ("float64", "float32", "float16", "uint8", "int32")
"""The types of arrays that the page reads."""


def packed(array: np.ndarray) -> dict[str, Any]:
    """An array as the page reads it: its type, its shape, and its bytes, little endian, in C order, as base64.

    >>> packed(np.array([[1, 2]], np.uint8))
    {'dtype': 'uint8', 'shape': [1, 2], 'data': 'AQI='}
    """
    if array.dtype.name not in DTYPES:
        raise TypeError(f"array has type {array.dtype}; accepted: {', '.join(DTYPES)}")
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": b64encode(little.tobytes()).decode("ascii")}


def as_json(value: Any) -> str:
    """Records, arrays and plain values as JSON, in which a number that is not finite is null.

    >>> as_json({"x": np.zeros(1, np.uint8), "y": float("nan")})
    '{"x":{"dtype":"uint8","shape":[1],"data":"AA=="},"y":null}'
    """
    return json.dumps(finite(_plain(value)), separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def inlined(text: str) -> str:
    """JSON that can stand within a script element of a page, whatever the names in it are.

    >>> inlined('"</script>"')
    '"\\\\u003c/script>"'
    """
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return packed(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name.rstrip("_"): _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
