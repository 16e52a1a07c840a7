"""Networks as extractors: architectures, weights, and the pass from pixels to an embedding."""
