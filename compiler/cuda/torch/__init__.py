"""For torch's users: `convert`, and a backend of `torch.compile`; linear layers with sparse weights, where that pays."""
