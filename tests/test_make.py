"""The Makefile with a fake nlpseq in a copy of the repository: what runs again, and what counts as finished."""

import os
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FAKE = """#!/bin/sh
# Writes down its arguments; `train` makes DIR/manifest.json at its end, unless the file `fail` names its stage.
# With --check it does nothing, and fails where a setting is called nonsense.
case " $* " in *" --check "*) case " $* " in *nonsense*) exit 2;; esac; exit 0;; esac
echo "$*" >> calls
[ "$2" = train ] || exit 0
if [ -e running ]; then echo "two at once" >> calls; fi
touch running
trap 'rm -f running' EXIT
stage=$1
while [ $# -gt 0 ]; do [ "$1" = --out ] && out=$2; shift; done
mkdir -p "$out"
[ -e slow ] && sleep 0.3
grep -qs "^$stage\\$" fail && kill -9 $$
echo finished > "$out/manifest.json.new" && mv "$out/manifest.json.new" "$out/manifest.json"
[ ! -e linger ] || sleep 5
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def without_make():
    """The environment, without what a `make test` around it hands down."""
    return {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}}


class Project:
    """A copy of the Makefile and the rules, without a venv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        for rules in sorted(ROOT.glob("pipelines/*/rules.mk")):
            copy = folder / rules.relative_to(ROOT)
            copy.parent.mkdir(parents=True)
            shutil.copy(rules, copy)
            (copy.parent / "recipe.toml").touch()
        fake = folder / "fake"
        fake.write_text(FAKE)
        fake.chmod(0o755)

    def make(self, *arguments: str, fails: bool = False) -> list[str]:
        """What the fake was called with, one string for each call: stage and command."""
        calls = self.folder / "calls"
        for left in (calls, self.folder / "running"):
            left.unlink(missing_ok=True)
        command = ["make", "NLPSEQ=./fake", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=without_make(), capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        self.printed = done.stdout
        self.lines = calls.read_text().splitlines() if calls.exists() else []
        return [" ".join(line.split()[:2]) for line in self.lines]

    def age(self) -> None:
        """Makes every file a minute older, as coarse file times would otherwise hide what is newer."""
        for path in self.folder.rglob("*"):
            times = path.stat()
            os.utime(path, (times.st_atime - 60, times.st_mtime - 60))


TOKENIZE, TRAIN, RUN = "tokenize train", "translate train", "translate run"
EMBED, NEAREST, ANALOGY = "embed train", "embed nearest", "embed analogy"
EVERYTHING, WITHOUT_VECTORS = [TOKENIZE, EMBED, TRAIN, RUN], [TOKENIZE, TRAIN, RUN]
EMBEDDED = [EMBED, NEAREST, ANALOGY]
LM = ["lm train", "lm sample"]
CLASSIFIED = ["sentiment train", "sentiment predict"]
NER = ["ner train", "ner tag"]
INDEX = ["reports build"]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def finished(project):
    """A project in which `make translate` has been run."""
    assert project.make("translate") == EVERYTHING
    project.age()
    return project


def test_the_first_call_passes_the_settings_on(project):
    project.make("translate", "DEVICE=cpu", "SEED=3", "OPTIONS=--epochs 2", "THREADS=1", "TOKENIZE_OPTIONS=--units bpe")
    tokenize, embed, train, run = project.lines
    assert embed == (
        "embed train --corpus phrasebook --source en --target fr --seed 3 --tokenizer build/phrasebook/tokenize "
        "--out build/phrasebook/vectors --replace --device cpu --threads 1"
    )
    assert tokenize == (
        "tokenize train --corpus phrasebook --source en --target fr --units bpe "
        "--out build/phrasebook/tokenize --replace"
    )
    assert train == (
        "translate train --corpus phrasebook --source en --target fr --tokenizer build/phrasebook/tokenize "
        "--out build/phrasebook/translate --replace --device cpu --threads 1 --seed 3 "
        "--embeddings build/phrasebook/vectors --epochs 2"
    )
    assert run.startswith("translate run --model build/phrasebook/translate I drink milk")


def test_vectors_are_for_the_corpora_of_pairs_that_they_help_and_for_whom_asks(project):
    assert project.make("translate", "VECTORS=") == WITHOUT_VECTORS
    assert "--embeddings" not in project.lines[1]
    assert project.make("translate", "OPTIONS=--embed-size 128") == [TRAIN, RUN]
    assert "--embeddings" not in project.lines[0]
    assert project.make("translate", "CORPUS=multi30k") == EVERYTHING
    assert "--out build/multi30k-en-fr/vectors" in project.lines[1]
    assert "--embeddings build/multi30k-en-fr/vectors" in project.lines[2]
    project.age()
    assert project.make("translate", "CORPUS=multi30k", "VECTORS=") == [TRAIN, RUN]


def test_the_second_call_does_nothing(finished):
    assert finished.make("translate") == []
    assert "Nothing to be done" in finished.printed
    assert finished.make("all") == [*EMBEDDED, *LM, *NER, *CLASSIFIED, *INDEX]
    finished.age()
    assert finished.make("all") == []


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("OPTIONS=--epochs 2", [TRAIN, RUN]),
        ("SEED=2", [EMBED, TRAIN, RUN]),
        ("TOKENIZE_OPTIONS=--units bpe", EVERYTHING),
        ("DEVICE=cuda", []),
        ("THREADS=1", []),
        ("PYTHON=python3.12", []),
    ],
)
def test_a_setting_makes_stale_what_depends_on_it_and_nothing_else(finished, change, again):
    assert finished.make("-n", "translate", change) == []
    assert finished.make("translate", change) == again
    finished.age()
    assert finished.make("translate", change) == []
    finished.age()
    assert finished.make("translate") == again, "the setting was taken back"


