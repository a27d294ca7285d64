"""A trained language model: it writes on, and it says how likely a text is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nlpseq.artefact import load
from nlpseq.config import from_plain
from nlpseq.errors import UsageError, refuse_other_than_texts, sentence
from nlpseq.lm_cache import Cache, Memory, Passed, fit_cache
from nlpseq.losses import linear_cross_entropy
from nlpseq.nn.lm import LMDropout, LMShape, RecurrentLM
from nlpseq.settings import LMConfig, WritingConfig
from nlpseq.training import choose_device, float32
from nlpseq.units import Ids, Units, continued, pieces, units_from_files
from nlpseq.vocab import EOS, GO, NUM, PAD, UNK, URL
from nlpseq.weights import unpack_weights

__all__ = [
    "STAGE",
    "Held",
    "LanguageModel",
    "Scored",
    "build_lm",
    "choose",
    "fitted_cache",
    "held_out",
    "log_normaliser",
]

STAGE = "lm"
COLD = 256  # units of a cold window, nanoGPT's
_WARM = 256  # units that are read before a stream of several is counted
_CHUNK = 1 << 14  # units that are passed at once …
_HEARD = 1 << 11  # … and where each is asked for its own probability
_LOGITS = 1 << 24  # logits that are held at once there
_CONTEXTS = 4096  # of which the normaliser is measured


class Held(NamedTuple):
    """How a model does on a text: nats, summed over its units; how many these are, document ends among them."""

    nats: float
    units: int
    ends: int

    @property
    def loss(self) -> float:
        """Nats per unit."""
        return self.nats / max(1, self.units)


class Scored(NamedTuple):
    """How likely a text is at the start of a document."""

    text: str
    nats: float  # log-probability of all its units
    units: list[tuple[str, float]]  # each with its log-probability, in nats, given those before it
    unknown: int  # units that are [UNK]


def build_lm(config: LMConfig, vocabulary: int) -> RecurrentLM:
    """Return the untrained network that a configuration describes; vocabulary: number of units."""
    m = config.model
    shape = LMShape(
        vocabulary,
        m.embed_size,
        m.hidden_size,
        cell=m.cell,
        layers=m.layers,
        tied=m.tied,
        residual=m.residual,
        feed_forward=m.feed_forward or 0,
    )
    drops = LMDropout(m.word_dropout, m.dropout, m.layer_dropout, m.recurrent_dropout, m.output_dropout)
    return RecurrentLM(shape, drops)


class LanguageModel:
    """`LanguageModel.load(dir).sample(prompt="ROMEO:")`."""

    def __init__(self, model: RecurrentLM, units: Units, *, config: LMConfig, facts: dict[str, Any]) -> None:
        self.model = model.eval()
        self.units = units
        self.config = config
        self.facts = facts

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.output.weight.device

    @classmethod
    def load(cls, directory: str | Path, *, device: str = "auto") -> LanguageModel:
        """Return the model in a folder of `nlpseq lm train`; no code from it is run.

        device: auto, cpu, cuda or cuda:N. Raises ArtefactError where the folder is not whole.
        """
        stored = load(Path(directory), STAGE)
        config = from_plain(LMConfig, stored.settings, str(directory))
        units = units_from_files(stored.files, str(directory))
        with torch.device("meta"):  # sizes alone: drawing weights costs time, and the caller's random numbers
            model = build_lm(config, len(units))
        unpack_weights(model, stored)
        model.to(choose_device(device))
        return cls(model, units, config=config, facts=stored.facts)

    @property
    def cache(self) -> Cache | None:
        """How the continuous cache is heard; None where the model was trained without, or is not finished."""
        found = self.facts.get("cache")
        return Cache(**found) if found else None

    def sample(self, prompt: str = "", *, count: int = 1, **settings: Any) -> list[str]:
        """Return texts that begin with the prompt, drawn unit by unit; at document's start where the prompt is empty.

        count: how many, at least 1; settings: those of WritingConfig, such as temperature=0.8, length=500. The same
        settings, seed among them, give the same texts. Raises UsageError for settings.
        """
        how = writing(**settings)
        if count < 1:
            raise UsageError(sentence("count", "be a whole number of at least 1", count))
        start = self._ids(prompt)
        rows = list(zip(*self._write(start, how, count), strict=True)) or [()] * count
        texts = (continued(self.units, start, list(_ended(row, how))) for row in rows)
        return [prompt + (text.lstrip(" ") if self._spaced(prompt) else text) for text in texts]

    def stream(self, prompt: str = "", **settings: Any) -> Iterator[str]:
        """Yield what `sample` writes behind the prompt, as it is written."""
        how = writing(**settings)
        start = self._ids(prompt)
        spaced = self._spaced(prompt)
        for piece in pieces(self.units, start, _ended((step[0] for step in self._write(start, how, 1)), how)):
            yield piece.lstrip(" ") if spaced else piece
            spaced = spaced and not piece

    def _spaced(self, prompt: str) -> bool:
        """Return whether the space before the first word is in the prompt; characters are written as they come."""
        return not self.units.whole and prompt[-1:].isspace()

    def unknown(self, text: str) -> int:
        """Return how many units of a text are [UNK]."""
        return self._ids(text).count(UNK)

    def score(self, texts: Sequence[str]) -> list[Scored]:
        """Return the probability of each text at the start of a document, with the cache where there is one.

        Each is read alone, with a memory of its own. Where a line is a document, as for words, its end is part of it.
        Raises UsageError for what is no text.
        """
        refuse_other_than_texts(texts)
        return [self._score(text) for text in texts]

    @float32()
    @torch.inference_mode()
    def _score(self, text: str) -> Scored:
        ids = self._ids(text, ended=True)
        if not ids:
            return Scored(text, 0.0, [], 0)
        targets = torch.tensor([ids], device=self.device)
        features, _ = self.model(torch.tensor([[EOS, *ids[:-1]]], device=self.device))
        part = Passed(features, targets, _own(self.model, features, targets))
        found = Memory(self.cache.size).log_likelihood(part, self.cache) if self.cache else part.network
        own = found[0].tolist()
        return Scored(text, sum(own), list(zip(self.units.names(ids), own, strict=True)), ids.count(UNK))

    def _ids(self, text: str, *, ended: bool = False) -> list[int]:
        """Return the ids of a text, cut as in training: where a line is a document, each that is not blank has an end.

        ended: the last one too, though no line break follows.
        """
        if self.units.noun != "character":
            _refuse_surrogates(text, self.units)
        if self.units.whole:
            return [int(number) for number in self.units.encode([text])[0]]
        lines = text.splitlines()
        ids = [ids.tolist() for ids in self.units.encode([line for line in lines if line.strip()])]
        flat = [number for line in ids for number in [*line, EOS]]
        open_ = not ended and bool(lines) and bool(lines[-1].strip()) and text.endswith(lines[-1])
        return flat[:-1] if open_ else flat

    @torch.inference_mode()
    def _write(self, start: Sequence[int], how: WritingConfig, count: int) -> Iterator[list[int]]:
        """Yield the next unit of each text; each costs one step, whatever stands before it."""
        dice = [torch.Generator().manual_seed(_seed(how.seed, row)) for row in range(count)]
        never = (PAD, GO, UNK, NUM, URL) if self.units.whole else (PAD, GO, UNK)
        with float32():
            features, state = self.model(torch.tensor([[EOS, *start]], device=self.device))
        features = features[:, -1].expand(count, -1)
        state = state.expand(count, -1, -1)
        alive = np.ones(count, bool)
        for _ in range(how.length):
            tokens = choose(self.model.output(features).float().cpu(), how, dice, never=never)
            yield tokens.tolist()
            alive &= how.past_end | (tokens.numpy() != EOS)
            if not alive.any():
                return
            features, state = self.model.step(tokens.to(self.device), state)


def writing(**settings: Any) -> WritingConfig:
    """Return checked settings of how text is written; UsageError for what cannot be."""
    return from_plain(WritingConfig, settings, where="")


def _ended(ids: Iterator[int] | Sequence[int], how: WritingConfig) -> Iterator[int]:
    for number in ids:
        if number == EOS and not how.past_end:
            return
        yield number


def _seed(seed: int, row: int) -> int:
    """Return the seed of a text: what is written is the same however many others are written beside it."""
    return int(np.random.SeedSequence([seed, row]).generate_state(1, np.uint64)[0])


def _refuse_surrogates(text: str, units: Units) -> None:
    try:
        text.encode("utf-8", "surrogateescape" if units.whole else "strict")
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise UsageError(sentence("text", "be UTF-8 text", shown)) from None


def choose(
    logits: Tensor, how: WritingConfig, dice: Sequence[torch.Generator], *, never: Sequence[int] = (PAD, GO, UNK)
) -> Tensor:
    """Return a unit for each row, (B,) int64, drawn from what temperature, top-k and top-p leave of its distribution.

    logits: (B, V), float32 on the CPU; dice: one of each row; never: units that are not drawn. Top-p (Holtzman et al.
    2020) keeps the likeliest units that together reach p.
    """
    logits = logits.clone()
    logits[:, list(never)] = -torch.inf
    if how.temperature == 0:
        return logits.argmax(1)
    if how.top_k is not None and how.top_k < logits.shape[1]:
        least = logits.topk(how.top_k, 1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    logits = logits.double()  # from the largest on, or a temperature near 0 would make infinities of all
    shares = torch.softmax((logits - logits.amax(1, keepdim=True)) / how.temperature, 1)
    if how.top_p is not None:
        ordered, order = shares.sort(1, descending=True)
        beyond = ordered.cumsum(1) - ordered >= how.top_p
        shares = torch.zeros_like(shares).scatter_(1, order, ordered.masked_fill(beyond, 0))
    drawn = [torch.multinomial(row, 1, generator=own) for row, own in zip(shares, dice, strict=True)]
    return torch.cat(drawn)


@float32()
@torch.inference_mode()
def held_out(model: RecurrentLM, ids: Ids, *, streams: int = 1, cache: Cache | None = None) -> Held:
    """Return the loss over a whole text in one pass that carries its state from beginning to end.

    ids: documents, `<eos>` behind each; it is predicted between them, not at the very end. streams: parts of the text
    that are passed side by side; with more than one, each but the first begins with 256 units of the part before it,
    which are read and not counted. cache: what the model remembers of the text as it reads it, of each part by itself.
    """
    nats = torch.zeros((), device=model.output.weight.device)
    if cache is None:
        for features, targets, real in _passed(model, ids, streams, _CHUNK):
            rows = features.flatten(0, 1).index_select(0, real)
            nats += _cross_entropy(model, rows, targets.flatten().index_select(0, real))
    else:
        memory = Memory(cache.size)
        for features, targets, real in _passed(model, ids, streams, _HEARD):
            part = Passed(features, targets, _own(model, features, targets))
            nats -= memory.log_likelihood(part, cache).flatten().index_select(0, real).sum()
    return Held(float(nats), len(ids) - 1, int((ids[:-1] == EOS).sum()))


@float32()
@torch.inference_mode()
def fitted_cache(model: RecurrentLM, ids: Ids, size: int) -> Cache:
    """Return the cache of `size` states under which a text is likeliest in one pass; ids: as for `held_out`."""
    parts = _passed(model, ids, 1, _HEARD)
    return fit_cache((Passed(part, targets, _own(model, part, targets)) for part, targets, _ in parts), size)


def _passed(model: RecurrentLM, ids: Ids, streams: int, units: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield features (S, T, H), targets (S, T) and which of them are real (N,), about so many units at once."""
    device = model.output.weight.device
    text = torch.from_numpy(ids[:-1].astype(np.int64))
    fed = torch.cat([torch.tensor([EOS]), text[:-1]])
    length = -(-len(text) // streams)
    starts = torch.arange(streams)[:, None] * length
    state: Tensor | None = None
    if streams > 1:
        before = (starts + torch.arange(-min(_WARM, length), 0)).clamp(min=0)
        _, state = model(fed[before].to(device))
        state[0] = 0
    chunk = max(1, units // streams)
    for start in range(0, length, chunk):
        places = starts + torch.arange(start, min(start + chunk, length))
        real = (places < len(text)).flatten().nonzero()[:, 0]  # the last stream may be shorter
        places = places.clamp(max=len(text) - 1)
        features, state = model(fed[places].to(device), state)
        yield features, text[places].to(device), real.to(device)


@float32()
@torch.inference_mode()
def cold(model: RecurrentLM, ids: Ids) -> Held:
    """Return the loss over windows of 256 units that each begin without any context, as nanoGPT evaluates.

    The first unit of a window is fed and not predicted; what is left over behind the last whole window is left out.
    """
    device = model.output.weight.device
    text = torch.from_numpy(ids[:-1].astype(np.int64))
    width = min(COLD, len(text) - 1)
    windows = text[: (len(text) - 1) // width * width + 1]
    fed, targets = windows[:-1].view(-1, width), windows[1:].view(-1, width)
    nats = torch.zeros((), device=device)
    rows = max(1, _CHUNK // width)
    for part, wanted in zip(torch.split(fed, rows), torch.split(targets, rows), strict=True):
        features, _ = model(part.to(device))
        nats += _cross_entropy(model, features.flatten(0, 1), wanted.flatten().to(device))
    return Held(float(nats), targets.numel(), int((targets == EOS).sum()))


def _own(model: RecurrentLM, features: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probability of each target, (B, T) float32; features: (B, T, E or H)."""
    width = max(1, _LOGITS // (len(features) * model.output.out_features))
    parts = zip(torch.split(features, width, 1), torch.split(targets, width, 1), strict=True)
    found = (torch.log_softmax(model.output(part).float(), 2).gather(2, asked[..., None]) for part, asked in parts)
    return torch.cat([part[..., 0] for part in found], 1)


def _cross_entropy(model: RecurrentLM, features: Tensor, targets: Tensor) -> Tensor:
    return linear_cross_entropy(features, model.output.weight, model.output.bias, targets)[1]


@float32()
@torch.inference_mode()
def log_normaliser(model: RecurrentLM, ids: Ids) -> tuple[float, float]:
    """Return mean and deviation of log Z, in nats, over the first 4,096 contexts of a text: 0 is normalised."""
    fed = torch.from_numpy(np.concatenate([[EOS], ids[: _CONTEXTS - 1]]).astype(np.int64))
    features, _ = model(fed[None].to(model.output.weight.device))
    found = torch.cat([model.output(part).logsumexp(1) for part in torch.split(features[0], 256)]).double()
    return float(found.mean()), float(found.std(correction=0))
