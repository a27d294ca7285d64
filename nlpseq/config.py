"""How settings work: each is written once, with default, range, unit and help, and read everywhere from there.

A configuration is a frozen dataclass whose fields are made by `setting`, or are such dataclasses themselves
(sections). Names are unique over all sections of a configuration, so a recipe key, a command-line option, a Python
keyword and a key of a manifest are the same word. `configure` puts them together: default < recipe < option.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

from nlpseq.errors import UsageError, did_you_mean, sentence
from nlpseq.share import share_path

__all__ = ["Setting", "check", "configure", "from_plain", "read_recipe", "setting", "settings_of", "to_plain"]

Config = TypeVar("Config")


class Setting(NamedTuple):
    """One setting as it was declared: everything that help texts, parsing and checking need."""

    name: str
    section: tuple[str, ...]
    kind: type
    optional: bool
    default: Any
    help: str
    low: float | None
    high: float | None
    unit: str | None
    choices: tuple[str, ...] | None
    neutral: bool
    opposite: str | None

    @property
    def rule(self) -> str:
        """What a value must be, as it stands in error sentences and in --help."""
        if self.choices:
            rule = "be one of " + ", ".join(self.choices)
        elif self.kind is bool:
            rule = "be true or false"
        elif self.kind is str:
            rule = "be a text"
        else:
            rule = "be a whole number" if self.kind is int else "be a number"
            if self.low is not None and self.high is not None:
                rule += f" from {_figure(self.low)} to {_figure(self.high)}"
            elif self.low is not None:
                rule += f" of at least {_figure(self.low)}"
            if self.unit:
                rule += f" ({self.unit})"
        return rule + (", or absent" if self.optional else "")


def _figure(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str | None = None,
    neutral: bool = False,
    opposite: str | None = None,
) -> Any:
    """Return a dataclass field that is a setting.

    low, high: inclusive range; unit: of the value; neutral: cannot change the result (device, threads), so that a
    resumed or repeated run may differ in it; opposite: the option that says no, where `--no-…` would not do. Choices
    are declared by a `Literal` annotation, absence by `| None`.
    """
    facts = {"help": help, "low": low, "high": high, "unit": unit, "neutral": neutral, "opposite": opposite}
    return dataclasses.field(default=default, metadata=facts)


def settings_of(cls: type, section: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yield the settings of a configuration class in the order in which they are declared, sections included."""
    yield from _settings_of(cls(), section)


def _settings_of(holder: Any, section: tuple[str, ...]) -> Iterator[Setting]:
    """Yield the settings of a configuration; its values are their defaults, so a section may have others than usual."""
    hints = get_type_hints(type(holder))
    for field in dataclasses.fields(holder):
        hint, value = hints[field.name], getattr(holder, field.name)
        if dataclasses.is_dataclass(hint):
            yield from _settings_of(value, (*section, field.name))
            continue
        kinds = get_args(hint) if get_origin(hint) is not Literal else (hint,)
        optional = NoneType in kinds
        kind = next((k for k in kinds if k is not NoneType), hint)
        choices = get_args(kind) if get_origin(kind) is Literal else None
        kind = str if choices else kind
        yield Setting(field.name, section, kind, optional, value, choices=choices, **field.metadata)


def configure(cls: type[Config], *, recipe: Path | str | None = None, **options: object) -> Config:
    """Return a checked configuration: the defaults, overridden by a recipe, overridden by options.

    recipe: a TOML file of setting names, with tables of what differs for a corpus by its name; when absent, the one
    that nlpseq has for the stage. options: by setting name; strings are read as on the command line, None is the
    absence of a value. What a recipe says and an option makes idle (`idle` of the configuration or
    of a section) is left out.
    Raises UsageError with every fault found, one sentence a line, each with where it came from.
    """
    path = recipe if recipe is not None else share_path("pipelines", str(getattr(cls, "stage", "")), "recipe.toml")
    content = read_recipe(path)
    top = {name: value for name, value in content.items() if not isinstance(value, dict)}
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    corpus = str(options.get("corpus") or top.get("corpus"))
    keys = top | tables.get(corpus, {})
    values: dict[str, tuple[object, str]] = {k: (v, f"{path}, key `{k}`") for k, v in keys.items()}
    values = _in_use(cls, values, options)
    values |= {k: (v, f"option --{k.replace('_', '-')}") for k, v in options.items()}
    return _build(cls, values, list(_table_faults(cls, tables, corpus, str(path))))


def _in_use(
    cls: type, recipe: Mapping[str, tuple[object, str]], options: Mapping[str, object]
) -> dict[str, tuple[object, str]]:
    """Return what a recipe says without the settings that do nothing because of an option."""
    plain = {name: value for name, (value, _) in recipe.items()}
    before, after = _idle(cls, plain), _idle(cls, plain | dict(options))
    return {name: value for name, value in recipe.items() if name not in after - before}


