"""Scores: equal to sacreBLEU's own, comparable by signature, and one sentence for every wrong input."""

import builtins
import json
import random
import subprocess
import sys
import time

import pytest

from nlpseq import metrics
from nlpseq.errors import UsageError

REFERENCES = [
    "Le chat noir dort sur le tapis.",
    "Nous mangeons des pommes au marché.",
    "Je n'aime pas l'eau froide du lac.",
    "Où est la gare, s'il vous plaît ?",
] * 10


def worsened(share, seed):
    generator = random.Random(seed)
    kept = (" ".join(word for word in text.split() if generator.random() > share) for text in REFERENCES)
    return list(kept)


SYSTEM, BASELINE = worsened(0.05, 1), worsened(0.4, 2)


@pytest.mark.parametrize(("ours", "theirs"), [(metrics.bleu, "BLEU"), (metrics.chrf, "CHRF")])
def test_value_interval_and_signature_are_those_of_sacrebleu(ours, theirs):
    import sacrebleu.metrics

    metric = getattr(sacrebleu.metrics, theirs)()
    expected = metric.corpus_score(SYSTEM, [REFERENCES], n_bootstrap=1000)
    score = ours(SYSTEM, REFERENCES)
    assert score.value == expected.score
    assert score.low == pytest.approx(expected._mean - expected._ci, abs=1e-3)
    assert score.high == pytest.approx(min(100, expected._mean + expected._ci), abs=1e-3)
    assert score.signature == str(metric.get_signature())
    assert "bs:1000|seed:12345|case:mixed" in score.signature
    assert score.n == 40


def test_cheap_values_equal_the_scores():
    assert metrics.bleu_value(SYSTEM, REFERENCES) == metrics.bleu(SYSTEM, REFERENCES).value
    assert metrics.chrf_value(SYSTEM, REFERENCES) == metrics.chrf(SYSTEM, REFERENCES).value


def test_case_counts_in_bleu():
    assert metrics.bleu_value([text.lower() for text in REFERENCES], REFERENCES) < 95


def test_intervals_stay_within_the_scale():
    score = metrics.bleu([*REFERENCES[:-1], ""], REFERENCES)
    assert score.low < score.value < 100
    assert score.high == 100


@pytest.mark.parametrize(
    ("ours", "hypothesis", "reference"),
    [
        (metrics.bleu, "h k h f i k g", "c c f d a j"),
        (metrics.chrf, "k b g h d i j k f", "f k c d k f k"),
    ],
)
def test_rounding_does_not_put_a_value_outside_its_interval(ours, hypothesis, reference):
    """Found by search: the mean of a thousand equal resamples came out one bit below each of them."""
    score = ours([hypothesis] * 3, [reference] * 3)
    assert score.low == score.value == score.high


def test_one_sentence_has_no_interval_and_the_signature_claims_none():
    score = metrics.bleu(REFERENCES[:1], REFERENCES[:1])
    assert (score.value, score.low, score.high) == (pytest.approx(100), None, None)
    assert "bs:" not in score.signature


@pytest.mark.parametrize("score", [metrics.bleu, metrics.chrf, metrics.exact])
def test_empty_hypotheses_score_nothing_and_do_not_crash(score):
    assert score(["", " "], REFERENCES[:2]).value == 0


def test_a_silenced_sentence_lowers_the_score():
    silenced = ["", *REFERENCES[1:]]
    assert 90 < metrics.bleu_value(silenced, REFERENCES) < 100


def test_exact_is_a_percentage_with_wilsons_interval():
    hypotheses = ["a "] * 8 + ["A", "b"]
    score = metrics.exact(hypotheses, ["a"] * 10)
    assert score.value == 80
    # 8 of 10: Wilson's interval as printed in any table
    assert (score.low, score.high) == (pytest.approx(49.02, abs=0.005), pytest.approx(94.33, abs=0.005))


def test_exact_has_an_interval_at_both_ends():
    none, every = metrics.exact(["a"] * 10, ["b"] * 10), metrics.exact(["a"] * 10, ["a"] * 10)
    assert (none.low, none.high) == (0, pytest.approx(27.75, abs=0.005))
    assert (every.low, every.high) == (pytest.approx(72.25, abs=0.005), 100)


def test_lowercased_tokenised_bleu_prepares_text_as_multi30k_did():
    pytest.importorskip("sacremoses")
    from sacrebleu.metrics import BLEU

    hypotheses = ["Un HOMME vêtu d’une veste, près de « L’ÉTÉ », à l’arrière-plan.", "un panneau où est écrit E.S.E."]
    references = ["Un homme vêtu d'une veste , devant \"l'été\", à l'arrière-plan.", "Un panneau où est écrit E.S.E."]
    by_hand = BLEU(tokenize="none", force=True).corpus_score(
        ["un homme vêtu d' une veste , près de \" l' été \" , à l' arrière-plan .", "un panneau où est écrit e.s.e."],
        [["un homme vêtu d' une veste , devant \" l' été \" , à l' arrière-plan .", "un panneau où est écrit e.s.e."]],
    )
    assert 0 < by_hand.score < 100
    assert metrics.bleu_lc_tok(hypotheses, references, "fr").value == pytest.approx(by_hand.score)


