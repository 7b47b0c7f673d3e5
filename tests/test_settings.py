"""How settings are written, and what messages advise on the command line, to `train`, and in a call."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands_for_tests import command, done
from hypothesis import given
from hypothesis import strategies as st
from models_for_tests import refuses
from specs_for_tests import parse_toml

from vaekit import train
from vaekit.data import load
from vaekit.errors import LeftOutWarning
from vaekit.runs.run import Run, load_run
from vaekit.settings import assign, option, setting, standing, unset, written
from vaekit.spec.targets import resolve

TINY = ("model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "training.batch_size=20")


def assigned(text: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    values = {} if values is None else values
    assign(values, text)
    return values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[32,64]", [32, 64]),
        ("32,64", [32, 64]),
        ("32, 64", [32, 64]),
        ("0.5,1e-3", [0.5, 1e-3]),
        ("a,b", "a,b"),
        ("two words, one comma", "two words, one comma"),
        ("true", True),
        ('"none"', "none"),
        ("{name='mlp', hidden=[3]}", {"name": "mlp", "hidden": [3]}),
    ],
)
def test_values_are_toml_or_lists_of_numbers_or_else_text(text: str, value: Any) -> None:
    assert assigned(f"a.b={text}") == {"a": {"b": value}}


def test_keys_of_any_letters_are_read_as_they_are_written() -> None:
    kinds = {"size in m": "real", "b": "none", 'the "é"': "count", "": "date", "a.b": "real"}
    assert assigned(f"data.columns={written(kinds)}") == {"data": {"columns": kinds}}


def test_sizes_of_layers_may_be_given_with_commas_alone() -> None:
    spec = parse_toml("", ["model.encoder.hidden=32,64"])
    assert spec.model.encoder.options == {"hidden": [32, 64]}


@pytest.mark.parametrize("word", ["none", "None", "null"])
def test_what_a_recipe_sets_can_be_taken_back(word: str) -> None:
    assert resolve("elu-mnist").data.binarize is not None
    assert resolve("elu-mnist", [f"data.binarize={word}"]).data.binarize is None
    assert resolve(resolve("elu-mnist"), [f"data.binarize={word}"]).data.binarize is None
    spec = resolve("elu-mnist", [f"training.epochs={word}", f"model.latents={word}", f"objective={word}"])
    assert (spec.training.epochs, list(spec.model.latents), spec.objective.name) == (20, ["z"], "elbo")


def test_what_was_not_set_is_taken_back_only_by_its_name() -> None:
    assert parse_toml("", ["data.binarize=none", "model.encoder.activation=none"]) == parse_toml("")
    assert parse_toml('model.encoder="mlp"', ["model.encoder.hidden=none"]).model.encoder.options == {}
    with refuses("unknown key of spec data: 'binarise' (did you mean 'binarize'?)"):
        parse_toml("", ["data.binarise=none"])
    with refuses("unknown option of encoder 'mlp': 'hiden' (did you mean 'hidden'?)"):
        parse_toml("", ["model.encoder.hiden=none"])


@given(
    st.one_of(st.text(max_size=8).filter(str.isprintable), st.integers(), st.booleans(), st.just("none"), st.just("3"))
)
def test_what_is_advised_says_what_it_is_to(value: object) -> None:
    with standing("spec"):
        (text,) = json.loads(setting("data.label", value).removeprefix("sets="))
    found = assigned(text)["data"]["label"]
    assert found == (value.strip() if isinstance(value, str) and value != found else value)
    with standing("command"):
        first, *rest = shlex.split(setting("data.label", value))
    assert (first, rest) == ("--set", [text])


def test_advice_is_for_where_the_user_stands_the_outermost() -> None:
    advice = lambda: (setting("data.label", "kind"), unset("model.condition"), option("resume"), option("n", 3))  # noqa: E731
    assert advice() == ("label='kind'", "leave out condition", "resume=True", "n=3")
    with standing("spec"):
        assert advice() == ('sets=["data.label=kind"]', 'sets=["model.condition=none"]', "resume=True", "n=3")
    with standing("command"), standing("spec"):
        assert advice() == ("--set data.label=kind", "--set model.condition=none", "--resume", "-n 3")
    assert advice()[0] == "label='kind'"


def table(folder: Path, rows: int = 60) -> Path:
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f},{b:.3f},{'xyz'[i % 3]}" for i, (a, b) in enumerate(rng.normal(size=(rows, 2)))]
    path = folder / "table.csv"
    path.write_text("\n".join(["a,b,kind", *lines]))
    return path


@pytest.mark.usefixtures("_no_report")
def test_a_table_of_nothing_but_numbers_of_its_rows_is_told_how_to_say_what_it_is_and_that_works(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["row id,b", *(f"{i},7" for i in range(60))]))
    with refuses(
        "no column to learn from ('row id': identifier; 'b': constant); say of what kind one is: columns={'row"
    ):
        load(path)
    with pytest.warns(LeftOutWarning, match="column 'b' is left out: constant"):
        assert load(path, columns={"row id": "real"}).columns == ("row id",)
    with refuses("""sets=["data.columns={\\"row id\\" = \\"real\\"}"]"""):
        train(path, tmp_path / "run")
    result = command("train", path, "--out", tmp_path / "run")
    assert result.status == 2
    advice = shlex.split(result.err.partition("of what kind one is: ")[2])
    assert advice == ["--set", 'data.columns={"row id" = "real"}']
    sets = [word for each in TINY for word in ("--set", each)]
    done("train", path, "--out", tmp_path / "run", *advice, *sets, "--epochs=1", "--samples=1")
    done("train", path, "--out", tmp_path / "other", "--column", "row id=real", *sets, "--epochs=1", "--samples=1")
    assert load_run(tmp_path / "other").spec.data.columns == {"row id": "real"}


def test_a_column_of_text_is_a_column_or_names_classes(tmp_path: Path) -> None:
    path = table(tmp_path)
    assert [each.kind for each in load(path).table] == ["real", "real", "categorical"]
    assert load(path, label="kind").classes == ("x", "y", "z")
    assert load(path, label="kind").columns == ("a", "b")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Trained from a .toml file whose data lie beside it, by a path that is relative to it."""
    (tmp_path / "deep").mkdir()
    table(tmp_path / "deep")
    text = '[data]\nname = "table.csv"\nlabel = "kind"\n[training]\nbatch_size = 20\nepochs = 1'
    (tmp_path / "deep" / "mine.toml").write_text(text)
    return train(tmp_path / "deep" / "mine.toml", tmp_path / "run")


