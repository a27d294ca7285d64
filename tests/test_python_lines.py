"""Which lines are Python."""

import pytest

from nlpseq.python_lines import accepted

GOOD = ["x = 1", "def f(x):", "    return x", "else:", "elif x == 2:", "except ValueError as e:", "finally:",
        "@wraps(f)", "# a comment: it ends so:", "with a as b:", "class A(B):  # why", "for x in y:",
        's = "\\d"']  # fmt: skip
BAD = ["x = = 1", "def f(x", "the quick brown fox", "elsse:", "@", '"open', "f(a, b))"]


@pytest.mark.parametrize("line", GOOD)
def test_lines_of_python_are_accepted(line):
    assert accepted(line) == (1, 1, 1)


@pytest.mark.parametrize("line", BAD)
def test_others_are_not(line):
    assert accepted(line).ast == 0


def test_every_line_is_read_alone_and_blank_ones_are_not_counted():
    assert accepted("x = (1,\n\n  \n     2)\n")[:2] == (2, 0)
    assert accepted("") == (0, 0, 0)
    assert accepted("x = 1\nx = \x00\n\x0cy = 2")[:2] == (3, 2)


def test_tokenize_is_content_with_less():
    assert accepted("the quick brown fox") == (1, 0, 1)
    assert accepted('x = "open') == (1, 0, 0)
    assert accepted("f(a, b") == (1, 0, 0)
