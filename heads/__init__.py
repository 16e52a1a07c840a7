"""Small JAX models on stored embeddings."""
