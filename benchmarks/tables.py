"""Tables: holes filled, odd rows found, held-out density, against what is usually taken for them.

python benchmarks/tables.py --report benchmarks/tables.md [--only imputation,anomalies,density] [--seeds 3] [--quick]

Imputation: half of the cells hidden at random, the error of what is filled in them in units of each column's standard
deviation, squared, as in Mattei & Frellsen 2019 (MIWAE), on scikit-learn's breast cancer and, where they are given by
`--data` (a folder with tables/uci/winequality-red.csv and tables/uci/data_banknote_authentication.txt of UCI), red wine
and banknote; vaekit by its recipe `miwae`, against means, scikit-learn's IterativeImputer and the same with trees
(missForest). Not at random: the same tables, half of their columns without all that is above the mean. Mixed: Nazabal
et al.'s Wine and Breast with their masks, in tables/Wine and tables/Breast. Anomalies: the area under the ROC curve of
-log p by the recipe `table`, trained on all rows without labels, or on half of the usual ones, against an isolation
forest, the error of a PCA and, with `--peers` (a Python that has PyOD), PyOD's VAE. Density: nats per held-out row,
also of the census table adult/adult.data, against columns by themselves and mixtures of normals.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from baselines import CATEGORY, REAL, WHOLE, Normals, columns_apart
from machine import where
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, IsolationForest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from synthesis import adult

import vaekit
from vaekit.data.columns import numbers_of

PUBLISHED = {"breast cancer": 0.280, "banknote": 0.446, "red wine": 0.643}
"""Of MIWAE, Mattei & Frellsen 2019, table 3."""


def tables(folder: Path | None) -> dict[str, pd.DataFrame]:
    """The tables that holes are made in."""
    found = {"breast cancer": datasets.load_breast_cancer(as_frame=True).data}
    if folder is not None:
        uci = folder / "tables" / "uci"
        found["banknote"] = pd.read_csv(uci / "data_banknote_authentication.txt", header=None).iloc[:, :4]
        found["banknote"].columns = pd.Index(["variance", "skewness", "curtosis", "entropy"])
        found["red wine"] = pd.read_csv(uci / "winequality-red.csv", sep=";").drop(columns="quality")
    return found


def trained(recipe: str, frame: pd.DataFrame, seed: int, quick: bool, *sets: str) -> vaekit.Run:
    """A run of a recipe on a data frame, in a folder that is gone afterwards."""
    sets = (*sets, f"training.seed={seed}", *(["training.steps=200"] if quick else []))
    with tempfile.TemporaryDirectory() as folder:
        return vaekit.train(recipe, Path(folder) / "run", data=frame, sets=sets)


def others(holes: pd.DataFrame, seed: int) -> dict[str, Callable[[], pd.DataFrame]]:
    """What is usually taken to fill holes."""

    def by(imputer: object) -> pd.DataFrame:
        return pd.DataFrame(imputer.fit_transform(holes), columns=holes.columns)

    trees = ExtraTreesRegressor(20, random_state=seed)
    return {
        "means": lambda: by(SimpleImputer()),
        "IterativeImputer": lambda: by(IterativeImputer(max_iter=20, random_state=seed)),
        "missForest": lambda: by(IterativeImputer(trees, max_iter=5, random_state=seed)),
    }


def imputation(seeds: int, quick: bool, data: Path | None) -> Iterator[dict]:
    """The error of each way to fill holes."""
    for name, x in tables(data).items():
        for seed in range(seeds):
            hidden = np.random.default_rng(seed).random(x.shape) < 0.5
            holes, spread = x.mask(hidden), x.std(ddof=0)

            def vae(holes: pd.DataFrame = holes, seed: int = seed) -> pd.DataFrame:
                run = trained("miwae", holes, seed, quick, "data.validation=0", "data.test=0")
                return run.impute(holes, samples=1000, seed=seed).table

            for way, fill in {"vaekit": vae, **others(holes, seed)}.items():
                start = time.perf_counter()
                error = (((fill() - x) / spread) ** 2).to_numpy()[hidden].mean()
                yield {"of": name, "by": way, "seed": seed, "value": error, "seconds": time.perf_counter() - start}


def anomalies(seeds: int, quick: bool, data: Path | None, peers: Path | None = None) -> Iterator[dict]:
    """How well each way tells odd rows: trained without labels on 90 % usual and 10 % odd ones, which are then scored;
    or trained on half of the usual ones, the other half and the odd ones scored.
    """
    cancer = datasets.load_breast_cancer(as_frame=True)
    digits = datasets.load_digits(as_frame=True)
    sets = {"breast cancer, malignant": (cancer.data, cancer.target == 0)}
    sets |= {f"digits, {i} against the rest": (digits.data, digits.target == i) for i in (0, 4, 8)}
    for name, (x, odd) in sets.items():
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            usual, odds = rng.permutation(np.flatnonzero(~odd)), rng.permutation(np.flatnonzero(odd))
            mixed_in = np.concatenate([usual, odds[: len(usual) // 9]])
            rest = np.concatenate([usual[len(usual) // 2 :], odds])
            parts = {"unlabelled": (mixed_in, mixed_in), "usual ones alone": (usual[: len(usual) // 2], rest)}
            for how, (train, test) in parts.items():
                rows, scored = (x.iloc[part].reset_index(drop=True) for part in (train, test))
                for way, score in detectors(rows, scored, seed, quick, peers).items():
                    start = time.perf_counter()
                    area = roc_auc_score(odd.to_numpy()[test], score())
                    seconds = time.perf_counter() - start
                    yield {"of": f"{name}; {how}", "by": way, "seed": seed, "value": area, "seconds": seconds}


def detectors(
    rows: pd.DataFrame, scored: pd.DataFrame, seed: int, quick: bool, peers: Path | None
) -> dict[str, Callable[[], np.ndarray]]:
    """Each way to say how odd rows are."""
    scaler = StandardScaler().fit(rows)
    train, test = scaler.transform(rows), scaler.transform(scored)

    def vae() -> np.ndarray:
        score = trained("table", rows, seed, quick).detect(scored)["score"].to_numpy()
        return np.nan_to_num(score, posinf=np.finfo(np.float32).max)  # a level that no usual row has is odder than all

    def pca() -> np.ndarray:
        fitted = PCA(0.9, random_state=0).fit(train)
        return ((test - fitted.inverse_transform(fitted.transform(test))) ** 2).sum(1)

    def pyod() -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.npz"
            np.savez(file, train=train, test=test)
            program = Path(__file__).parent / "peers" / "pyod_vae.py"
            told = subprocess.run([peers, program, file, str(seed)], check=True, capture_output=True, text=True)
        return np.array(json.loads(told.stdout.splitlines()[-1]))

    ways: dict[str, Callable[[], np.ndarray]] = {
        "vaekit": vae,
        "isolation forest": lambda: -IsolationForest(random_state=seed).fit(train).score_samples(test),
        "PCA": pca,
    }
    return ways | ({"PyOD's VAE": pyod} if peers else {})


def density(seeds: int, quick: bool, data: Path | None) -> Iterator[dict]:
    """Nats per held-out row, in the user's units: densities of what is real, masses of whole numbers and categories."""
    for name, x in wholes(data).items():
        for seed in range(seeds):
            start = time.perf_counter()
            run = trained("table", x, seed, quick, f"data.seed={seed}")
            found = run.evaluate("test", 500).nll
            yield {"of": name, "by": "vaekit", "seed": seed, "value": found, "seconds": time.perf_counter() - start}
            for way, log_prob in densities(run, x, name, seed).items():
                start = time.perf_counter()
                nats = -log_prob().mean()
                yield {"of": name, "by": way, "seed": seed, "value": nats, "seconds": time.perf_counter() - start}


