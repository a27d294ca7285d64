"""Word vectors as the start of embedding layers, alone and in the translator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from nlpseq.errors import UsageError
from nlpseq.pretrained import open_vectors, start_from_vectors
from nlpseq.settings import PretrainedConfig
from nlpseq.stages import translate

TOKENS = ["[UNK]", "king", "Queen", "[NUM]", "x"]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """A GloVe file of three words with four numbers each."""
    path = tmp_path / "v.txt"
    path.write_text("king 1 2 3 4\nqueen 5 6 7 -8\n[NUM] 0 1 0 1\n")
    return path


def started(path: Path, *, freeze: bool = False, seed: int = 1) -> tuple[nn.Embedding, object]:
    torch.manual_seed(0)
    layer = nn.Embedding(len(TOKENS), 4)
    nn.init.normal_(layer.weight, std=0.25)
    vectors = open_vectors(PretrainedConfig(str(path)), 4)
    assert vectors is not None
    return layer, start_from_vectors([layer], vectors, tokens=TOKENS, freeze=freeze, seed=seed)


def test_covered_tokens_take_their_vectors_in_the_scale_of_the_layer(vectors: Path):
    layer, coverage = started(vectors)
    assert (coverage.tokens, coverage.found) == (5, 3)
    given = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, -8], [0, 1, 0, 1]])
    scale = layer.weight[1, 0].item()
    torch.testing.assert_close(layer.weight.detach()[1:4], given * scale)
    torch.manual_seed(0)
    before = nn.Embedding(len(TOKENS), 4)
    nn.init.normal_(before.weight, std=0.25)
    assert layer.weight.std().item() == pytest.approx(before.weight.std().item())


def test_tokens_without_a_vector_are_drawn_by_the_seed(vectors: Path):
    first, again, other = (started(vectors, seed=seed)[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], other[0])
    assert first[0].ne(0).all()


def test_frozen_layers_do_not_learn_and_others_do(vectors: Path):
    assert started(vectors)[0].weight.requires_grad
    assert not started(vectors, freeze=True)[0].weight.requires_grad


def test_another_size_is_said(vectors: Path):
    said = r"`embed_size` must be 4, the size of the vectors of .*v.txt \(`--embed-size 4` would fit\), but is 6\."
    with pytest.raises(UsageError, match=said):
        open_vectors(PretrainedConfig(str(vectors)), 6)
    assert open_vectors(PretrainedConfig(), 6) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "v.txt` must be a folder of vectors, a file of them, or a corpus that is one, but is none of these"),
        (b"king 1 2 3\nqueen 1 2", "`v.txt` must "),
        (b"king 1 2 3\n", "`embed_size` must be 3, the size of the vectors of "),
    ],
)
def test_vectors_that_cannot_be_taken_are_said_before_the_corpus_is_read(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, said: str
):
    if content is not None:
        (tmp_path / "v.txt").write_bytes(content)
    monkeypatch.setattr(translate, "_prepare", lambda *arguments: pytest.fail("the corpus is read"))
    (tmp_path / "m").mkdir()
    command = ["translate", "train", "--corpus", "phrasebook", "--out", tmp_path / "m", "--embeddings"]
    done = run(*command, tmp_path / "v.txt", "--device", "cpu")
    assert (done.code, len(done.sentences)) == (2, 1)
    assert said in done.sentences[0]
    assert [path.name for path in (tmp_path / "m").iterdir()] == [".lock"]


def test_freezing_nothing_is_said(run):
    done = run("translate", "train", "--corpus", "phrasebook", "--out", "m", "--freeze")
    assert done.code == 2
    assert "`freeze` must be given with --embeddings, but is alone (option --freeze)" in done.err


def weights(folder: Path) -> dict[str, np.ndarray]:
    (file,) = folder.glob("weights-*.safetensors")
    return safetensors.numpy.load_file(file)


@pytest.mark.parametrize("freeze", [True, False])
def test_a_translator_starts_from_vectors_and_leaves_frozen_ones_alone(run, tmp_path: Path, freeze: bool):
    words = ["the", "cat", "dog", "sees", "le", "chat", "chien", "voit"]
    draw = np.random.default_rng(0)
    text = "".join(f"{word} {' '.join(f'{x:.4f}' for x in draw.normal(0, 1, 6))}\n" for word in words)
    (tmp_path / "v.txt").write_text(text)
    sides = (("cat", "chat"), ("dog", "chien"))
    rows = [f"the {a} sees the {b}\tle {c} voit le {d}" for a, c in sides for b, d in sides for _ in range(10)]
    (tmp_path / "c").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "c" / f"{split}.tsv").write_text("\n".join(["en\tfr", *rows, ""]))
    options = "--units word --embed-size 6 --hidden-size 8 --max-steps 3 --learning-rate 0.03 --warmup-steps 0"
    options += " --device cpu"
    command = ["translate", "train", "--corpus", tmp_path / "c", "--source", "en", "--target", "fr", *options.split()]
    command += ["--embeddings", tmp_path / "v.txt", "--out", tmp_path / "m"]
    done = run(*command, "--freeze" if freeze else "--fine-tune")
    assert done.code == 0, done.err
    assert "8 of 14 units (57.1 %) have a given vector." in done.err
    table = weights(tmp_path / "m")["source_embedding.weight"]
    given = np.array([[float(x) for x in line.split()[1:]] for line in text.splitlines()])
    cosines = (table[6:] @ given.T) / np.linalg.norm(table[6:], axis=1)[:, None] / np.linalg.norm(given, axis=1)
    nearest = np.sort(cosines.max(1))
    assert (nearest > 0.99999).all() == freeze  # frozen: the given directions to the bit; else they have moved
    assert (nearest > 0.8).all()
