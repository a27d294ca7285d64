"""Settings: precedence, parsing, ranges, and all faults at once with where each value came from."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from nlpseq.config import check, configure, from_plain, read_recipe, setting, settings_of, to_plain
from nlpseq.errors import UsageError, sentence
from nlpseq.settings import (
    EmbedConfig,
    LMConfig,
    NerConfig,
    RunConfig,
    SentimentConfig,
    TokenizeConfig,
    TranslateConfig,
)
from nlpseq.share import share_path


@dataclass(frozen=True)
class Inner:
    size: int = setting(4, "Size.", low=1, high=10, unit="tokens")
    kind: Literal["soft", "hard"] = setting("soft", "Kind.")


@dataclass(frozen=True)
class Outer:
    corpus: str | None = setting(None, "Corpus.")
    rate: float = setting(0.5, "Rate.", low=0.0, high=1.0)
    limit: int | None = setting(None, "Limit.", low=1)
    shout: bool = setting(False, "Shout.", neutral=True)
    inner: Inner = field(default_factory=Inner)

    def faults(self) -> Iterator[str]:
        if self.shout and self.inner.kind == "soft":
            yield sentence("shout", "be false where kind is soft", "true", quote=False)


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, "utf-8")
    return path


def test_default_then_recipe_then_table_of_the_corpus_then_option(tmp_path: Path):
    path = recipe(tmp_path, "rate = 0.1\nsize = 2\nlimit = 7\n[phrasebook]\nsize = 3\nlimit = 8\n[imdb]\nsize = 9\n")
    config = configure(Outer, recipe=path, corpus="phrasebook", limit="9")
    assert config == Outer(corpus="phrasebook", rate=0.1, limit=9, inner=Inner(size=3, kind="soft"))
    assert configure(Outer, recipe=path, corpus="mine.tsv").inner.size == 2
    assert configure(Outer, recipe=path, corpus="mine.tsv", limit=None).limit is None
    path = recipe(tmp_path, 'corpus = "phrasebook"\n[phrasebook]\nsize = 3\n')
    assert configure(Outer, recipe=path).inner.size == 3


def test_a_table_that_is_no_corpus_and_a_slip_in_another_table_are_told(tmp_path: Path):
    path = recipe(tmp_path, "[phrasebok]\nsize = 3\n[imdb]\nsise = 3\n[training]\nsize = 1\n")
    with pytest.raises(UsageError) as caught:
        configure(Outer, recipe=path, corpus="phrasebook")
    told = str(caught.value).splitlines()
    assert told[0].startswith("`[phrasebok]` must be the name of a corpus (settings stand at the top, without a table)")
    assert "did you mean `phrasebook`?" in told[0]
    assert "`sise` must be a setting of Outer, but is none; did you mean `size`?" in told[1]
    assert "[imdb]" in told[1]
    assert told[2].startswith("`[training]` must be the name of a corpus")
    assert len(told) == 3


def test_absence_is_kept(tmp_path: Path):
    config = configure(TranslateConfig, corpus="c", out="o", clip=None, patience=3)
    assert config.training.clip is None
    assert from_plain(TranslateConfig, to_plain(config), "m") == config


def test_the_shipped_recipe_is_read_where_none_is_given():
    plain = tomllib.loads(share_path("pipelines", "translate", "recipe.toml").read_text("utf-8"))["phrasebook"]
    config = configure(TranslateConfig, corpus="phrasebook", out="m")
    assert {name: to_plain(config)[name] for name in plain} == plain
    assert plain.items() - to_plain(configure(TranslateConfig, corpus="mine.tsv", out="m")).items()


@pytest.mark.parametrize("cls", [TokenizeConfig, EmbedConfig, SentimentConfig, NerConfig, TranslateConfig, LMConfig])
def test_every_table_of_the_shipped_recipes_can_be_used(cls: type):
    path = share_path("pipelines", cls.stage, "recipe.toml")
    tables = [name for name, value in tomllib.loads(path.read_text("utf-8")).items() if isinstance(value, dict)]
    for name in tables:
        assert configure(cls, corpus=name, out="m").run.corpus == name


def test_all_faults_come_at_once_each_with_where_the_value_came_from(tmp_path: Path):
    path = recipe(tmp_path, 'sise = 3\nrate = 2.0\n[mine]\nkind = "sofd"\n')
    with pytest.raises(UsageError) as caught:
        configure(Outer, recipe=path, corpus="mine", limit="many", shout="perhaps")
    assert str(caught.value).splitlines() == [
        f"`sise` must be a setting of Outer, but is none; did you mean `size`? ({path}, key `sise`).",
        f"`rate` must be a number from 0 to 1, but is 2.0 ({path}, key `rate`).",
        f'`kind` must be one of soft, hard, but is "sofd" ({path}, key `kind`).',
        '`limit` must be a whole number of at least 1, or absent, but is "many" (option --limit).',
        '`shout` must be true or false, but is "perhaps" (option --shout).',
    ]


def test_faults_between_settings_are_told_when_each_alone_is_right():
    with pytest.raises(UsageError, match=r"^`shout` must be false where kind is soft, but is true\.$"):
        configure(Outer, recipe=Path("/dev/null"), shout=True)
    with pytest.raises(UsageError, match=r"`corpus` must be given, but is absent \(option --corpus\)\.\n`out` must be"):
        configure(TranslateConfig)
    both = {"corpus": "c", "out": "o", "text": "t", "source": "en"}
    with pytest.raises(UsageError, match='`text` must be absent where source or target is given, but is "t"'):
        configure(TokenizeConfig, **both)


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("size", "7", 7), ("size", 7.0, 7), ("size", 10, 10), ("rate", "1e-3", 0.001), ("rate", 1, 1.0),
        ("limit", "", None), ("shout", "yes", True), ("shout", "false", False), ("corpus", Path("a/b"), "a/b"),
        ("corpus", "", None), ("kind", "hard", "hard"),
    ],
)  # fmt: skip
def test_values_are_read_as_on_the_command_line(name: str, value: object, parsed: object):
    found = to_plain(configure(Outer, recipe=Path("/dev/null"), **({"kind": "hard"} | {name: value})))[name]
    assert found == parsed
    assert type(found) is type(parsed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", "0"), ("size", 11), ("size", 2.5), ("size", True), ("size", "2.5"), ("size", [3]), ("size", ""),
        ("size", 10**400), ("size", "9" * 400), ("size", math.inf), ("size", math.nan), ("rate", "nan"),
        ("rate", math.inf), ("rate", 10**400), ("rate", "half"), ("limit", 10**400 * -1), ("limit", math.inf),
        ("shout", 1), ("corpus", 3), ("kind", 3), ("kind", ["soft"]), ("rate", {"a": 1}),
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_refused(name: str, value: object):
    with pytest.raises(UsageError, match=f"^`{name}` must be "):
        configure(Outer, recipe=Path("/dev/null"), **{name: value})


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"size = \n", r"`recipe` must be a TOML file, but is not one \(.*line 1.*\) \(.*recipe\.toml\)\."),
        (b"\xff\xfea\x00", r"`recipe` must be a TOML file, but is not one \("),
        (b"\x80\x04K\x01.", r"`recipe` must be a TOML file, but is not one \("),
    ],
)
def test_a_recipe_that_is_no_toml(tmp_path: Path, content: bytes, match: str):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=match):
        read_recipe(path)


def test_a_recipe_that_is_not_there(tmp_path: Path):
    with pytest.raises(UsageError, match=r'`recipe` must be a file that can be read, but is ".*" \(No such file'):
        read_recipe(tmp_path / "no.toml")
    with pytest.raises(UsageError, match=r'`recipe` must be a file that can be read, but is ".*" \(Is a directory'):
        read_recipe(tmp_path)


@pytest.mark.parametrize("config", [TranslateConfig(run=RunConfig(corpus="c", out="o")), Outer(limit=3)])
def test_plain_values_lead_back_to_the_configuration(config: object):
    assert from_plain(type(config), to_plain(config), "here") == config


def test_plain_values_of_another_version_are_told():
    with pytest.raises(UsageError, match=r"`colour` must be a setting of Outer, but is none \(m\)\."):
        from_plain(Outer, {"colour": "red"}, "m")


def test_a_configuration_built_by_hand_is_checked():
    check(Outer(inner=Inner(size=10)))
    with pytest.raises(UsageError, match=r"^`size` must be .* from 1 to 10 \(tokens\), but is 11 \(given in Python\)"):
        check(Outer(inner=Inner(size=11)))


@pytest.mark.parametrize("cls", [TokenizeConfig, EmbedConfig, SentimentConfig, NerConfig, TranslateConfig, LMConfig])
def test_every_setting_has_one_name_a_help_and_a_default_inside_its_range(cls: type):
    items = list(settings_of(cls))
    assert len({item.name for item in items}) == len(items)
    for item in items:
        assert item.help.endswith((".", "…")), item.name
        if item.kind in (int, float):
            assert None not in (item.low, item.high), item.name
        if item.default is not None and item.low is not None:
            assert item.low <= item.default <= item.high, item.name


@dataclass(frozen=True)
class Larger:
    corpus: str | None = setting(None, "Corpus.")
    inner: Inner = field(default_factory=partial(Inner, size=9))


def test_a_section_may_have_other_defaults(tmp_path: Path):
    assert {item.name: item.default for item in settings_of(Larger)} == {"corpus": None, "size": 9, "kind": "soft"}
    path = recipe(tmp_path, "")
    assert configure(Larger, recipe=path).inner == Inner(9, "soft")
    assert configure(Larger, recipe=path, kind="hard").inner == Inner(9, "hard")
    assert from_plain(Larger, {"kind": "hard"}, "here").inner == Inner(9, "hard")


@dataclass(frozen=True)
class Pace:
    pace: int = setting(3, "Speed.", low=1, high=9)


@dataclass(frozen=True)
class Walk:
    corpus: str | None = setting(None, "Corpus.")
    pace: Pace = field(default_factory=Pace)


def test_a_section_may_be_named_like_a_setting_in_it(tmp_path: Path):
    assert configure(Walk, recipe=recipe(tmp_path, ""), pace=5).pace == Pace(5)
