import subprocess
import sys

SCRIPT = """
from pathlib import Path
from nlpseq import EmbedConfig, configure, train_embeddings

Path("mine.txt").write_text("\\n".join("a b c d e f g h" for _ in range(200)))
train_embeddings(configure(EmbedConfig, corpus="mine.txt", splits="all", out="vectors", workers=2))
"""


def test_a_program_that_starts_workers_whenever_it_is_imported_is_told_so(tmp_path):
    """The workers import it anew, find the folder in use and die; who started them must not wait for them for ever."""
    (tmp_path / "mine.py").write_text(SCRIPT)
    command = [sys.executable, "mine.py"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert '`workers` must live; a program starts them below `if __name__ == "__main__":`' in done.stderr
