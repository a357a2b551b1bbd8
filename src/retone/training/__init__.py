"""Training: corpora and pairs, gradients through effects, recipes, the loop and its log."""
