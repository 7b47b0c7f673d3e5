"""The named datasets: one row of `DATASETS` each."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .base import SPLITS, Content, Split, encode_labels
from .domains import Domain
from .download import File, cache_folder, fetch, find
from .formats import check_unpacked, read_amat, read_arrays, read_idx
from .splits import hold_out
from .sprites import sprites


@dataclass(frozen=True)
class Named:
    """A public dataset: what it is, which rows it comes with, and how its files are found and read.

    `read` gets the paths of `files`, or the one of `archive`: a file of the whole set, which is only looked for.
    """

    title: str
    shape: tuple[int, int, int]
    sizes: Mapping[str, int]
    domain: Domain
    source: str
    license: str
    read: Callable[[tuple[Path, ...]], Content] = field(repr=False)
    files: tuple[File, ...] = field(default=(), repr=False)
    archive: str | None = field(default=None, repr=False)


def read_named(name: str) -> Content:
    """The content of a named dataset, found or downloaded.

    Raises `FileNotFoundError` where a file is missing and cannot be downloaded, `ValueError` where one is damaged.
    """
    row = DATASETS[name]
    archive = find(name, row.archive) if row.archive else None
    if row.archive and not row.files and not archive:
        raise FileNotFoundError(
            f"{name} needs {row.archive}, which is not downloaded by itself (see {row.source}); "
            f"put it into {cache_folder() / name} or $VAEKIT_DATA/{name}"
        )
    paths = (archive,) if archive else tuple(fetch(name, file) for file in row.files)
    try:
        content = row.read(paths)
    except KeyError as error:
        raise ValueError(f"{name}: {archive} holds no array {error}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    found = {split: rows.x.shape for split, rows in content.splits.items()}
    expected = {split: (n, *row.shape) for split, n in row.sizes.items()}
    if found != expected:
        raise ValueError(f"{name} has the shapes {found} in its files, not {expected}")
    return content


def _digits(paths: tuple[Path, ...]) -> Content:
    scans = _scans()
    y, classes = encode_labels(scans[:, -1])
    rows = Split(scans[:, :-1].reshape(-1, 1, 8, 8), y)
    return Content(hold_out({"train": rows}, validation=200, test=300, seed=0), classes)


def _sprites(paths: tuple[Path, ...]) -> Content:
    return Content(hold_out({"train": Split(*sprites())}, validation=1000, test=2000, seed=0))


def _dsprites(paths: tuple[Path, ...]) -> Content:
    held = read_arrays(paths[0], ("imgs", "latents_classes"))
    colour_apart = held["latents_classes"][:, 1:].astype(np.float32)  # all are white
    return Content({"train": Split(held["imgs"][:, None], colour_apart)})


@cache
def _scans() -> np.ndarray:
    """The digits' rows (N, 65) of 64 pixels and a class, from scikit-learn's file, once in a process.

    `load_digits` reads the same file, but to import it takes two seconds, more than all else that such a run loads.
    """
    found = find_spec("sklearn")
    (folder,) = found.submodule_search_locations  # type: ignore[union-attr, misc]
    return np.loadtxt(Path(folder) / "datasets" / "data" / "digits.csv.gz", delimiter=",", dtype=np.uint8)


def _idx(paths: tuple[Path, ...], classes: tuple[str, ...]) -> Content:
    x, y, test_x, test_y = (read_idx(path) for path in paths)
    train = Split(x[:, None], y.astype(np.int64))
    return Content({"train": train, "test": Split(test_x[:, None], test_y.astype(np.int64))}, classes)


def _mnist(paths: tuple[Path, ...]) -> Content:
    return _idx(paths, tuple("0123456789"))


def _fashion_mnist(paths: tuple[Path, ...]) -> Content:
    names = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
    return _idx(paths, tuple(names.split(",")))


def _binary_mnist(paths: tuple[Path, ...]) -> Content:
    matrices = zip(SPLITS, map(read_amat, paths), strict=True)
    return Content({split: Split(x.reshape(len(x), 1, 28, 28)) for split, x in matrices})


def _omniglot(paths: tuple[Path, ...]) -> Content:
    """Characters of the background alphabets to train, of the evaluation alphabets to test: no character is in both."""
    if len(paths) == 1:
        held = read_arrays(paths[0])
        parts = [(held[part], held[f"{part}_names"][held[f"{part}_char"]]) for part in ("background", "evaluation")]
    else:
        parts = [_omniglot_zip(path) for path in paths]
    y, classes = encode_labels(np.concatenate([names for _, names in parts]))
    splits = {}
    for split, (images, _), labels in zip(("train", "test"), parts, np.split(y, [len(parts[0][1])]), strict=True):
        order = np.argsort(labels, kind="stable")  # the same rows in the same order from either source
        splits[split] = Split(images[order, None], labels[order])
    return Content(splits, classes)


def _omniglot_zip(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Drawings (N, 28, 28), white on black and shrunk by averaging, and the alphabet/character of each."""
    from PIL import Image

    images, names = [], []
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(path, sum(member.file_size for member in archive.infolist()))
            for member in sorted(name for name in archive.namelist() if name.endswith(".png")):
                with archive.open(member) as file, Image.open(file) as image:
                    ink = 255 - np.asarray(image.convert("L"))
                images.append(np.asarray(Image.fromarray(ink).resize((28, 28), Image.Resampling.BOX)))
                names.append("/".join(member.split("/")[-3:-1]))
    except Exception as error:  # whatever a damaged file makes a decoder stumble over
        raise ValueError(f"{path} is a damaged zip file ({error}); delete it and load again") from error
    if not images:
        raise ValueError(f"{path} holds no .png images")
    return np.stack(images), np.array(names)


