"""Recipes, the one training loop, checkpoints and logs."""
