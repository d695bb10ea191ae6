"""Beside the spine: where did behaviour go? Embeddings to Estimates."""
