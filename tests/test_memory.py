"""What a training asks of the allocator."""

import subprocess
import sys

import pytest


def test_memory_that_is_freed_is_kept_for_the_next_step():
    program = """
import resource, sys, torch
from nlpseq.training import keep_memory
if len(sys.argv) > 1:
    keep_memory()
for _ in range(12):
    torch.empty(10_000_000).fill_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.empty(10_000_000).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = [
        int(subprocess.run([sys.executable, "-c", program, *a], capture_output=True, text=True, check=True).stdout)
        for a in ([], ["keep"])
    ]
    if not faults[0]:
        pytest.skip("this allocator, which is not glibc's, keeps it by itself")
    assert faults[1] < faults[0] / 4