def test_lowercased_tokenised_signature_says_what_was_done():
    sacremoses = pytest.importorskip("sacremoses")
    signature = metrics.bleu_lc_tok(SYSTEM, REFERENCES, "fr").signature
    assert "case:lc" in signature
    assert "tok:none" in signature
    assert "prep:lowercase+normalize-punctuation+tokenizer[fr,hyphens:kept]" in signature
    assert f"sacremoses:{sacremoses.__version__}" in signature


def test_lowercased_tokenised_bleu_is_absent_without_sacremoses(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "sacremoses":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert metrics.bleu_lc_tok(SYSTEM, REFERENCES, "fr") is None


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_paired_bootstrap_sees_a_clear_difference(metric):
    result = metrics.paired_bootstrap(SYSTEM, BASELINE, REFERENCES, metric=metric)
    assert result.delta == result.system.value - result.baseline.value
    assert 0 < result.low < result.delta < result.high
    assert result.p_value == pytest.approx(1 / 1001)
    assert result.system == getattr(metrics, metric)(SYSTEM, REFERENCES)
    assert result.signature.startswith(result.system.signature)


def test_paired_bootstrap_turns_with_its_arguments_and_repeats_itself():
    forward = metrics.paired_bootstrap(SYSTEM, BASELINE, REFERENCES, samples=200)
    backward = metrics.paired_bootstrap(BASELINE, SYSTEM, REFERENCES, samples=200)
    assert backward.delta == -forward.delta
    assert backward.p_value == forward.p_value
    assert (backward.low, backward.high) == (pytest.approx(-forward.high), pytest.approx(-forward.low))
    assert forward == metrics.paired_bootstrap(SYSTEM, BASELINE, REFERENCES, samples=200)
    assert forward.low != metrics.paired_bootstrap(SYSTEM, BASELINE, REFERENCES, samples=200, seed=1).low


def test_a_system_does_not_differ_from_itself():
    result = metrics.paired_bootstrap(SYSTEM, SYSTEM, REFERENCES)
    assert (result.delta, result.low, result.high, result.p_value) == (0, 0, 0, 1)


def test_equally_good_systems_are_seldom_called_different():
    called = sum(
        metrics.paired_bootstrap(worsened(0.2, 2 * i), worsened(0.2, 2 * i + 1), REFERENCES, samples=60).p_value < 0.1
        for i in range(40)
    )
    assert called <= 9  # four expected; sacreBLEU's own formula calls eight or more on average


@pytest.mark.parametrize("score", [metrics.bleu, metrics.chrf, metrics.exact, metrics.bleu_value, metrics.chrf_value])
def test_wrong_input_gets_a_sentence(score):
    with pytest.raises(UsageError, match=r"`hypotheses` must be as many as the references, 40, but is 3\."):
        score(SYSTEM[:3], REFERENCES)
    with pytest.raises(UsageError, match=r'`hypotheses` must hold at least one sentence, but is "empty"\.'):
        score([], [])
    with pytest.raises(UsageError, match=r'`hypotheses` must be a list of sentences, but is "a single string"\.'):
        score("Le chat", ["Le chat"])
    with pytest.raises(UsageError, match=r'`references` must hold text only, but is "None" \(sentence 2\)\.'):
        score(SYSTEM[:2], ["a", None])


def test_wrong_comparison_gets_a_sentence():
    with pytest.raises(UsageError, match=r"`baseline` must be as many as the references, 40, but is 2\."):
        metrics.paired_bootstrap(SYSTEM, BASELINE[:2], REFERENCES)
    with pytest.raises(UsageError, match=r"`samples` must be 1 or more, but is 0\."):
        metrics.paired_bootstrap(SYSTEM, BASELINE, REFERENCES, samples=0)
    with pytest.raises(UsageError, match=r"`seed` must be 0 or more, but is -1\."):
        metrics.paired_bootstrap(SYSTEM, BASELINE, REFERENCES, seed=-1)


def test_plain_form_is_json_even_where_a_value_is_not_finite():
    plain = metrics.Score(float("nan"), None, float("inf"), 3, "s").to_plain()
    assert json.loads(json.dumps(plain, allow_nan=False)) == {
        "value": None,
        "low": None,
        "high": None,
        "n": 3,
        "signature": "s",
    }


def test_a_thousand_sentences_with_bootstrap_take_under_three_seconds():
    start = time.process_time()
    metrics.bleu(SYSTEM * 25, REFERENCES * 25)
    assert time.process_time() - start < 3


def test_importing_the_module_loads_no_heavy_package():
    code = "import sys, nlpseq.metrics; print({'torch', 'numpy', 'sacrebleu', 'sacremoses'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
