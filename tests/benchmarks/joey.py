"""JoeyNMT's own GRU encoder (both ways), decoder (which always has attention) and loss, on our data.

It is not a dependency, and its pinned ones do not go with ours; without them it is

    pip install --no-deps --target build/joeynmt joeynmt importlib_metadata zipp subword_nmt tensorboard wrapt six \\
        lazy_importer protobuf "setuptools<81" absl-py
    PYTHONPATH=build/joeynmt .venv/bin/python tests/benchmarks/run.py training
"""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import torch

from nlpseq.batches import pad
from nlpseq.settings import TranslateConfig
from nlpseq.stages.translate import TranslationTask
from nlpseq.vocab import GO, PAD

__all__ = ["tokens_per_second"]


def tokens_per_second(config: TranslateConfig, task: TranslationTask, vocabulary: int, rows: int) -> float:
    """Real target tokens per second of JoeyNMT's modules in training, float32; ImportError where it is not there.

    rows: of a batch; as JoeyNMT does, batches are not sorted by length, rows within them are.
    """
    from joeynmt.decoders import RecurrentDecoder  # type: ignore[import-not-found]
    from joeynmt.encoders import RecurrentEncoder  # type: ignore[import-not-found]
    from joeynmt.loss import XentLoss  # type: ignore[import-not-found]

    m = config.model
    sizes: dict[str, Any] = {"rnn_type": "gru", "emb_size": m.embed_size}
    torch.manual_seed(1)
    tables = [torch.nn.Embedding(vocabulary, m.embed_size, padding_idx=PAD) for _ in range(2)]
    half = m.hidden_size // 2  # each way: a one-way encoder of JoeyNMT 2.3 fails in its forward
    encoder = RecurrentEncoder(**sizes, hidden_size=half, emb_dropout=m.dropout, bidirectional=True)
    decoder = RecurrentDecoder(
        **sizes, hidden_size=m.hidden_size, encoder=encoder, attention="luong", vocab_size=vocabulary,
        hidden_dropout=m.output_dropout,
        emb_dropout=m.dropout, init_hidden="bridge",
    )  # fmt: skip
    loss = XentLoss(PAD, config.label_smoothing)
    everything = torch.nn.ModuleList([*tables, encoder, decoder])
    optimizer = torch.optim.Adam(everything.parameters(), lr=config.training.learning_rate)
    order = torch.randperm(len(task.data.source)).numpy()
    tokens = 0
    for number, start in enumerate(islice(range(0, len(order), rows), 10)):
        if number == 2:
            tokens, started = 0, time.perf_counter()
        chosen = order[start : start + rows]
        chosen = chosen[task.data.source.lengths[chosen].argsort()[::-1]]
        source, lengths = pad(task.data.source, chosen)
        target, _ = pad(task.data.target, chosen)
        fed = torch.cat([torch.full_like(target[:, :1], GO), target[:, :-1]], 1)
        mask = (source != PAD)[:, None]
        output, last = encoder(tables[0](source), lengths, mask)
        logits, *_ = decoder(tables[1](fed), output, last, mask, fed.shape[1])
        optimizer.zero_grad()
        loss(torch.log_softmax(logits, -1), trg=target).backward()
        torch.nn.utils.clip_grad_norm_(everything.parameters(), 1.0)
        optimizer.step()
        tokens += int((target != PAD).sum())
    return tokens / (time.perf_counter() - started)
