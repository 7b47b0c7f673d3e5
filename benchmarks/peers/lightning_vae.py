"""Lightning's `Trainer` around the network of the grey-mnist recipe: a `TensorDataset` of floats in a `DataLoader`.

Without logger, checkpoints, progress bar and summary, which would only cost time.
"""

from __future__ import annotations

import warnings

import lightning
import torch
from common import BATCH_SIZE, LEARNING_RATE, Epochs, task
from measured import tell
from plain_lessons import GreyMNIST
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


class Module(lightning.LightningModule):
    """The network, its loss and its optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.network = GreyMNIST()

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        (x,) = batch
        return self.network.loss(x, None) / len(x)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)


class Clock(lightning.Callback):
    """Starts and stops with the epochs."""

    def __init__(self) -> None:
        self.epochs = Epochs()

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.epochs.start()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.epochs.stop()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "The 'train_dataloader' does not have many workers")
    given, clock = task(), Clock()
    lightning.seed_everything(given.seed, verbose=False)
    module = Module()
    loader = DataLoader(TensorDataset(torch.from_numpy(given.floats("train"))), batch_size=BATCH_SIZE, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=given.epochs,
        accelerator="cpu",
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=given.folder,
    )
    trainer.fit(module, loader)
    test = torch.from_numpy(given.floats("test"))
    with torch.no_grad():
        loss = float(module.eval().network.loss(test, None)) / len(test)
    tell(seconds=clock.epochs.seconds, test=[loss])
