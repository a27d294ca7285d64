"""`python -m nlpseq` is `nlpseq`."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; a Ctrl-C while it is still being imported ends it like any other."""
    try:
        from nlpseq.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("nlpseq: Interrupted.\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
