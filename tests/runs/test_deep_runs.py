"""Runs of models of images: very deep ones, and those whose latents are maps."""

from __future__ import annotations

from pathlib import Path

import torch

from vaekit import train
from vaekit.runs.run import load_run
from vaekit.training.weights import model_tensors


def test_a_run_is_trained_gone_on_with_and_asked(tmp_path: Path):
    sets = [
        *(f"model.{key}" for key in ("structure={name='top-down', groups=[1, 1]}", "latents.z.prior=diagonal-normal")),
        "model.encoder={name='pyramid', channels=[4, 6], blocks=[1, 1]}",
        "model.decoder={name='resnet', channels=[4], blocks=0}",
        "model.latents.z.size=2",
        *(f"data.{key}" for key in ("train=120", "validation=20", "test=20")),
        "training.batch_size=50",
        "training.checkpoint_every=1",
        "training.learning_rate=1e-3",
        "training.engine=python",
    ]
    whole = train("digits", tmp_path / "whole", sets=[*sets, "training.epochs=2"])
    train("digits", tmp_path / "part", sets=[*sets, "training.epochs=1"])
    train(None, tmp_path / "part", sets=["training.epochs=2"], resume=True)
    ends = [model_tensors(load_run(tmp_path / name).model) for name in ("whole", "part")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert "z, 2 groups" in repr(whole)