def _frey(paths: tuple[Path, ...]) -> Content:
    return Content({"train": Split(read_arrays(paths[0])["images"][:, None])})


def _idx_files(mirrors: tuple[str, ...], sizes: tuple[int, ...], *sums: str) -> tuple[File, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    each = zip(names, sums, sizes, strict=True)
    return tuple(File(f"{name}-ubyte.gz", sha256, mirrors, size) for name, sha256, size in each)


_TORONTO = "https://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
_OMNIGLOT = (
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/",
    "https://github.com/brendenlake/omniglot/raw/master/python/",
)

DATASETS: dict[str, Named] = {
    "digits": Named(
        title="Handwritten digits of scikit-learn, 8×8 (built in)",
        shape=(1, 8, 8),
        sizes={"train": 1297, "valid": 200, "test": 300},
        domain=Domain("grey", levels=17),
        source="https://archive.ics.uci.edu/dataset/80",
        license="CC BY 4.0",
        read=_digits,
    ),
    "mnist": Named(
        title="MNIST handwritten digits",
        shape=(1, 28, 28),
        sizes={"train": 60_000, "test": 10_000},
        domain=Domain("grey", levels=256),
        source="http://yann.lecun.com/exdb/mnist",
        license="CC BY-SA 3.0",
        read=_mnist,
        files=_idx_files(
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            (9_912_422, 28_881, 1_648_877, 4_542),
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": Named(
        title="Fashion-MNIST articles of clothing",
        shape=(1, 28, 28),
        sizes={"train": 60_000, "test": 10_000},
        domain=Domain("grey", levels=256),
        source="https://github.com/zalandoresearch/fashion-mnist",
        license="MIT",
        read=_fashion_mnist,
        files=_idx_files(
            (
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            (26_421_880, 29_515, 4_422_102, 5_148),
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "binary-mnist": Named(
        title="Statically binarised MNIST, Larochelle's split, no labels",
        shape=(1, 28, 28),
        sizes={"train": 50_000, "valid": 10_000, "test": 10_000},
        domain=Domain("binary"),
        source="Salakhutdinov and Murray 2008; Larochelle and Murray 2011",
        license="CC BY-SA 3.0 (as MNIST)",
        read=_binary_mnist,
        files=(
            File(
                "binarized_mnist_train.amat",
                "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
                (_TORONTO,),
                78_400_000,
            ),
            File(
                "binarized_mnist_valid.amat",
                "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
                (_TORONTO,),
                15_680_000,
            ),
            File(
                "binarized_mnist_test.amat",
                "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
                (_TORONTO,),
                15_680_000,
            ),
        ),
    ),
    "omniglot": Named(
        title="Omniglot characters at 28×28; not the split of the IWAE paper",
        shape=(1, 28, 28),
        sizes={"train": 19_280, "test": 13_180},
        domain=Domain("grey", levels=256),
        source="https://github.com/brendenlake/omniglot",
        license="MIT",
        read=_omniglot,
        files=(
            File(
                "images_background.zip",
                "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
                _OMNIGLOT,
                9_464_212,
            ),
            File(
                "images_evaluation.zip",
                "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
                _OMNIGLOT,
                6_462_886,
            ),
        ),
        archive="omniglot28_boxresize_derived.npz",
    ),
    "frey": Named(
        title="Frey faces, 28×20, frames of one video",
        shape=(1, 28, 20),
        sizes={"train": 1965},
        domain=Domain("grey", levels=256),
        source="https://cs.nyu.edu/~roweis/data.html",
        license="not stated; research use",
        read=_frey,
        archive="freyfaces.npz",
    ),
    "sprites": Named(
        title="Shapes of known scale, orientation and place, 64×64 (built in)",
        shape=(1, 64, 64),
        sizes={"train": 15_000, "valid": 1000, "test": 2000},
        domain=Domain("binary"),
        source="made by vaekit, after dSprites (Matthey et al. 2017)",
        license="as vaekit's",
        read=_sprites,
    ),
    "dsprites": Named(
        title="dSprites, 64×64, all 737,280",
        shape=(1, 64, 64),
        sizes={"train": 737_280},
        domain=Domain("binary"),
        source="https://github.com/google-deepmind/dsprites-dataset",
        license="Apache 2.0",
        read=_dsprites,
        archive="dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
    ),
}
