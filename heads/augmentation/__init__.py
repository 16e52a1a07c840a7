"""Augmentation of embeddings: arithmetic on vectors, stored views, and latent augmenters that are trained on views."""
