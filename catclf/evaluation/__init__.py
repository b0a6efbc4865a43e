"""How good a model is on labelled images, or many settings by cross-validation."""