def test_paths_of_a_toml_file_are_relative_to_it(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (tmp_path / "deep" / "table.csv").resolve()
    assert load_run(run.path).spec.data.name == str(data)
    monkeypatch.chdir(tmp_path)
    assert resolve("deep/mine.toml").data.name == str(data)
    (tmp_path / "table.csv").write_text("another")
    assert resolve("deep/mine.toml").data.name == str(data)
    # What is said on the command line is relative to where it is said.
    assert resolve("deep/mine.toml", ["data.name=table.csv"]).data.name == str(tmp_path.resolve() / "table.csv")
    stacked = '[data]\ncodes = "../run"'
    (tmp_path / "deep" / "stacked.toml").write_text(stacked)
    assert resolve("deep/stacked.toml").data.codes == str(run.path.resolve())
    (tmp_path / "deep" / "none.toml").write_text('[data]\nname = "tabel.csv"')
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder deep.tabel\.csv"):
        train("deep/none.toml", tmp_path / "other")
    for name in ("digits", "digist"):
        (tmp_path / "deep" / "named.toml").write_text(f'[data]\nname = "{name}"')
        assert resolve("deep/named.toml").data.name == name


def test_a_path_at_which_there_is_nothing_is_named_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table(tmp_path).parent)
    assert command("train", "tabel.csv").err == (
        "vaekit: there is no file or folder tabel.csv (did you mean 'table.csv'?)\n"
    )
    assert command("train", "far/away.npy").err == "vaekit: there is no file or folder far/away.npy\n"
    assert command("evaluate", "nowhere").err == "vaekit: nowhere is no run: it is not there\n"
