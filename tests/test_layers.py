"""The source itself: imports flow one way, nothing heavy is imported early, and sizes and conventions hold.

Each rule is a function from the modules to the faults it finds. Every rule runs twice: over nlpseq, where it must find
nothing, and over a piece of wrong code, where it must find the fault.
"""

import ast
import graphlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A module imports from its own layer and those before it. A package's modules belong to the package's layer.
LAYERS = [
    {"errors"},
    {"config", "settings", "share", "text", "placeholders", "vocab", "metrics", "report", "charts", "blocks"}
    | {"artefact", "folders", "tags", "entity_scores", "report_index"},
    {"subwords", "tokenizer", "cards", "corpora", "cuts", "fetch", "readers", "preflight", "baselines", "vector_files"}
    | {"synthetic", "grammars", "conll", "tagged"}
    | {"library", "units", "python_lines"},
    {"batches", "losses", "search", "nn"},
    {
        "vectors",
        "threads",
        "weights",
        "pretrained",
        "training",
        "loop",
        "staging",
        "pairs",
        "word_draws",
        "word_stream",
        "word_training",
    }
    | {"word_work", "calibration", "labelled", "word_bag", "tagged_ids"}
    | {"lm_text", "lm_task", "lm_cache"},
    {"translator", "translation_report", "embed_report", "vector_scores"}
    | {"classifier", "sentiment_report"}
    | {"tagger", "ner_report", "tagged_files"}
    | {"language_model", "lm_dynamic", "lm_report", "lm_gradients"},
    {"stages"},
    {"cli", "commands", "progress", "__main__", "__init__"},
]
TORCH_LAYERS = set().union(*LAYERS[3:7])
TORCH = {"torch", "safetensors"}
HEAVY = {"gensim", "datasets", "sacrebleu", "sentencepiece", "pyarrow", "matplotlib", "sacremoses", "pandas", "scipy"}
BASES = {"Module", "Exception", "NamedTuple", "Protocol", "Function"}  # Function: torch.autograd has no other way
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 60, 8

Modules = dict[str, ast.Module]  # by name below nlpseq: "text", "nn.recurrent", "stages.translate", "nn.__init__"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def sources() -> Modules:
    paths = sorted((ROOT / "nlpseq").rglob("*.py"))
    names = [".".join(p.relative_to(ROOT / "nlpseq").with_suffix("").parts) for p in paths]
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in zip(names, paths, strict=True)}


def part(name: str) -> str:
    """The module or package directly below nlpseq that a module belongs to."""
    return name.split(".", maxsplit=1)[0]


def layer(name: str) -> int | None:
    return next((i for i, names in enumerate(LAYERS) if part(name) in names), None)


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: not the bodies of functions, not what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*FUNCTIONS, ast.Lambda)) and not for_types_only(child):
            yield child
            yield from at_import(child)


