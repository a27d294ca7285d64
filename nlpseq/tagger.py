"""A trained tagger: text or tokens in, entities out; its neighbours never change what is found in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nlpseq.artefact import load
from nlpseq.batches import alike
from nlpseq.config import from_plain
from nlpseq.errors import UsageError, refuse_other_than_texts, sentence
from nlpseq.nn.crf import Chain, Lattice, best_paths, path_scores, sums
from nlpseq.nn.tagger import Dropout, Shape, TaggerNetwork
from nlpseq.settings import NerConfig
from nlpseq.tagged import Sentence, pieces
from nlpseq.tagged_ids import Lexicon
from nlpseq.tags import OUTSIDE, follows, spans, to_tags
from nlpseq.text import Token, tokenize
from nlpseq.threads import side_by_side
from nlpseq.training import choose_device, float32
from nlpseq.vocab import UNK
from nlpseq.weights import unpack_weights

__all__ = ["LONGEST", "STAGE", "Entity", "Tagged", "Tagger", "build_network"]

STAGE = "ner"
# Rows of every pass, and words whose characters are read together: matrix kernels round differently for another number.
# On the CPU few, since a sentence alone takes as long as all rows: 15 tokens took 4 ms with 8 and 16, 12 ms with 32 and
# 64, which tag a file about a fifth faster (2026-11-20, one thread of a busy two-core EPYC).
ROWS = MappingProxyType({"cpu": 8, "cuda": 32})
WORDS = MappingProxyType({"cpu": 16, "cuda": 64})
STRIDE = 8  # lengths are padded to a multiple of it, so that they depend on the sentence or word alone
LONGEST = 500  # tokens of a piece: longer sentences are tagged in pieces
_AT_ONCE = 2048  # pieces whose words and scores are held together
_GROUPS = 16  # passes whose lattices are summed up together …
_SCORES = 1 << 18  # … if they have no more scores than this, as a step of the sums is the tags' number times as large


class Entity(NamedTuple):
    """A named entity: `text` stands at `start` to before `end`, in characters, and has the tokens `first` to `last`."""

    type: str
    start: int
    end: int
    text: str
    confidence: float  # probability of exactly this span and type, 0 to 1
    first: int
    last: int


class Tagged(NamedTuple):
    """What became of one text: its tokens, their tags (IOBES) and the entities."""

    text: str
    tokens: list[str]
    tags: list[str]
    entities: list[Entity]
    cut: bool  # whether it was too long to be read in one piece


class TagPath(NamedTuple):
    """The tags of a piece, and what its spans' probabilities are made of, each (T,)."""

    tags: list[int]
    before: npt.NDArray[np.float64]
    behind: npt.NDArray[np.float64]  # without the token's own score
    steps: npt.NDArray[np.float64]  # summed up over the tokens so far
    total: float

    def confidence(self, start: int, end: int) -> float:
        """Return the probability of the tags of the tokens from `start` to before `end`."""
        inside = self.steps[end - 1] - self.steps[start]
        return float(np.exp(min(0.0, self.before[start] + inside + self.behind[end - 1] - self.total)))


def build_network(config: NerConfig, lexicon: Lexicon) -> TaggerNetwork:
    """Return the untrained network that a configuration describes, for the words and tags of a lexicon."""
    m = config.model
    shape = Shape(
        words=lexicon.trained,
        given=len(lexicon.words) if config.pretrained.embeddings else 0,
        characters=len(lexicon.characters),
        tags=len(lexicon.tags),
        embed_size=m.embed_size,
        character_size=m.character_size,
        features=m.character_features,
        hidden_size=m.hidden_size,
        cell=m.cell,
        layers=m.layers,
        spelling=m.characters,
        unknown=UNK,
    )
    allowed = _moves(lexicon.tags, free=m.output == "softmax")
    dropout = Dropout(m.character_dropout, m.dropout, m.layer_dropout, m.recurrent_dropout)
    return TaggerNetwork(shape, dropout, allowed, trained=m.output == "crf")


def _moves(tags: Sequence[str], *, free: bool = False) -> Tensor:
    """Return which tag may follow which, as `Chain` takes it; free: any may."""
    around = [*tags, OUTSIDE]
    allowed = [[free or follows(before, tag, "iobes") for tag in around] for before in around]
    return torch.tensor(allowed, device="cpu")


