"""A pretrained convolutional network as the features of photographs, by NumPy alone.

``architecture`` says what the network is, ``pretrained`` finds its published weights, reads them
and makes them int8, ``weights`` holds them, ``forward`` computes with them, and ``embedding`` has
the features that all of it is for.
"""
