"""What the embed stage refuses: text without vectors, settings that contradict, folders of somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_embed_stage import lines, small, words

from nlpseq.config import settings_of
from nlpseq.errors import UsageError
from nlpseq.settings import WordsConfig


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (
            lines(5, 1),
            {"min_count": 1000},
            "`train` must have at least two different words that stand there 1000 times",
        ),
        (
            "word\n" * 50,
            {},
            "mine.txt` must have at least 3 different rows to be cut into train, validation and test, but has 1 "
            "(--splits all reads every row instead).",
        ),
        ("one two\n", {"splits": "train,test"}, "mine.txt` must have at least 3 different rows to be cut"),
        ("word\n" * 50, {"splits": "all"}, "`train` must have at least two different words"),
        (" \n\t\n  \n   \n    \n", {"splits": "all"}, "`train` must have at least two different words"),
        (" \n\t\n  \n   \n    \n", {}, "mine.txt` must have at least 3 different rows to be cut"),
        ("", {}, "`mine.txt` must hold text, but is empty"),
        ("a b c\nd \0 f\ng h i\n", {}, "`mine.txt` must be UTF-8 text, but is binary"),
        (lines(50, 1), {"text": "body"}, "`body` must be one of the columns text"),
        (
            lines(50, 1),
            {"splits": "unsupervised"},
            "`unsupervised` must be a split of mine.txt (train, validation, test",
        ),
        (lines(50, 1), {"tokenizer": "nope"}, "`nope` must be the folder of a finished model, but is no folder."),
        (lines(50, 1), {"tokenizer": "nope", "max_words": 9}, "`max_words` must be left out where tokenizer is given"),
        (
            lines(50, 1),
            {"learning_rate": 1e-5},
            "`final_rate` must be at most the learning rate at the start (1e-05, learning_rate), but is 0.0001",
        ),
        (
            lines(50, 1),
            {"splits": "all, train"},
            '`splits` must be all alone, or names without it, but is "all, train"',
        ),
        (lines(50, 1), {"text": "text", "source": "en"}, "`text` must be absent where source or target is given"),
    ],
)
def test_what_gives_no_vectors_is_one_sentence_and_leaves_nothing(
    run, tmp_path: Path, content: str, options: dict[str, object], said: str
):
    (tmp_path / "mine.txt").write_text(content)
    outcome = run(*words(tmp_path / "mine.txt", tmp_path / "m", **options))
    assert (outcome.code, outcome.out, len(outcome.sentences)) == (2, "", 1)
    assert said in outcome.sentences[0]
    assert not (tmp_path / "m").exists()


def test_every_setting_of_words_is_refused_beside_a_tokeniser(tmp_path: Path):
    others = {"min_count": 1, "max_words": 9, "lowercase": False, "numbers": False, "links": False}
    assert others.keys() == {item.name for item in settings_of(WordsConfig)}
    with pytest.raises(UsageError) as refused:
        small(tmp_path / "farm.txt", tmp_path / "m", tokenizer="units", **others)
    must = "must be left out where tokenizer is given, which has its own settings, but is"
    assert str(refused.value) == "\n".join(f"`{name}` {must} {value}." for name, value in others.items())


def test_a_refused_run_leaves_a_foreign_folder_as_it_was(run, tmp_path: Path):
    text = tmp_path / "farm.txt"
    text.write_text(lines(50, 1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("the user's")
    outcome = run(*words(text, tmp_path / "mine"))
    assert (outcome.code, len(outcome.sentences)) == (2, 1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_damaged_folder_is_not_said_to_be_finished(run, tmp_path: Path):
    (tmp_path / "mine.txt").write_text(lines(50, 1))
    command = words(tmp_path / "mine.txt", tmp_path / "m")
    assert run(*command).code == 0
    (vectors,) = (tmp_path / "m").rglob("vectors-*.safetensors")
    vectors.write_bytes(vectors.read_bytes()[:-1])
    outcome = run(*command)
    assert (outcome.code, "nothing to do" in outcome.err) == (2, False)
    assert "finished" not in outcome.sentences[0]