def _idle(cls: type, values: Mapping[str, object]) -> set[str]:
    """Return the settings that do nothing beside these; values that cannot be are left out, as they are said later."""
    plain: dict[str, object] = {}
    for item in settings_of(cls):
        with suppress(KeyError, ValueError, OverflowError):
            plain[item.name] = _parse(item, values[item.name])
    config: Any = _assemble(cls, plain)
    sections = (getattr(config, field.name) for field in dataclasses.fields(config))
    return {name for holder in (config, *sections) for name in getattr(holder, "idle", ())}


def read_recipe(path: Path | str) -> dict[str, Any]:
    """Return the content of a TOML recipe; UsageError where it is none."""
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise UsageError(sentence("recipe", "be a file that can be read", str(path), error.strerror)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(sentence("recipe", "be a TOML file", f"not one ({error})", str(path), quote=False)) from None


def _table_faults(cls: type, tables: Mapping[str, Mapping[str, object]], corpus: str, path: str) -> Iterator[str]:
    """Yield what is wrong with a recipe's tables, those of other corpora too: a slip there would pass unseen."""
    corpora = {folder.name for folder in share_path("corpora").iterdir()}
    known = {item.name for item in settings_of(cls)}
    for table, keys in tables.items():
        if table not in corpora | {corpus}:
            must = "be the name of a corpus (settings stand at the top, without a table)"
            yield sentence(f"[{table}]", must, f"none{did_you_mean(table, corpora)}", path, quote=False)
            continue
        for key in keys:
            if table != corpus and key not in known:
                yield _unknown(cls, key, known, f"{path}, [{table}]")


def _unknown(cls: type, name: str, known: Iterable[str], where: str) -> str:
    hint = did_you_mean(name, known)
    return sentence(name, f"be a setting of {cls.__name__}", f"none{hint}", where, quote=False)


def check(config: object) -> None:
    """Raise UsageError with every fault of a configuration that was built by hand; None where there is none."""
    _build(type(config), {name: (value, "given in Python") for name, value in to_plain(config).items()})


def to_plain(config: object) -> dict[str, Any]:
    """Return a configuration as a flat mapping of plain values, as it stands in manifests."""
    plain: dict[str, Any] = {}
    for item in settings_of(type(config)):
        holder = config
        for name in item.section:
            holder = getattr(holder, name)
        plain[item.name] = getattr(holder, item.name)
    return plain


def from_plain(cls: type[Config], plain: Mapping[str, object], where: str) -> Config:
    """Return the configuration that `to_plain` wrote; where: the file it was read from, for messages."""
    return _build(cls, {name: (value, where) for name, value in plain.items()})


def _build(cls: type[Config], values: Mapping[str, tuple[object, str]], faults: Sequence[str] = ()) -> Config:
    known = {item.name: item for item in settings_of(cls)}
    faults = list(faults)
    plain: dict[str, object] = {}
    for name, (value, where) in values.items():
        if name not in known:
            faults.append(_unknown(cls, name, known, where))
            continue
        item = known[name]
        try:
            plain[name] = _parse(item, value)
        except (ValueError, OverflowError):  # a float of 400 digits or an infinite int
            faults.append(sentence(name, item.rule, value, where))
    if not faults:
        config = _assemble(cls, plain)
        further = getattr(config, "faults", None)
        faults = list(further()) if further else []
        if not faults:
            return config
    raise UsageError("\n".join(faults))


def _assemble(cls: type[Config], plain: Mapping[str, object]) -> Config:
    return cast(Config, _with(cls(), plain))


def _with(holder: Any, plain: Mapping[str, object]) -> Any:
    """Return a configuration with other values; what is not named keeps its own."""
    values = {field.name: getattr(holder, field.name) for field in dataclasses.fields(holder)}
    sections = {name: _with(value, plain) for name, value in values.items() if dataclasses.is_dataclass(value)}
    given = {name: plain[name] for name in values.keys() & plain.keys() - sections.keys()}
    return dataclasses.replace(holder, **given, **sections)


def _parse(item: Setting, value: object) -> object:
    """Return the value in the setting's type; ValueError where it is not of that type or out of range."""
    if value is None or (item.optional and value == ""):
        if item.optional:
            return None
        raise ValueError
    if item.kind is bool:
        return _parse_bool(value)
    if item.kind is str:
        return _parse_text(item, value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError
    number = int(value) if item.kind is int and isinstance(value, (str, int)) else float(value)
    if item.kind is int and number != int(number):
        raise ValueError
    number = int(number) if item.kind is int else number
    inside = (item.low is None or number >= item.low) and (item.high is None or number <= item.high)
    if not (math.isfinite(number) and inside):
        raise ValueError
    return number


def _parse_bool(value: object) -> bool:
    words: dict[object, bool] = {True: True, False: False, "true": True, "false": False, "yes": True, "no": False}
    if isinstance(value, (bool, str)) and value in words:
        return words[value]
    raise ValueError


def _parse_text(item: Setting, value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str) or (item.choices and value not in item.choices):
        raise ValueError
    return value