@pytest.mark.parametrize("setting", ["OPTIONS=--nonsense", "TOKENIZE_OPTIONS=--nonsense"])
def test_a_slip_in_the_options_is_told_before_anything_is_made(project, setting):
    assert project.make("translate", setting, fails=True) == []
    assert list(project.folder.rglob("manifest.json")) == []
    assert project.make("translate") == EVERYTHING
    project.age()
    assert project.make("translate", setting, fails=True) == []
    assert project.make("translate") == []


def test_quotes_and_commas_in_options_survive(finished):
    options = "OPTIONS=--note 'a, \"b\" c'"
    assert finished.make("translate", options) == [TRAIN, RUN]
    assert finished.lines[0].endswith('--note a, "b" c')
    finished.age()
    assert finished.make("translate", options) == []


@pytest.mark.parametrize(("stage", "again"), [("tokenize", EVERYTHING), ("translate", [TRAIN, RUN])])
def test_a_recipe_makes_its_stage_stale(finished, stage, again):
    (finished.folder / "pipelines" / stage / "recipe.toml").write_text("epochs = 3\n")
    assert finished.make("translate") == again


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "nlpseq/training.py"])
def test_code_and_packages_make_no_model_stale(finished, name):
    (finished.folder / name).parent.mkdir(exist_ok=True)
    (finished.folder / name).touch()
    assert finished.make("translate") == []


def test_a_stage_killed_the_first_time_is_not_finished(project):
    (project.folder / "fail").write_text("translate\n")
    assert project.make("translate", fails=True) == [TOKENIZE, EMBED, TRAIN]
    project.age()
    (project.folder / "fail").unlink()
    assert project.make("translate") == [TRAIN, RUN]


def test_a_stage_killed_over_a_finished_one_keeps_that_and_runs_again(finished):
    (finished.folder / "fail").write_text("translate\n")
    assert finished.make("translate", "OPTIONS=--epochs 2", fails=True) == [TRAIN]
    assert (finished.folder / "build/phrasebook/translate/manifest.json").exists()
    finished.age()
    (finished.folder / "fail").unlink()
    assert finished.make("translate", "OPTIONS=--epochs 2") == [TRAIN, RUN]


