"""Draws the bundled pictures: cats, other animals and plain objects in small scenes."""
