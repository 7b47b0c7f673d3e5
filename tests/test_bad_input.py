"""Whatever is wrong with what a user gives: one line, exit status 2, no traceback, and nothing left behind."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands_for_tests import QUICK, Result, command

from vaekit.training.weights import load_tensors, save_tensors

TABLE = "a,b\n" + "".join(f"{i % 50},{i % 7}.5\n" for i in range(60))


def npy(x: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(x), allow_pickle=True)
    return stream.getvalue()


def idx(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + bytes(int(np.prod(shape)))


NAN, INFINITE = np.ones((60, 3)), np.ones((60, 3))
NAN[:], INFINITE[5, 2] = np.nan, np.inf
BINARY = (np.arange(180).reshape(60, 3) % 2).astype(np.uint8)

FILES: Mapping[str, bytes] = {
    "good.csv": TABLE.encode(),
    "hole.csv": TABLE.replace("3,3.5", "3,?").encode(),
    "inf.csv": TABLE.replace("3,3.5", "3,inf").encode(),
    "ragged.csv": TABLE.replace("3,3.5", "3").encode(),
    "text.csv": TABLE.replace("3,3.5", "3,three").encode(),
    "constant.csv": b"a,b\n" + b"".join(b"%d,7\n" % i for i in range(60)),
    "header.csv": b"a,b\n",
    "twice.csv": TABLE.replace("a,b", "a,a").encode(),
    "bytes.csv": b"a,b\n\x00\xff,1\n",
    "empty.csv": b"",
    "empty.npy": b"",
    "empty.toml": b"",
    "short.csv": TABLE[:20].replace("1,", "5,").encode(),
    "nan.npy": npy(NAN),
    "inf.npy": npy(INFINITE),
    "pickle.npy": npy(np.array([{"a": 1}, None], dtype=object)),
    "text.npy": npy(np.array(["a", "b"])),
    "one.npy": npy(np.arange(5.0)),
    "five.npy": npy(np.zeros((9, 2, 2, 2, 2))),
    "norows.npy": npy(np.zeros((0, 3))),
    "torn.npy": npy(NAN)[:-10],
    "binary.npy": npy(BINARY),
    "half.npy": npy(np.linspace(-1, 1, 180).reshape(60, 3)),
    "photo.jpg": b"no data",
    "archive.zip": b"PK\x03\x04",
    "broken.toml": b"[training\nepochs = 3",
    "bytes.toml": b"\xff\xfe",
    "deep.toml": b"a = " + b"[" * 20_000,
    "typo.toml": b"[training]\nepoch = 3",
    "long.toml": b"[training]\nepochs = " + b"9" * 5000,
    "twice.toml": b"[training]\nepochs = 3\nepochs = 4",
}

TRAIN: list[tuple[str, str]] = [
    # the target
    ("train --out new", "there is no target; accepted: a recipe"),
    ("train {run}", "is a run, not what one is trained on; to go on with it: --resume --out "),
    ("train --resume {run}", "is a run, not what one is trained on; to go on with it: --resume --out "),
    (
        "train digits --set training.learning_rate=linear",
        "the learning rate is 'linear', but not from where to where; such as --set 'training.learning_rate={name = ",
    ),
    ("train digits --set training.learning_rate=fast", "unknown schedule 'fast'; accepted: a number, constant, linear"),
    ("train nothing", "unknown target 'nothing'; accepted: a recipe (vaekit recipes lists them), a dataset"),
    ("train digitz", "unknown target 'digitz' (did you mean 'digits'?)"),
    ("train mnits", "(did you mean 'mnist'?)"),
    ("train ''", "unknown target ''"),
    ("train none.toml", "there is no file or folder none.toml"),
    ("train none/data.csv", "there is no file or folder none/data.csv"),
    ("evaluate none", "none is no run: it is not there"),
    ("compare none none", "none is no run: it is not there"),
    ("train digits extra", "extra"),
    ("train {photo.jpg}", "photo.jpg has the ending '.jpg'; accepted: .npy, .npz, .csv, .tsv, "),
    ("train {archive.zip}", "archive.zip has the ending '.zip'"),
    # .toml files
    ("train {broken.toml}", "broken.toml is not valid TOML"),
    ("train {twice.toml}", "not valid TOML"),
    ("train {deep.toml}", "not valid TOML"),
    ("train {bytes.toml}", "bytes.toml is not a text file in UTF-8"),
    ("train {typo.toml}", "unknown key of spec training: 'epoch' (did you mean 'epochs'?)"),
    ("train {long.toml}", "integer string conversion"),
    ("train {folder.toml}", "folder.toml is a folder, not a file"),
    # --set
    ("train digits --set training.epochs", "cannot set 'training.epochs'; accepted: a.b=c, such as training.epochs=5"),
    ("train digits --set =3", "cannot set '=3'"),
    ("train digits --set ''", "cannot set ''"),
    ("train digits --set training..epochs=3", "cannot set 'training..epochs=3'"),
    ("train digits --set title.a.b=3", "spec title is {'a': {'b': 3}"),
    ("train digits --set trianing.epochs=3", "unknown spec key 'trianing' (did you mean 'training'?)"),
    (
        "train digits --set training.bacth_size=3",
        "unknown key of spec training: 'bacth_size' (did you mean 'batch_size'?)",
    ),
    ("train digits --set model.latents.z.szie=3", "unknown key of spec model.latents.z: 'szie' (did you mean 'size'?)"),
    ("train digits --set training=5", "spec training is 5; accepted: a table with epochs, steps, batch_size"),
    (
        "train digits --set model.encoder.hidden=32",
        "'hidden' of encoder 'mlp' is 32; accepted: a list of whole numbers, such as 'model.encoder.hidden=[512]'",
    ),
    (
        "train digits --set model.encoder.hiden=none",
        "unknown option of encoder 'mlp': 'hiden' (did you mean 'hidden'?)",
    ),
    ("train digits --set data.binarise=none", "unknown key of spec data: 'binarise' (did you mean 'binarize'?)"),
    (
        "train digits --set training.epochs=0",
        "spec training.epochs is 0; accepted: a whole number of at least 1, such as training.epochs=20",
    ),
    (
        "train digits --set data.resize=16x24",
        "data.resize is '16x24'; accepted: a whole number from 1 to 100,000 or a ",
    ),
    ("train digits --set data.resize=abc", "such as data.resize=32 or 'data.resize=[32, 48]'"),
    ("train digits --set data.flip=maybe", "data.flip is 'maybe'; accepted: true or false"),
    ("train digits --set data.label=3", "data.label is 3; accepted: a text, such as 'data.label=\"3\"'"),
    ("train digits --set training.epochs=1.5", "training.epochs is 1.5"),
    ("train digits --set training.epochs=many", "training.epochs is 'many'; accepted: a whole number"),
    ("train digits --set training.epochs=", "training.epochs is ''"),
    ("train digits --set training.seed=-1", "training.seed is -1"),
    (f"train digits --set training.seed={2**63}", "training.seed is 9223372036854775808"),
    ("train digits --set data.seed=-1", "data.seed is -1"),
    ("train digits --set training.batch_size=0", "training.batch_size is 0"),
    (
        "train digits --set training.batch_size=5000",
        "batch_size is 5000, but there are 1297 training rows; accepted: 1..1297",
    ),
    ("train digits --set training.learning_rate=0", "learning_rate"),
    ("train digits --set training.learning_rate=nan", "learning_rate"),
    ("train digits --set training.learning_rate=cosinus", "unknown schedule 'cosinus' (did you mean 'cosine'?)"),
    ('train digits --set training.learning_rate={name="linear",start=-1.0}', "Invalid learning rate: -1.0"),
    ("train digits --set training.ema=1", "training.ema is 1"),
    ("train digits --set training.clip=inf", "training.clip is inf"),
    (
        "train digits --set training.precision=float16",
        "training.precision is 'float16' (did you mean 'bfloat16'?); accepted: float32 or bfloat16",
    ),
    ("train digits --set training.device=gpu", "unknown device on this machine 'gpu'"),
    ("train digits --set training.device=cuda:99", "unknown device on this machine 'cuda:99'"),
    ("train digits --set training.optimizer=adma", "unknown optimizer 'adma' (did you mean 'adam'?)"),
    ('train digits --set training.optimizer={name="adam",betas=[2,3]}', "Invalid beta parameter"),
    (
        'train digits --set training.optimizer={name="adam",maximize=true}',
        "unknown option of optimizer 'adam': 'maximize'",
    ),
    ('train digits --set training.optimizer={name="sgd",lr=1}', "unknown option of optimizer 'sgd': 'lr'"),
    ("train digits --set model.encoder=mpl", "unknown encoder 'mpl' (did you mean 'mlp'?)"),
    ("train digits --set model.encoder.hiden=[3]", "unknown option of encoder 'mlp': 'hiden' (did you mean 'hidden'?)"),
    ("train digits --set model.encoder.hidden=wide", "option 'hidden' of encoder 'mlp' is 'wide'"),
    ("train digits --set model.encoder.hidden=[0]", "hidden layer sizes must be at least 1"),
    ("train digits --set model.encoder.hidden=[1000000000000]", "not enough memory"),
    (f"train digits --set model.encoder.hidden=[{10**30}]", "not enough memory"),
    ("train digits --set model.encoder.activation=rleu", "unknown activation 'rleu' (did you mean 'relu'?)"),
    ("train digits --set model.encoder={depth=3}", "unknown option of encoder 'mlp': 'depth'"),
    ("train digits --set model.encoder={name=[1]}", "spec model.encoder.name is [1]"),
    ("train digits --set model.latents={}", "model.latents is {}"),
    ('train digits --set model.latents={"a.b"={size=2}}', "a.b"),
    ('train digits --set model.latents={""={size=2}}', "no name for a latent"),
    ("train digits --set model.latents.z.size=0", "model.latents.z.size is 0"),
    ("train digits --set model.latents.z.prior=vmap", "unknown prior 'vmap' (did you mean 'vamp'?)"),
    ('train digits --set model.latents.z.prior={name="vamp",components=0}', "components must be at least 1, got 0"),
    ('train digits --set model.latents.z.posterior={name="diagonal-normal",log_variance_clamp=[1,0]}', "low < high"),
    ("train digits --set model.likelihood=bernuolli", "unknown likelihood 'bernuolli' (did you mean 'bernoulli'?)"),
    (
        "train digits --set model.likelihood=bernoulli",
        "density of binary data, but the data are grey levels 0..16; what fits:",
    ),
    ("train digits --set objective=elobo", "unknown objective 'elobo' (did you mean 'elbo'?)"),
    ('train digits --set objective={name="elbo",beta=-1}', "beta must be at least 0, got -1"),
    ('train digits --set objective={name="elbo",beta=nan}', "option 'beta' of objective 'elbo' is nan"),
    ('train digits --set objective={name="elbo",beta=[1]}', "option 'beta' of objective 'elbo' is [1]"),
    (
        'train digits --set objective={name="elbo",beta={name="linaer"}}',
        "unknown schedule 'linaer' (did you mean 'linear'?)",
    ),
    ('train digits --set objective={name="elbo",beta={name=[1]}}', "unknown schedule '[1]'"),
    ('train digits --set objective={name="elbo",beta={name="linear",until=2}}', "until is a fraction of the run"),
    ('train digits --set objective={name="iwae",samples=0}', "samples must be at least 1, got 0"),
    (
        "train m2 --set objective.name=iwae",
        "unknown option of objective 'iwae': 'classification'; accepted: samples, beta, bounds, elbo, partial; --set "
        "objective=iwae drops all",
    ),
    ("train digits --set data.name=digist", "unknown dataset 'digist' (did you mean 'digits'?)"),
    (
        "train digits --set data.binarize=random",
        "data.binarize is 'random'; accepted: static, stochastic, threshold or grey",
    ),
    ("train digits --set data.binarize=static --set data.dequantize=true", "exclude each other"),
    (
        "train digits --set data.label=kind",
        "data.label=kind names a column of a table; 'digits' is none",
    ),
    ("train digits --set data.domain=gray", "unknown domain 'gray' (did you mean 'grey'?)"),
    ("train digits --set data.domain=positive", "values other than positive numbers"),
    ("train digits --set data.validation=-1", "data.validation is -1"),
    (
        "train digits --set data.validation=5000",
        "data.validation=5000, but the dataset has 200 validation rows of its own",
    ),
    ("train digits --set data.train=5000", "data.train=5000, but 1297 training rows are left; accepted: 1..1297"),
    ("train digits --set data.train=0", "data.train is 0"),
    ("train digits --set model.condition=encoder", "model.condition"),
    ("train {good.csv} --data digits", "good.csv' and --data digits are both data; give one, or a recipe or a .toml"),
    ("train mnist --data digits", "'mnist' and --data digits are both data; give one"),
    ("train elu-mnist --data digist", "unknown dataset 'digist' (did you mean 'digits'?)"),
    # options
    ("train digits --port 1", "--port 1 is of the page of --live; give that too"),
    ("train digits --set objective.terms.covariance.weight=3", "covariance' are off_diagonal and diagonal, such as"),
    (
        "train digits --set model.latents.z.posterior=relaxed-categorical",
        "accepted: two of a kind; priors that fit: vamp, uniform-categorical, categorical (--set model.latents.z.prior",
    ),
    ("train --epochs 0", "--epochs is "),
    ("train --epochs x", "--epochs is "),
    ("train --samples 0", "--samples is "),
    ("train --epcohs 3", "No such option: --epcohs"),
    ("train digits --out", "--out"),
    ("train --resume --out {empty}", "empty is no run: it has no spec.json"),
    ("train --resume --out {run} --epochs 1", "training.epochs is 1, but {run} has 2 done; accepted: 2 or more"),
    (
        "train --resume --out {run} --set training.seed=1",
        "a resumed run keeps its own spec; leave out 'training.seed=1'",
    ),
    ("train --resume --overwrite --out {run}", "--resume and --overwrite exclude each other; choose one"),
    ("train --resume --out {good.csv}", "good.csv is no run: it is a file"),
    (
        "train digits --out {run}",
        "run holds a run already; add --resume to go on with it, or --overwrite to replace it",
    ),
    ("train digits --out {somebodys}", "somebodys is not empty and is no run; name another folder"),
    ("train digits --overwrite --out {somebodys}", "somebodys is not empty and is no run; name another folder"),
    ("train digits --out {good.csv}", "good.csv is a file; name a folder for the run"),
    ("train digits --out {good.csv}/run", "good.csv/run: Not a directory"),
    ("train digits --out {link}", "link is a link to nowhere, which is not there; name a folder for the run"),
    ("train digits --out /proc/run", "/proc/run: No such file or directory"),
    # data
    (
        "train {hole.csv} --set data.label=b",
        "hole, row 3 (from 0): missing value in column 'b'; fill it or drop the row",
    ),
    ("train {inf.csv}", "column 'b' has inf in row 3 (from 0); accepted: finite numbers, or an empty cell"),
    ("train {ragged.csv}", "ragged.csv, line 5: 1 cell, but there are 2 columns"),
    (
        "train {text.csv} --column b=positive",
        "asked for as positive: column 'b' has 'three' in row 3 (from 0); accepted: numbers",
    ),
    ("train {text.csv} --column b", "--column 'b' is not NAME=KIND, such as age=positive"),
    ("train {text.csv} --column c=real", "unknown column 'c'; accepted: a, b"),
    ("train {text.csv} --column b=rael", "unknown kind of column 'b': 'rael' (did you mean 'real'?); accepted: real, "),
    ("train {half.npy} --column a=real", 'data.columns={a = "real"} names kinds of a table\'s columns; half is none'),
    (
        "train {constant.csv}",
        "constant has no column to learn from ('a': identifier; 'b': constant); say of what kind one is: "
        "--set 'data.columns={a = \"real\"}'",
    ),
    ("train {header.csv}", "header.csv has a line of names but no rows"),
    ("train {twice.csv}", "more than one column of the name 'a'"),
    ("train {bytes.csv}", "bytes.csv, line 2: a NUL byte, which no text has; save the table as UTF-8 text"),
    ("train {empty.csv}", "empty.csv is empty"),
    ("train {empty.npy}", "empty.npy is no whole NumPy file"),
    ("train {nan.npy}", "has no value at all: each is NaN"),
    ("train {inf.npy}", "no finite 32-bit number: inf at index (5, 2)"),
    ("train {pickle.npy}", "Python objects are refused"),
    ("train {text.npy}", "numbers are needed"),
    ("train {one.npy}", "has the shape (5,); accepted: a table (N, D), or images"),
    ("train {five.npy}", "has the shape (9, 2, 2, 2, 2)"),
    ("train {norows.npy}", "is empty: its shape is (0, 3)"),
    ("train {torn.npy}", "torn.npy is no whole NumPy file"),
    (
        "train {good.csv} --set data.binarize=static",
        "data.binarize=static is for grey levels or numbers of an interval; the data are columns: 1 count, 1 positive",
    ),
    ("train {binary.npy} --set data.dequantize=true", "data.dequantize=true is for grey levels"),
    ("train {binary.npy} --set model.likelihood=normal", "the data are binary 0/1; what fits: bernoulli"),
    ("train {half.npy} --set data.domain=unit", "values other than numbers of the unit interval"),
    ("train {good.csv} --set data.label=c", "has no column 'c'; columns: 'a', 'b'"),
    (
        "train {good.csv} --set model.condition=true",
        "the data have no labels; name a table's column of them by --set data.label=…",
    ),
    ("train {good.csv} --set model.encoder=conv", "needs images of shape (C, H, W)"),
    ("train {good.csv} --set data.validation=60", "leave none of the 60 training rows"),
    (
        "train {good.csv} --set training.batch_size=20 --set data.validation=0 --set training.early_stopping=2",
        "early_stopping needs rows held out for validation",
    ),
    ("train {short.csv} --set training.batch_size=128", "batch_size is 128, but there are"),
    ("train {nofolder}", "folder {nofolder} holds no images"),
    ("train mnist", "mnist: {data}/mnist/train-images-idx3-ubyte.gz is a damaged or cut-off gzip file"),
    ("train fashion-mnist", "fashion-mnist has the shapes"),
]

ASK: list[tuple[str, str]] = [
    ("trian", "No such command 'trian'. Did you mean 'train'?"),
    ("--version", "No such option: --version"),
    ("evaluate", "Missing argument 'RUN'"),
    ("evaluate {empty}", "empty is no run: it has no spec.json"),
    ("evaluate none", "none is no run"),
    ("evaluate {good.csv}", "good.csv is no run: it is a file"),
    ("explore {run} --port abc", "--port is 'abc'; accepted: a whole number; see vaekit explore --help"),
    ("explore {run} --port 65536", "--port is '65536'; accepted: 65,535 or less"),
    ("explore {run} --out nowhere/page.html", "there is no folder nowhere; make it, or name another"),
    ("explore {run} --out page.html --layout tsne", "unknown layout 'tsne' (did you mean 't-sne'?)"),
    ("export {run} --out {link} --to torch", "link is a link to nowhere, which is not there; name a folder"),
    ("score {run} {half.npy} --out {link}", "link is a link to nowhere, which is not there; name a folder or a .parq"),
    ("encode {run} --out {link.csv}", "link.csv is there already; name another, or add --overwrite to replace it"),
    ("export {run} --out e --to tflite", "--to is 'tflite'; accepted: diffusers, onnx, torch, safetensors; see"),
    ("evaluate {run} --samples 0", "--samples is "),
    ("evaluate {run} --samples 1.5", "--samples is "),
    ("evaluate {run} --split tset", "has no split 'tset' (did you mean 'test'?); accepted: train, valid, test, all"),
    ("evaluate {run} --seed -1", "--seed is "),
    (f"evaluate {{run}} --seed {2**63}", "--seed is "),
    ("evaluate {run} --device tpu", "unknown device on this machine 'tpu'"),
    ("evaluate {run} --josn", "No such option: --josn"),
    ("sample {run}", "Missing option '--out'"),
    ("sample {run} --out a.gif", "unknown ending '.gif'; accepted: .npy, .npz, .csv, .parquet, .png"),
    ("sample {run} --out a", "unknown ending ''"),
    ("sample {run} --out none/a.npy", "there is no folder none; make it"),
    ("sample {run} --out {folder.npy}", "folder.npy is a folder; name a file"),
    ("sample {run} --out a.npy -n 0", "-n is "),
    ("sample {run} --out a.npy -n 1000000000000", "not enough memory"),
    ("sample {run} --out a.npy --label 3", "label '3' was given, but {run} is not conditional"),
    (
        "sample {table} --out a.png",
        "a .png is of images (N, 1, H, W) or (N, 3, H, W), this is (64, 2); accepted for it: .npy, .npz, .csv",
    ),
    ("sample {conditional} --out a.npy --label 10", "unknown label '10' (did you mean '1'?); accepted: 0, 1, 2"),
    ("sample {conditional} --out a.npy --label ''", "unknown label ''"),
    ("reconstruct {run} --out a.npy -n 0", "-n is "),
    ("reconstruct {run} --out a.npy --samples 0", "--samples is "),
    ("reconstruct {table} --out a.png", "a .png is of images"),
    ("reconstruct {run} --out a.npy --split none", "has no split 'none'"),
    ("encode {run} --out a.npy --split none", "has no split 'none'"),
    ("encode {run} --out a.png", "a .png is of images (N, 1, H, W) or (N, 3, H, W), this is (300, 3)"),
    ("recipes digist", "unknown recipe 'digist' (did you mean 'digits'?)"),
    ("datasets minst", "unknown dataset 'minst' (did you mean 'mnist'?)"),
    ("parts prior", "unknown family of parts 'prior' (did you mean 'priors'?)"),
]


def value(*path: str | int, to: Any) -> Callable[[Path], None]:
    """Change one value of a run's spec.json, as one who has been told of its sum."""

    def change(folder: Path) -> None:
        whole = json.loads((folder / "spec.json").read_text())
        del whole["sha256"]
        table = whole
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = to
        (folder / "spec.json").write_text(json.dumps(whole))

    return change


