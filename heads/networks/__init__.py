"""Small networks in Flax on embeddings, their losses, and ensembles of them."""