class Tagger:
    """`Tagger.load(dir).tag(["Ada lives in Paris."])`."""

    def __init__(self, model: TaggerNetwork, lexicon: Lexicon, *, config: NerConfig, facts: dict[str, Any]) -> None:
        self.model = model.eval()
        self.lexicon = lexicon
        self.config = config
        self.facts = facts

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.output.weight.device

    @property
    def temperature(self) -> float:
        """What scores are divided by before they become confidences; it changes no tag."""
        return float(self.facts.get("temperature", 1.0))

    @property
    def outside_penalty(self) -> float:
        """Nats that `O` is lowered by where tags are chosen; it changes no confidence."""
        return float(self.facts.get("outside_penalty", 0.0))

    def at(self, *, temperature: float | None = None, outside_penalty: float | None = None) -> Tagger:
        """Return the same tagger with another temperature or penalty; None: its own."""
        asked = {"temperature": temperature, "outside_penalty": outside_penalty}
        facts = self.facts | {name: value for name, value in asked.items() if value is not None}
        return Tagger(self.model, self.lexicon, config=self.config, facts=facts)

    @classmethod
    def load(cls, directory: str | Path, *, device: str = "auto") -> Tagger:
        """Return the tagger in a folder of `nlpseq ner train`; no code from it is run.

        device: auto, cpu, cuda or cuda:N. Raises ArtefactError where the folder is not whole.
        """
        stored = load(Path(directory), STAGE)
        config = from_plain(NerConfig, stored.settings, str(directory))
        lexicon = Lexicon.from_file(stored.files.get("lexicon.json", b""), str(directory))
        with torch.device("meta"):  # sizes alone: drawing weights costs time, and the caller's random numbers
            model = build_network(config, lexicon)
        unpack_weights(model, stored)
        model.to(choose_device(device))
        return cls(model, lexicon, config=config, facts=stored.facts)

    def tag(self, texts: Sequence[str]) -> list[list[Entity]]:
        """Return the entities of each text, in order; spans count its characters."""
        return [one.entities for one in self.tag_fully(texts)]

    def tag_fully(self, texts: Sequence[str]) -> list[Tagged]:
        """Return each text with its tokens, by nlpseq's own tokeniser, their tags and its entities."""
        refuse_other_than_texts(texts)
        return self._tagged(list(texts), [tokenize(text) for text in texts])

    def tag_tokens(self, sentences: Sequence[Sequence[str]]) -> list[Tagged]:
        """Return each sentence of tokens with tags and entities; spans count characters of the tokens with spaces."""
        tokens = []
        for one in sentences:
            if isinstance(one, str) or not all(isinstance(token, str) and token for token in one):
                raise UsageError(sentence("sentences", "be lists of tokens that are not empty", str(one)))
            ends = np.cumsum([len(token) + 1 for token in one]).tolist()
            tokens.append([Token(token, end - 1 - len(token), end - 1) for token, end in zip(one, ends, strict=True)])
        return self._tagged([" ".join(one) for one in sentences], tokens)

    def _tagged(self, texts: list[str], tokens: list[list[Token]]) -> list[Tagged]:
        words = [[token.text for token in one] for one in tokens]
        cuts = [pieces(one, LONGEST) for one in words]
        parts = [one[a:b] for one, ends in zip(words, cuts, strict=True) for a, b in pairwise(ends)]
        paths = self._paths([part for part in parts if part])
        found = []
        for text, spelt, ends in zip(texts, tokens, cuts, strict=True):
            tags: list[str] = []
            entities: list[Entity] = []
            for start in ends[:-1] if spelt else ():
                path = next(paths)
                part = [self.lexicon.tags[tag] for tag in path.tags]
                marked = spans(part)
                if len(ends) > 2:  # what each tag by itself leaves open does not go on in the next piece
                    part = to_tags(marked, len(part), "iobes")
                for kind, a, b in marked:
                    first, last = spelt[start + a], spelt[start + b - 1]
                    sure = path.confidence(a, b)
                    shown = text[first.start : last.end]
                    entities.append(Entity(kind, first.start, last.end, shown, sure, start + a, start + b - 1))
                tags += part
            found.append(Tagged(text, [token.text for token in spelt], tags, entities, len(ends) > 2))
        return found

    def _paths(self, parts: Sequence[Sequence[str]]) -> Iterator[TagPath]:
        """Yield the best path of each piece, in order."""
        for begin in range(0, len(parts), _AT_ONCE):
            block = parts[begin : begin + _AT_ONCE]
            found: dict[int, TagPath] = {}
            for group, lattice in self.lattices(block):
                found |= zip(group, self.read(lattice, self.temperature), strict=True)
            yield from (found[number] for number in range(len(block)))

    def best(self, lattice: Lattice, outside_penalty: float) -> Tensor:
        """Return the tags of each row, (B, T) int64, 0 at padding: the likeliest where `O` is lowered by so much."""
        return best_paths(lattice.lowered(self.lexicon.tags.index(OUTSIDE), outside_penalty))

    @torch.inference_mode()
    def read(self, lattice: Lattice, temperature: float) -> list[TagPath]:
        """Return the best path of each row, and what makes the probabilities of its spans.

        These are shares of the legal paths, also where each tag is taken by itself: an entity stands in one of them.
        """
        tags = marks = self.best(lattice, self.outside_penalty)
        if self.config.model.output == "softmax":
            rows = [[self.lexicon.tags[tag] for tag in row] for row in tags.tolist()]
            legal = [self.lexicon.tag_ids(Sentence(row, spans(row))) for row in rows]  # padding is O
            marks = torch.tensor(legal, device=tags.device)
            chain = Chain(_moves(self.lexicon.tags).to(tags.device), trained=False)
            lattice = chain.lattice(lattice.emissions, lattice.lengths)
        return _read(lattice.cooled(temperature), tags, marks)

    @torch.inference_mode()
    def lattices(self, parts: Sequence[Sequence[str]]) -> Iterator[tuple[list[int], Lattice]]:
        """Yield the scores of pieces in groups with one padded length: their numbers and the lattice.

        parts: none of them empty.
        """
        if not parts:
            return
        numbers: dict[str, int] = {}
        ids = [[numbers.setdefault(token, len(numbers)) for token in part] for part in parts]
        spellings = [self.lexicon.spelling(token) for token in numbers]
        known = torch.tensor([one[0] for one in spellings], device=self.device)
        with float32():
            spelt = self._spelt([one[1:] for one in spellings])
            groups = alike([_padded(len(part)) for part in parts], ROWS[self.device.type])

            @_plainly
            def scores(group: list[int]) -> Tensor:
                index, sizes = self._table([ids[number] for number in group], ROWS[self.device.type])
                return self.model(known[index], spelt[index], sizes)[: len(group)]  # type: ignore[no-any-return]

            found = side_by_side(scores, groups, self.device, least=4)
        # Sums over paths are taken row by row, not by matrix products, so that any number of rows gives the same.
        for some in alike([one.shape[1] for one in found], _GROUPS):
            most = max(1, _SCORES // (ROWS[self.device.type] * found[some[0]][0].numel()))
            for these in (some[start : start + most] for start in range(0, len(some), most)):
                group = [number for place in these for number in groups[place]]
                sizes = torch.tensor([len(parts[number]) for number in group], device=self.device)
                yield group, self.model.chain.lattice(torch.cat([found[place] for place in these]), sizes)

    def _spelt(self, letters: Sequence[Sequence[int]]) -> Tensor:
        """Return what the characters of words give, (U, F)."""
        groups = alike([_padded(len(one)) for one in letters], WORDS[self.device.type])

        @_plainly
        def features(group: list[int]) -> Tensor:
            return self.model.spell(*self._table([letters[n] for n in group], WORDS[self.device.type]))[: len(group)]

        found = torch.cat(side_by_side(features, groups, self.device, least=32))
        order = torch.tensor([number for group in groups for number in group], device=self.device)
        return torch.empty_like(found).index_copy_(0, order, found)

    def _table(self, rows: Sequence[Sequence[int]], count: int) -> tuple[Tensor, Tensor]:
        """Return ids as (count, padded length) and the rows' lengths; further rows mean nothing."""
        table = np.zeros((count, _padded(max(map(len, rows)))), np.int64)
        for place, row in enumerate(rows):
            table[place, : len(row)] = row
        sizes = torch.tensor([len(row) for row in rows] + [1] * (count - len(rows)), device=self.device)
        return torch.from_numpy(table).to(self.device), sizes


def _read(lattice: Lattice, tags: Tensor, marks: Tensor) -> list[TagPath]:
    """Return the rows of tags with the sums along `marks`; both (B, T)."""
    before, behind, total = sums(lattice)
    own = lattice.emissions.gather(2, marks[..., None])[..., 0]
    steps = path_scores(lattice, marks).double().cumsum(1)
    ahead = behind.gather(2, marks[..., None])[..., 0] - own
    ends = lattice.ends[marks.gather(1, (lattice.lengths - 1)[:, None])[:, 0]]
    # All at once, as each look at a tensor waits for the device.
    table = torch.stack([tags, before.gather(2, marks[..., None])[..., 0], ahead, steps]).cpu().numpy()
    whole = torch.stack([lattice.lengths, total, ends]).tolist()
    found = []
    for row, (length, sum_of_all, end) in enumerate(zip(*whole, strict=True)):
        path, first, last, summed = table[:, row, : int(length)]
        if length > 1:  # the last step holds the end's score, which belongs to what lies behind the span
            summed[-1] -= end
        found.append(TagPath(path.astype(int).tolist(), first, last, summed, sum_of_all))
    return found


def _plainly(work: Callable[[list[int]], Tensor]) -> Callable[[list[int]], Tensor]:
    """Return work that has the modes it needs in whatever thread, and not the caller's autocast."""

    def plain(group: list[int]) -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return work(group)

    return plain


def _padded(length: int) -> int:
    return -(-length // STRIDE) * STRIDE
