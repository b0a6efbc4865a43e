"""Judging models: one on labelled images, or many settings by cross-validation."""
