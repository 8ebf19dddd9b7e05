"""Products on a GPU, sparse and dense, attention and convolutions: how each is cut up, launched, and what it costs."""