def densities(run: vaekit.Run, x: pd.DataFrame, name: str, seed: int) -> dict[str, Callable[[], np.ndarray]]:
    """Other ways to say log p of the test rows of a run, from its training rows, and from those held out for
    validation, which these do not need.
    """
    kinds = [_kind(each.kind) for each in run.schema.table]
    levels = [len(each.categories) for each in run.schema.table]
    numbers = numbers_of(run.schema.table, x, name)
    rows = {split: each.origin.astype(int) for split, each in run.dataset.splits.items()}
    train, test = numbers[np.concatenate([rows["train"], rows["valid"]])], numbers[rows["test"]]

    def normals(many: int) -> np.ndarray:
        return Normals(train, kinds, many, seed).log_prob(test)

    return {
        "columns apart": lambda: columns_apart(train, test, kinds, levels, seed),
        **{f"mixture of {many} normals": partial(normals, many) for many in (1, 5, 20)},
    }


def wholes(data: Path | None) -> dict[str, pd.DataFrame]:
    """The tables without a hole: those of `tables`, and of the census table the rows that have none."""
    found = tables(data)
    if data is not None:
        found["adult"] = adult(data / "adult" / "adult.data").dropna().reset_index(drop=True)
    return found


def _kind(kind: str) -> str:
    """What a column is to a density that knows three kinds."""
    whole = {"count": WHOLE, "integer": WHOLE, "binary": CATEGORY, "categorical": CATEGORY, "ordinal": CATEGORY}
    return whole.get(kind, REAL)


