"""Neural networks. They know tensors and the number of parameters to predict, never an effect."""
