"""`python -m nlpseq` is `nlpseq`."""

from nlpseq.cli import main

if __name__ == "__main__":
    main()