def not_at_random(seeds: int, quick: bool, data: Path | None) -> Iterator[dict]:
    """The error of what is filled where half of the columns lack all that is above their mean (Ipsen et al. 2021)."""
    for name, x in tables(data).items():
        half = x.columns[: x.shape[1] // 2]
        hidden = np.zeros(x.shape, bool)
        hidden[:, : len(half)] = (x[half] > x[half].mean()).to_numpy()
        for seed in range(seeds):
            holes, spread = x.mask(hidden), x.std(ddof=0)

            def vae(recipe: str, *sets: str, holes: pd.DataFrame = holes, seed: int = seed) -> pd.DataFrame:
                run = trained(recipe, holes, seed, quick, "data.validation=0", "data.test=0", *sets)
                return run.impute(holes, samples=1000, seed=seed).table

            ways: dict[str, Callable[[], pd.DataFrame]] = {
                "vaekit, `not-miwae`": lambda vae=vae: vae("not-miwae"),
                "vaekit, `not-miwae` told that high values are missing": lambda vae=vae: vae(
                    "not-miwae", "model.likelihood.missing=high"
                ),
                "vaekit, `miwae`": lambda vae=vae: vae("miwae"),
                **others(holes, seed),
            }
            for way, fill in ways.items():
                start = time.perf_counter()
                error = (((fill() - x) / spread) ** 2).to_numpy()[hidden].mean() ** 0.5
                yield {"of": name, "by": way, "seed": seed, "value": error, "seconds": time.perf_counter() - start}


def mixed(seeds: int, quick: bool, data: Path | None) -> Iterator[dict]:
    """The error by kind of column of Nazabal et al.'s tables, with their lists of missing cells."""
    for name in ("Wine", "Breast") if data else ():
        folder = data / "tables" / name  # type: ignore[operator]
        x = pd.read_csv(folder / "data.csv", header=None)
        x.columns = pd.Index([f"x{i}" for i in range(x.shape[1])])
        stated = pd.read_csv(folder / "data_types.csv")["type"]
        kinds = dict(zip(x.columns, stated.map({"pos": "positive", "cat": "categorical"}).fillna(stated), strict=True))
        columns = ", ".join(f"{column} = '{kind}'" for column, kind in kinds.items())
        for share in (10, 20, 50):
            cells = pd.read_csv(folder / f"Missing{share}_1.csv", header=None).to_numpy() - 1
            hidden = np.zeros(x.shape, bool)
            hidden[cells[:, 0], cells[:, 1]] = True
            for seed in range(seeds):
                holes = x.mask(hidden)

                def vae(holes: pd.DataFrame = holes, seed: int = seed, columns: str = columns) -> pd.DataFrame:
                    told = f"data.columns={{{columns}}}"
                    run = trained("miwae", holes, seed, quick, "data.validation=0", "data.test=0", told)
                    return run.impute(holes, samples=500, seed=seed).table.astype(float)

                known = others(holes, seed)
                known["means"] = lambda holes=holes, kinds=kinds: holes.fillna(
                    {c: holes[c].mean() if kinds[c] in ("positive", "real") else holes[c].mode()[0] for c in holes}
                )
                for way, fill in {"vaekit": vae, **known}.items():
                    start = time.perf_counter()
                    filled, seconds = fill(), time.perf_counter() - start
                    for kind in dict.fromkeys(kinds.values()):
                        of = [i for i, column in enumerate(x.columns) if kinds[column] == kind]
                        errors = [_error(kind, filled.iloc[:, i], x.iloc[:, i], hidden[:, i]) for i in of]
                        what = f"{name}, {share} %, {kind}"
                        yield {"of": what, "by": way, "seed": seed, "value": np.mean(errors), "seconds": seconds}


def _error(kind: str, filled: pd.Series, x: pd.Series, hidden: np.ndarray) -> float:
    """As Nazabal et al. 2020, section 5.1: of categories the share that is wrong, of ordered levels how far off, of
    numbers the root mean square, both in units of the range.
    """
    off, span = (filled - x)[hidden], x.max() - x.min()
    if kind == "categorical":
        return float((off.round() != 0).mean())
    if kind == "ordinal":
        return float((off.round().abs() / (span + 1)).mean())
    return float((off**2).mean() ** 0.5 / span)


SECTIONS: dict[str, Callable[..., Iterator[dict]]] = {
    "imputation": imputation,
    "not at random": not_at_random,
    "mixed": mixed,
    "anomalies": anomalies,
    "density": density,
}
WHAT = {
    "not at random": "Root mean square error of the cells filled, in units of the columns' deviations; lower is better",
    "mixed": "Error of the cells filled: share of wrong categories, levels off in units of their number, "
    "root mean square in units of the range; lower is better",
    "imputation": "Squared error of the cells filled, in units of the columns' variances; lower is better",
    "anomalies": "Area under the ROC curve; higher is better",
    "density": "NLL of held-out rows, nats, in the table's own units; lower is better",
}


def written(rows: list[dict], command: str) -> str:
    """The report."""
    lines = ["# Tables", "", where(), "", f"Command: `{command}`", ""]
    for section in dict.fromkeys(row["section"] for row in rows):
        mine = pd.DataFrame([row for row in rows if row["section"] == section])
        lines += [f"## {section.capitalize()}", "", f"{WHAT[section]}. Mean ± standard error over the seeds.", ""]
        lines += ["| of | by | value | seeds | seconds |", "|---|---|---|---|---|"]
        for (of, by), each in mine.groupby(["of", "by"], sort=False):
            value, n = each["value"], len(each)
            error = f" ± {value.std() / n**0.5:.4f}" if n > 1 else ""
            lines.append(f"| {of} | {by} | {value.mean():.4f}{error} | {n} | {each['seconds'].mean():.1f} |")
        if section == "imputation":
            known = ", ".join(f"{name} {value}" for name, value in PUBLISHED.items())
            lines += ["", f"Published of MIWAE: {known}."]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peers", type=Path, help="a Python that has PyOD")
    parser.add_argument("--quick", action="store_true", help="so small that the numbers mean nothing")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for section in given.only.split(","):
        more = {"peers": given.peers} if section == "anomalies" else {}
        for row in SECTIONS[section](given.seeds, given.quick, given.data, **more):
            rows.append({"section": section, **row})
            print(json.dumps(rows[-1]), flush=True)
    if given.report is not None:
        command = f"python benchmarks/tables.py --only {given.only} --seeds {given.seeds}"
        given.report.write_text(written(rows, command), encoding="utf-8")


if __name__ == "__main__":
    main()
