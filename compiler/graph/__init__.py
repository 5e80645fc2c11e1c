"""Graph: the pure, immutable, typed representation of a model."""
