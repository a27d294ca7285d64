"""The grammars of the embedded corpora, one module each; `nlpseq.synthetic` draws from them."""
