"""What to verify of the tagger where a CUDA device is at hand: `pytest -m gpu`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL_TAGGER, never_waits

from nlpseq import NerConfig, Tagger, configure, train_ner
from nlpseq.nn.crf import Chain, Lattice, best_paths, log_partition
from nlpseq.stages.ner import TaggingTask
from nlpseq.tagged import Sentence, Tally
from nlpseq.tagged_ids import build_lexicon, encode_tagged
from nlpseq.tagger import build_network
from nlpseq.tags import Span
from nlpseq.training import World, begin, fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_the_chain_on_cuda_is_the_chain_on_the_cpu():
    torch.manual_seed(0)
    chain = Chain(torch.rand(10, 10) < 0.8, trained=True)
    chain.allowed[0], chain.allowed[:, 0] = True, True
    torch.nn.init.normal_(chain.scores)
    emissions, lengths = torch.randn(9, 13, 9), torch.randint(1, 14, (9,))
    results = []
    for device in ("cpu", "cuda"):
        moved = (part.to(device) for part in chain.lattice(emissions, lengths))
        lattice = Lattice(*(part.detach() for part in moved))
        scores = [part.requires_grad_() for part in lattice[:4]]
        total = log_partition(lattice)
        results.append([total, *torch.autograd.grad(total.sum(), scores), best_paths(lattice)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a.cpu(), b.cpu(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("adversarial", [0.0, 0.05])
def test_a_training_step_never_waits_for_the_device(tmp_path: Path, adversarial: float):
    read = [Sentence(["Ada", "saw", "Rome"][:n], [Span("PER", 0, 1)]) for n in (1, 2, 3)] * 20
    lexicon = build_lexicon(read)
    data = encode_tagged(iter(read), Tally(60), lexicon=lexicon, path=tmp_path / "t", longest=9)
    config = configure(NerConfig, corpus="c", out="o", **(SMALL_TAGGER | {"device": "cuda", "batch_tokens": 12}))
    model = build_network(config, lexicon)
    task = TaggingTask(model, data, 12, 1, np.full(len(lexicon.words), 0.2, np.float32), adversarial)
    device = torch.device("cuda", 0)
    run = begin(model, config.training, seed=1, device=device, world=World(), batches=len(task.plan(0)))
    steps = fit(run, task)
    never_waits(steps)


def test_a_tagger_trains_on_cuda_and_answers_alike_on_both(tagged: Path, tmp_path: Path):
    options = SMALL_TAGGER | {"corpus": str(tagged / "corpus"), "out": str(tmp_path / "m"), "max_steps": 20}
    train_ner(configure(NerConfig, **(options | {"device": "cuda"})))
    texts = ["Jordan beat Lincoln 3-1 on Monday.", "A storm cut the road."]
    here, there = (Tagger.load(tmp_path / "m", device=device).tag_fully(texts) for device in ("cpu", "cuda"))
    assert [one.tags for one in here] == [one.tags for one in there]