def test_what_is_finished_survives_ctrl_c_after_it(project):
    """Make removes the target of a recipe that it interrupts; a manifest, however, is only there when it is whole."""
    (project.folder / "linger").touch()
    manifest = project.folder / "build/phrasebook/tokenize/manifest.json"
    command = ["make", "NLPSEQ=./fake", "tokenize"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs are started deaf to it
    options = {"cwd": project.folder, "env": without_make(), "start_new_session": True, "preexec_fn": heard}
    with subprocess.Popen(command, **options) as process:
        deadline = time.monotonic() + 10
        while not manifest.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
    assert process.returncode != 0
    assert manifest.exists()
    (project.folder / "linger").unlink()
    assert project.make("tokenize") == []


def test_corpora_and_pairs_do_not_overwrite_each_other(finished):
    assert finished.make("translate", "CORPUS=multi30k", "TARGET=de") == EVERYTHING
    assert "--out build/multi30k-en-de/translate" in finished.lines[2]
    reverse = finished.make("translate", "SOURCE=fr", "TARGET=en")
    assert reverse == [TOKENIZE, EMBED, TRAIN]  # no English examples for French
    assert "--out build/phrasebook-fr-en/translate" in finished.lines[2]
    finished.age()
    assert finished.make("translate") == []


def test_a_file_of_ones_own_is_a_prerequisite(project):
    mine = project.folder / "mine.v2.tsv.gz"
    mine.touch()
    assert project.make("translate", f"CORPUS={mine}") == WITHOUT_VECTORS
    assert f"--corpus {mine} " in project.lines[1]
    assert "--out build/mine.v2-en-fr/translate" in project.lines[1]
    project.age()
    assert project.make("translate", f"CORPUS={mine}") == []
    mine.write_text("changed")
    assert project.make("translate", f"CORPUS={mine}") == WITHOUT_VECTORS


def test_a_file_deep_in_a_folder_of_ones_own_is_a_prerequisite(project):
    deep = project.folder / "texts" / "deep" / "one.txt"
    deep.parent.mkdir(parents=True)
    deep.write_text("x")
    (deep.parent / "of two words.txt").write_text("x")
    (deep.parent / ".hidden").write_text("x")
    assert project.make("lm", "CORPUS=texts/") != []
    assert project.make("lm", "CORPUS=texts/") == []
    ahead = time.time() + 5
    os.utime(deep, (ahead, ahead))
    assert project.make("lm", "CORPUS=texts/") != []


def test_parallel_files_of_ones_own_are_prerequisites(project):
    for language in ("en", "fr"):
        (project.folder / f"mine.{language}").touch()
    assert project.make("translate", "CORPUS=./mine") == WITHOUT_VECTORS
    project.age()
    assert project.make("translate", "CORPUS=./mine") == []
    (project.folder / "mine.fr").write_text("changed")
    assert project.make("translate", "CORPUS=./mine") == WITHOUT_VECTORS


def test_an_embedded_corpus_is_a_prerequisite(finished):
    card = finished.folder / "corpora" / "phrasebook" / "card.toml"
    card.parent.mkdir(parents=True)
    card.touch()
    assert finished.make("translate") == EVERYTHING


def test_every_stage_has_a_corpus_of_its_own_and_one_that_is_named_is_everyones(project):
    assert project.make("all", "SEED=3", "DEVICE=cpu", "EMBED_OPTIONS=--epochs 2") == [
        *EMBEDDED,
        *LM,
        *NER,
        *CLASSIFIED,
        *EVERYTHING,
        *INDEX,
    ]
    assert project.lines[0] == (
        "embed train --corpus almanac --seed 3 --epochs 2 --out build/almanac/embed --replace --device cpu"
    )
    assert project.lines[1].startswith("embed nearest --model build/almanac/embed ")
    project.age()
    assert project.make("embed", "SEED=3", "DEVICE=cuda", "EMBED_OPTIONS=--epochs 2") == []
    assert project.make("embed", "CORPUS=wikipedia_en_2014_sample") == EMBEDDED
    assert "--corpus wikipedia_en_2014_sample --out build/wikipedia_en_2014_sample/embed " in project.lines[0]
    assert project.make("all", "CORPUS=multi30k") == [
        EMBED,
        *LM,
        *EVERYTHING,
        *INDEX,
    ]  # no tags, and no examples for words that may be unknown
    assert "--out build/multi30k/embed " in project.lines[0]


def test_taggers_have_a_corpus_of_their_own_and_pass_the_settings_on(project):
    assert project.make("ner", "SEED=3", "NER_OPTIONS=--epochs 2", "DEVICE=cpu") == NER
    train, tag = project.lines
    assert train == "ner train --corpus newswire --seed 3 --epochs 2 --out build/newswire/ner --replace --device cpu"
    assert tag.startswith("ner tag --model build/newswire/ner Jordan told reporters")
    project.age()
    assert project.make("ner", "SEED=3", "NER_OPTIONS=--epochs 2", "THREADS=2") == []
    assert project.make("ner", "NER_OPTIONS=--nonsense", fails=True) == []
    assert project.make("ner", "CORPUS=conll2003") == NER
    assert "--out build/conll2003/ner " in project.lines[0]


def test_language_models_have_a_corpus_of_their_own_and_pass_the_settings_on(project):
    assert project.make("lm", "SEED=3", "LM_OPTIONS=--epochs 2", "DEVICE=cpu") == LM
    assert project.lines[0] == (
        "lm train --corpus python-library --seed 3 --epochs 2 --out build/python-library/lm --replace --device cpu"
    )
    assert project.lines[1].startswith("lm sample --model build/python-library/lm --prompt def ")
    project.age()
    assert project.make("lm", "SEED=3", "LM_OPTIONS=--epochs 2") == []
    assert project.make("lm", "CORPUS=tiny_shakespeare") == LM
    assert "--out build/tiny_shakespeare/lm " in project.lines[0]
    assert project.make("lm", "LM_OPTIONS=--nonsense", fails=True) == []


def test_a_file_a_recipe_or_a_setting_makes_embeddings_stale(project):
    mine = project.folder / "mine.txt"
    mine.touch()
    assert project.make("embed", f"CORPUS={mine}") == [EMBED]
    for change in (mine, project.folder / "pipelines" / "embed" / "recipe.toml"):
        project.age()
        assert project.make("embed", f"CORPUS={mine}") == []
        change.write_text("changed")
        assert project.make("embed", f"CORPUS={mine}") == [EMBED]
    project.age()
    assert project.make("embed", f"CORPUS={mine}", "EMBED_OPTIONS=--nonsense", fails=True) == []
    assert project.make("embed", f"CORPUS={mine}") == []
    assert project.make("embed", f"CORPUS={mine}", "EMBED_OPTIONS=--epochs 2") == [EMBED]


def test_a_classifier_starts_from_vectors_of_reviews_without_labels(project):
    assert project.make("sentiment", "SEED=3", "SENTIMENT_OPTIONS=--cell gru", "DEVICE=cpu") == CLASSIFIED
    assert project.lines[0] == (
        "sentiment train --corpus reviews --seed 3 --cell gru --out build/reviews/sentiment --replace --device cpu"
    )
    assert project.make("sentiment", "CORPUS=imdb") == [EMBED, *CLASSIFIED]
    assert "--corpus imdb --embeddings build/imdb/embed --out build/imdb/sentiment" in project.lines[1]
    project.age()
    assert project.make("sentiment", "CORPUS=imdb") == []
    assert project.make("sentiment", "CORPUS=imdb", "SENTIMENT_VECTORS=") == CLASSIFIED
    assert "--embeddings" not in project.lines[0]
    (project.folder / "mine.csv").touch()
    assert project.make("sentiment", "CORPUS=mine.csv", "SENTIMENT_OPTIONS=--text body") == CLASSIFIED[:1]
    assert project.make("sentiment", "CORPUS=mine.csv", "SENTIMENT_OPTIONS=--nonsense", fails=True) == []


def test_trainings_do_not_run_at_the_same_time(project):
    (project.folder / "slow").touch()
    rules = project.folder / "pipelines" / "other" / "rules.mk"
    rules.parent.mkdir()
    rules.write_text("all: other\nother:\n\t$(NLPSEQ) other train --out build/other\n.PHONY: other\n")
    assert sorted(project.make("-j4", "all")) == sorted(
        [*EVERYTHING, *EMBEDDED, *LM, *NER, *CLASSIFIED, *INDEX, "other train"]
    )


def test_help_is_the_default_and_shows_the_values(project):
    assert project.make("CORPUS=multi30k", "OPTIONS=--epochs 3") == []
    for text in ("make translate", "CORPUS=multi30k", "TARGET=fr", "OPTIONS=--epochs 3", "TOKENIZE_OPTIONS="):
        assert text in project.printed


def test_settings_in_the_environment_change_nothing(project, monkeypatch):
    monkeypatch.setenv("TARGET", "x86_64-linux")
    monkeypatch.setenv("SEED", "9")
    project.make("translate")
    assert "--target fr " in project.lines[1]
    assert "--seed" not in project.lines[1]


def test_clean_removes_the_models(finished):
    finished.make("clean")
    assert not (finished.folder / "build").exists()
    assert ".venv stays" in finished.printed


def test_setup_does_not_take_an_unfinished_venv_for_a_finished_one(finished):
    """Without its stamp the venv's rule runs again, and it runs the Python that was named."""
    (finished.folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "pipelines/setup_venv.py"):
        (finished.folder / name).touch()
    python = finished.folder / "python"
    python.write_text('#!/bin/sh\necho "python $*" >> calls\n')
    python.chmod(0o755)
    setup = ["python pipelines/setup_venv.py"]
    assert finished.make("setup", "PYTHON=./python") == setup
    assert finished.make("translate", "PYTHON=./python") == []  # with an nlpseq of one's own there is no need
    assert finished.make("translate", "NLPSEQ=.venv/bin/nlpseq", "PYTHON=./python") == setup