def text(content: str | bytes, name: str = "spec.json") -> Callable[[Path], None]:
    return lambda folder: (
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode()) and None
    )


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tensors = load_tensors(folder / "weights.safetensors")
        change(tensors)
        save_tensors(folder / "weights.safetensors", tensors)

    return write


def cut_weights(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


MODEL, SCHEMA = ("spec", "model"), "schema"
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (
        lambda folder: [path.unlink() for path in folder.rglob("*.safetensors")],
        "checkpoints has no training state",
    ),
    "torn weights": (cut_weights, "weights.safetensors is no whole safetensors file"),
    "empty weights": (text(b"", "weights.safetensors"), "weights.safetensors is no whole safetensors file"),
    "pickled weights": (
        text(b"\x80\x04\x95N.", "weights.safetensors"),
        "weights.safetensors is no whole safetensors file",
    ),
    "weights missing": (weights(lambda t: t.pop("decoder.layers.0.bias")), "lack 'decoder.layers.0.bias'"),
    "weights too many": (weights(lambda t: t.update(x=torch.ones(1))), "have 'x', which the model of the spec lacks"),
    "another latent size": (value(*MODEL, "latents", "z", "size", to=4), "of shape"),
    "not JSON": (text("{"), "spec.json: not valid JSON"),
    "not text": (text(b"\xff\xfe\x00"), "spec.json is not a text file in UTF-8"),
    "empty": (text(""), "spec.json: not valid JSON"),
    "a list": (text("[]"), "format is of a list; accepted: 1"),
    "no format": (text("{}"), "format is None; accepted: 1"),
    "later format": (value("format", to=99), "format is 99; accepted: 1, as this version of vaekit writes it"),
    "deep": (text("[" * 100_000), "spec.json: not valid JSON"),
    "deep objects": (text('{"a":' * 100_000), "spec.json: not valid JSON"),
    "long integer": (text('{"format": ' + "1" * 5000 + "}"), "spec.json: "),
    "spec a list": (value("spec", to=[1]), "spec is [1]"),
    "schema a string": (value("schema", to="x"), "schema is 'x'"),
    "no schema": (value("schema", to={}), "schema event_shape is missing"),
    "huge layer": (value(*MODEL, "encoder", "hidden", to=[10**12]), "of shape (16, 64), the model of the spec"),
    "absurd layer": (value(*MODEL, "encoder", "hidden", to=[10**30]), "says what can't be built"),
    "huge latent": (value(*MODEL, "latents", "z", "size", to=10**9), "accepted: a whole number from 1 to 100,000"),
    "huge data": (value(SCHEMA, "event_shape", to=[10**12]), "of shape (16, 64), the model of the spec"),
    "absurd data": (value(SCHEMA, "event_shape", to=[10**30]), "says what can't be built"),
    "no data": (value(SCHEMA, "event_shape", to=[]), "event_shape"),
    "negative data": (value(SCHEMA, "event_shape", to=[-8, -8]), "event_shape.0 is -8"),
    "data of text": (value(SCHEMA, "event_shape", to="8x8"), "event_shape is '8x8'"),
    "unknown domain": (value(SCHEMA, "domain", "kind", to="gray"), "domain"),
    "one level": (value(SCHEMA, "domain", "levels", to=1), "at least 2 levels"),
    "huge levels": (value(SCHEMA, "domain", "scale", to=1e400), "domain"),
    "domain of another width": (value(SCHEMA, "domain", "location", to=[0.0, 1.0]), "domain"),
    "code as a part": (
        value(*MODEL, "encoder", to="__import__('os').system('touch hacked')"),
        'unknown encoder "__import__',
    ),
    "code as an option": (
        value(*MODEL, "encoder", "__class__", to="os.system"),
        "unknown option of encoder 'mlp': '__class__'",
    ),
    "code as a latent": (value(*MODEL, "latents", to={"../../etc": {"size": 3}}), "no name for a latent"),
    "code as a latent's name": (value(*MODEL, "latents", to={"__init__": {"size": 3}}), "__init__"),
    "a path as data": (value("spec", "data", "name", to="../" * 30 + "etc/passwd"), "etc/passwd has the ending ''"),
    "a pickle as data": (value("spec", "data", "name", to="{pickle.npy}"), "Python objects are refused"),
    "another dataset": (value("spec", "data", "name", to="{good.csv}"), "is not what {hostile} was trained on"),
    "control characters": (value("spec", "data", "name", to="\x1b[31mred\x07\n\n.npy"), r"\x1b[31mred\x07 .npy"),
    "long text": (value("spec", "training", "epochs", to="x" * 1_000_000), "training.epochs is 'xxx"),
    "a null": (value("spec", "training", to=None), "spec training is None"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Everything that a command of the tables names: files, folders, and three good runs."""
    place = tmp_path_factory.mktemp("bad")
    paths = {name: place / name for name in FILES}
    for name, content in FILES.items():
        paths[name].write_bytes(content)
    for name in ("folder.toml", "folder.npy", "empty", "nofolder", "somebodys", "data"):
        paths[name] = place / name
        paths[name].mkdir()
    for name in ("link", "link.csv"):
        paths[name] = place / name
        paths[name].symlink_to("nowhere")
    (paths["somebodys"] / "spec.json").write_text('{"mine": "years of work"}')
    (paths["nofolder"] / "readme.txt").write_text("no image")
    shapes = {
        "train-images-idx3": (5, 28, 28),
        "train-labels-idx1": (5,),
        "t10k-images-idx3": (2, 28, 28),
        "t10k-labels-idx1": (2,),
    }
    for dataset in ("mnist", "fashion-mnist"):
        (paths["data"] / dataset).mkdir()
        for name, shape in shapes.items():
            whole = gzip.compress(idx(*shape))
            (paths["data"] / dataset / f"{name}-ubyte.gz").write_bytes(whole[:-9] if dataset == "mnist" else whole)
    extra = {"run": (), "conditional": ("--set=model.condition=true",), "table": ("--set=training.batch_size=20",)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaekit.show.report.write_report", lambda run, scores: run.path)
        for name, sets in extra.items():
            paths[name] = place / name
            target = paths["good.csv"] if name == "table" else "digits"
            assert command("train", target, "--out", paths[name], *QUICK, *sets, "--samples=1").status == 0
    return paths


@pytest.fixture
def work(tmp_path: Path, world: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("VAEKIT_DATA", str(world["data"]))
    return folder


def named(text: str, world: Mapping[str, Path]) -> str:
    for name, path in world.items():
        text = text.replace(f"{{{name}}}", str(path))
    return text


def snapshot(world: Mapping[str, Path]) -> dict[str, tuple[int, ...]]:
    """What is there, and which file of which size since when."""
    place = next(iter(world.values())).parent
    found = {path: path.lstat() for path in place.rglob("*")}
    return {
        str(path): () if path.is_dir() else (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        for path, stat in found.items()
    }


def assert_refused(result: Result, words: str) -> None:
    assert result.status == 2, result
    assert result.err.startswith("vaekit: "), result.err
    assert result.err.endswith("\n")
    assert result.err.count("\n") == 1, result.err
    assert words in result.err
    assert len(result.err) < 2000, "too long to be read"
    assert result.out == ""


@pytest.mark.parametrize(("line", "words"), TRAIN + ASK, ids=[line[:60] for line, _ in TRAIN + ASK])
def test_bad_input_is_refused_in_one_line(line: str, words: str, world: dict[str, Path], work: Path) -> None:
    argv = shlex.split(named(line.replace('"', '\\"'), world))
    before = snapshot(world)
    assert_refused(command(*argv), named(words, world))
    assert not os.listdir(work)
    assert snapshot(world) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_run_is_refused_in_one_line(name: str, world: dict[str, Path], work: Path, tmp_path: Path) -> None:
    change, words = HOSTILE[name]
    hostile = tmp_path / "hostile"
    shutil.copytree(world["run"], hostile)
    change(hostile)
    spec = hostile / "spec.json"
    spec.write_bytes(named(spec.read_text("latin-1"), world).encode("latin-1"))
    before = snapshot({"hostile": hostile})
    assert_refused(command("evaluate", hostile, "--samples=1"), named(words, world | {"hostile": hostile}))
    assert snapshot({"hostile": hostile}) == before
    assert not os.listdir(work)


def test_a_run_that_only_looks_odd_is_accepted(
    world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies above are refused for what was changed in them, not for being copies."""
    monkeypatch.setattr("vaekit.show.report.write_report", lambda run, scores: run.path)
    shutil.copytree(world["run"], tmp_path / "hostile")
    value("spec", "title", to="<script>\x1b[31m\n")(tmp_path / "hostile")
    assert command("evaluate", tmp_path / "hostile", "--samples=1").status == 0
    resumed = command("train", "--resume", "--out", tmp_path / "hostile", "--samples=1")
    assert resumed.out.startswith("<script>\\x1b[31m\n")


# -- what the machine lacks --------------------------------------------------------------------------------------------


def test_cuda_where_there_is_none(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert_refused(
        command("train", "digits", *QUICK, "--set=training.device=cuda"),
        "unknown device on this machine 'cuda'; accepted: auto, cpu",
    )
    assert not os.listdir(work)


def test_parquet_without_pyarrow(world: dict[str, Path], work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert_refused(command("encode", world["run"], "--out", "a.parquet"), "needs pyarrow: pip install 'vaekit[tables]'")
    (work / "t.parquet").write_bytes(b"PAR1")
    assert_refused(command("train", "t.parquet"), "a Parquet file needs pyarrow: pip install 'vaekit[tables]'")
    assert os.listdir(work) == ["t.parquet"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 18 GB, max allowed: 18 GB)"),
        MemoryError("Unable to allocate 8 TiB"),
    ],
)
def test_no_memory(error: Exception, world: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr("vaekit.runs.run.evaluate", fail)
    assert_refused(command("evaluate", world["run"]), "not enough memory for this model and its data")


@pytest.mark.parametrize(
    "words", ["CUDA error: an illegal memory access was encountered", "value cannot be converted without overflow"]
)
def test_other_faults_are_not_called_a_want_of_memory(
    words: str, world: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr("vaekit.runs.run.evaluate", fail)
    with pytest.raises(RuntimeError, match=words):
        command("evaluate", world["run"])


@pytest.mark.parametrize(
    ("code", "words"), [(errno.EACCES, "Permission denied"), (errno.EROFS, "Read-only file system")]
)
def test_a_folder_that_may_not_be_written(
    code: int, words: str, world: dict[str, Path], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    # Root may write anywhere: what every folder and every file starts or ends with says no in its place.
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    assert_refused(command("train", "digits", *QUICK, "--out", "run"), f"run: {words}")
    assert_refused(command("sample", world["run"], "--out", "a.npy"), f"a.npy: {words}")
    assert not os.listdir(work)


def test_a_folder_that_may_not_be_written_is_refused_before_the_work(
    world: dict[str, Path], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("the run was read")

    # As above, but it is asked whether one may: root may, but on a file system that nobody writes to.
    monkeypatch.setattr(os, "access", lambda path, mode, **others: mode != os.W_OK)
    monkeypatch.setattr("vaekit.cli.options.load_run", fail, raising=False)
    monkeypatch.setattr("vaekit.runs.run.load_run", fail)
    refused = " is a folder that can't be written to; name another"
    assert_refused(command("explore", world["run"], "--out", "page.html"), f".{refused}")
    assert_refused(command("export", world["run"], "--to", "torch", "--out", "some/folder"), f"{work}{refused}")
    assert not os.listdir(work)


def test_a_disk_that_is_full_when_a_file_is_written(
    world: dict[str, Path], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for name in ("a.npy", "a.csv", "a.png"):
        assert_refused(command("sample", world["run"], "--out", name), f"{name}: No space left on device")
    assert not os.listdir(work)
