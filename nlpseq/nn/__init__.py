"""The networks: plain sizes in, tensors in, tensors out; no settings, no vocabulary, no file.

The letters of every shape in this package (`nce`, which has blocks of text and no rows of a batch, gives its own):

    B  rows of a batch          S  source tokens, padding included      T  target tokens, padding included
    D  inputs of a layer        H  hidden size of a layer               K  state vectors of a row (see Recurrent)
    E  size of an embedding     V  size of the vocabulary               N  real tokens of a batch, without padding

Dtypes: tokens and lengths are int64; everything else is float32, or what autocast makes of it.
"""