def imports(name: str, nodes: Iterator[ast.AST]) -> Iterator[str]:
    """The dotted names that the nodes import; of `from a import b` both `a` and `a.b`, of relative ones the whole."""
    package = f"nlpseq.{name}".split(".")[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from itertools.chain([origin], (f"{origin}.{alias.name}" for alias in node.names))


def own(name: str, nodes: Iterator[ast.AST], modules: Modules) -> set[str]:
    """The modules of nlpseq among the imports; a package counts as its `__init__`."""
    found = set()
    for dotted in imports(name, nodes):
        inside = dotted.removeprefix("nlpseq.")
        if inside != dotted:
            found |= {known for known in (inside, f"{inside}.__init__") if known in modules}
    return found - {name}


def outside(name: str, nodes: Iterator[ast.AST]) -> set[str]:
    return {part(dotted) for dotted in imports(name, nodes)} - {"nlpseq"}


def every_module_is_in_a_layer(modules: Modules) -> Iterator[str]:
    for name in modules:
        if layer(name) is None:
            yield f"nlpseq/{name} is in no layer: add it to LAYERS in tests/test_layers.py"


def imports_flow_one_way(modules: Modules) -> Iterator[str]:
    for name, tree in modules.items():
        for other in own(name, ast.walk(tree), modules):
            if (layer(other) or 0) > (layer(name) or 0) and name != "__init__":
                yield f"{name} imports {other}, which is in a later layer"


def no_imports_in_a_circle(modules: Modules) -> Iterator[str]:
    graph = {name: own(name, at_import(tree), modules) for name, tree in modules.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield f"modules import each other in a circle: {error.args[1]}"


def stages_never_import_each_other(modules: Modules) -> Iterator[str]:
    for name, tree in modules.items():
        if part(name) == "stages":
            for other in own(name, ast.walk(tree), modules):
                if part(other) == "stages":
                    yield f"{name} imports {other}; stages meet on disk"


def nn_imports_torch_and_nn_only(modules: Modules) -> Iterator[str]:
    for name, tree in modules.items():
        if part(name) == "nn":
            strangers = {other for other in own(name, ast.walk(tree), modules) if part(other) != "nn"}
            strangers |= outside(name, ast.walk(tree)) - {"torch"} - set(sys.stdlib_module_names)
            for other in sorted(strangers):
                yield f"{name} imports {other}"


def heavy_packages_are_imported_late(modules: Modules) -> Iterator[str]:
    for name, tree in modules.items():
        heavy = HEAVY if part(name) in TORCH_LAYERS else HEAVY | TORCH
        for package in sorted(outside(name, at_import(tree)) & heavy):
            yield f"{name} imports {package} at module level"


def light_modules_stay_light(modules: Modules) -> Iterator[str]:
    """No module below the torch layers, nor the command line, comes to torch through others' module-level imports."""
    for name in modules:
        todo, seen = [name], {name}
        while todo and part(name) not in TORCH_LAYERS:
            current = todo.pop()
            if outside(current, at_import(modules[current])) & TORCH:
                yield f"importing {name} imports torch, by way of {current}"
                break
            new = own(current, at_import(modules[current]), modules) - seen
            seen |= new
            todo += new


def no_name_of_the_standard_library(modules: Modules) -> Iterator[str]:
    for name in modules:
        last = name.split(".")[-1]
        if last in sys.stdlib_module_names and part(name) not in ("stages", "commands") and not last.startswith("__"):
            yield f"{name} is named like a module of the standard library"


def functions_are_short(modules: Modules) -> Iterator[str]:
    for name, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                arguments = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
                if lines > MAX_FUNCTION_LINES:
                    yield f"{name}:{node.lineno} {node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}"
                if arguments > MAX_PARAMETERS:
                    yield f"{name}:{node.lineno} {node.name} has {arguments} parameters, at most {MAX_PARAMETERS}"


def nothing_prints_but_the_command_line(modules: Modules) -> Iterator[str]:
    for name, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print" and part(name) != "commands":
                yield f"{name}:{node.lineno} prints"


def classes_inherit_from_few(modules: Modules) -> Iterator[str]:
    errors = {n.name for n in ast.walk(modules.get("errors", ast.Module())) if isinstance(n, ast.ClassDef)}
    for name, tree in modules.items():
        for node in ast.walk(tree):
            for base in node.bases if isinstance(node, ast.ClassDef) else ():
                plain = base.value if isinstance(base, ast.Subscript) else base  # Protocol[T]
                word = ast.unparse(plain).split(".")[-1]
                if word not in BASES | errors:
                    yield f"{name}:{node.lineno} {node.name} inherits from {word}"


def no_state_at_module_level(modules: Modules) -> Iterator[str]:
    """No `global`, and a list, dict or set at module level only as a constant in capitals or a dunder."""
    displays = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    for name, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                yield f"{name}:{node.lineno} declares {', '.join(node.names)} global"
        for node in tree.body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, displays):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    word = ast.unparse(target)
                    if not word.isupper() and not word.startswith("__"):
                        yield f"{name}:{node.lineno} {word} is a mutable value at module level"


def public_names_have_docstrings(modules: Modules) -> Iterator[str]:
    for name, tree in modules.items():
        for node in tree.body:
            named = isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_")
            if named and not ast.get_docstring(node):
                yield f"{name}:{node.lineno} {node.name} has no docstring"


WRONG: list[tuple[Callable[[Modules], Iterator[str]], dict[str, str], str]] = [
    (every_module_is_in_a_layer, {"helpers": ""}, "nlpseq/helpers is in no layer"),
    (imports_flow_one_way, {"text": "def f():\n from nlpseq import corpora", "corpora": ""}, "text imports corpora"),
    (imports_flow_one_way, {"nn.gru": "from ..stages import ner", "stages.ner": ""}, "nn.gru imports stages.ner"),
    (no_imports_in_a_circle, {"text": "import nlpseq.vocab", "vocab": "from . import text"}, "in a circle"),
    (stages_never_import_each_other, {"stages.a": "from nlpseq.stages.b import x", "stages.b": ""}, "imports stages.b"),
    (nn_imports_torch_and_nn_only, {"nn.a": "import math, numpy, torch\nfrom nlpseq.nn import b", "nn.b": ""}, "numpy"),
    (nn_imports_torch_and_nn_only, {"nn.a": "from nlpseq import config", "config": ""}, "nn.a imports config"),
    (heavy_packages_are_imported_late, {"training": "import torch, gensim.models"}, "imports gensim"),
    (heavy_packages_are_imported_late, {"text": "if 1:\n import torch.nn"}, "text imports torch"),
    (light_modules_stay_light, {"cli": "from nlpseq import nn", "nn.__init__": "import torch"}, "way of nn.__init__"),
    (no_name_of_the_standard_library, {"tokenize": "", "stages.tokenize": ""}, "tokenize is named like"),
    (functions_are_short, {"text": "def f():\n" + " x = 1\n" * 60}, "f has 61 lines"),
    (functions_are_short, {"text": "def f(a, b, /, c, d, *, e, f, g, h, i): pass"}, "f has 9 parameters"),
    (nothing_prints_but_the_command_line, {"commands.x": "print(1)", "text": "def f():\n print(1)"}, "text:2 prints"),
    (classes_inherit_from_few, {"text": "class A(nn.Module): pass\nclass B(dict[str, A]): pass"}, "inherits from dict"),
    (no_state_at_module_level, {"text": "__all__ = []\nSIZES = {}\ncache: dict[str, int] = {}"}, "cache is a mutable"),
    (no_state_at_module_level, {"text": "def f():\n global x\n x = 1"}, "declares x global"),
    (public_names_have_docstrings, {"text": "def f(): pass\ndef _g(): pass"}, "text:1 f has no docstring"),
]


@pytest.fixture(scope="module")
def modules():
    return sources()


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in WRONG), ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule, modules):
    assert len(modules) > 2
    assert list(rule(modules)) == []


@pytest.mark.parametrize(("rule", "wrong", "found"), WRONG)
def test_the_rule_finds_what_is_wrong(rule, wrong, found):
    faults = list(rule({name: ast.parse(text) for name, text in wrong.items()}))
    assert len(faults) == 1, faults
    assert found in faults[0]


def test_what_is_imported_inside_a_function_or_for_types_is_not_imported_early():
    late = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n import torch\ndef f():\n import torch"
    assert list(heavy_packages_are_imported_late({"text": ast.parse(late)})) == []


def test_every_layer_names_a_part_once():
    assert sum(map(len, LAYERS)) == len(set().union(*LAYERS))


def test_files_are_short():
    paths = [p for folder in ("nlpseq", "pipelines", "tests") for p in (ROOT / folder).rglob("*.py")]
    lines = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in paths}
    assert {path: n for path, n in lines.items() if n > MAX_FILE_LINES} == {}
