"""Classes in words, as they are given and as files hold them."""

from pathlib import Path

import pytest

from embedstore.errors import ConfigError
from heads.prompts import ZeroShotConfig, parse_classes, read_prompts

TWO = {"tumour": ("tumor tissue", "carcinoma"), "normal": ("normal tissue",)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", 'templates = ["{}."]\n[classes]\ntumour = ["tumor tissue", "carcinoma"]\nnormal = "normal tissue"'),
        ("p.JSON", '{"classes": {"tumour": ["tumor tissue", "carcinoma"], "normal": "normal tissue"}}'),
        ("p.csv", "class,prompt\ntumour,tumor tissue\nnormal,normal tissue\n tumour ,carcinoma\n"),
    ],
)
def test_files(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    config = ZeroShotConfig(**read_prompts(tmp_path / name))
    assert config.classes == TWO and config.templates == (("{}.",) if name == "p.toml" else ("{}",))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.txt", "", "ends in .txt; expected .toml, .json, .csv"),
        ("p.toml", "tumour = 1", "has tumour; expected a table `classes`"),
        ("p.toml", "[classes", "cannot be read"),
        ("p.json", "[1]", "has a list; expected"),
        ("p.json", '{"classes": []}', "has classes; expected"),
        ("p.json", '{"classes": {}, "other": 1}', "has classes, other"),
        ("p.csv", "a,b\n1,2\n", "has the columns a, b; expected class and prompt"),
        ("p.csv", "class,prompt\n,x\n", "line 2 has no class"),
        ("p.json", None, "cannot be read: No such file"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, text: str | None, said: str):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_prompts(tmp_path / name)


def test_classes_of_the_command_line():
    assert parse_classes(["tumour=tumor tissue|carcinoma", "normal = normal tissue"])["tumour"] == TWO["tumour"]
    for given, said in ((["tumour"], "has no prompt"), (["=x"], "has no prompt"), (["a=x", "a=y"], "given twice")):
        with pytest.raises(ConfigError, match=said):
            parse_classes(given)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classes": {"a": "x"}}, "number of classes is 1; expected 2"),
        ({"classes": {"a": "x", "b": ""}}, "class 'b': a text to search by is empty"),
        ({"classes": {"a": "x", "b": 3}}, "class 'b' has a int"),
        ({"classes": {"a": "x", " ": "y"}}, "has no name"),
        ({"classes": {"a": "x", "b": ["y", "x"]}}, "classes 'a' and 'b' have the same text 'x'"),
        ({"classes": TWO, "templates": ()}, "no template"),
        ({"classes": TWO, "templates": ("an image",)}, "0 places for a prompt; expected {} once"),
        ({"classes": TWO, "positive": "other"}, "is none of tumour, normal"),
        ({"classes": TWO, "logit_scale": 0}, "above 0"),
        ({"classes": {"a": [f"a{i}" for i in range(600)], "b": [f"b{i}" for i in range(600)]}}, "1,200 texts"),
    ],
)
def test_settings_that_are_refused(settings: dict, said: str):
    with pytest.raises(ConfigError, match=said):
        ZeroShotConfig(**settings)
