"""The commands of each stage, thin shells over the functions of the same names; `cli` joins them."""
