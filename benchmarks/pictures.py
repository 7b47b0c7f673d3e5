"""MNIST as the usual vision datasets serve it, without vaekit: for the plain loop, and for peers that train so."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset


class Pictures(Dataset):
    """Pixels x (N, 28, 28) and labels y (N,), bytes: each datum to an image, then to floats in [0, 1]."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.x[index].numpy())
        array = np.array(image, np.uint8, copy=True)[:, :, None]
        return torch.from_numpy(array).permute(2, 0, 1).contiguous().to(torch.float32).div(255), int(self.y[index])
