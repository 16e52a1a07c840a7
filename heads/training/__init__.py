"""Training of heads: the data, the problem on the device, and the optimisers that fit a grid of heads to it."""
