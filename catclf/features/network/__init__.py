"""A pretrained convolutional network as the features of photographs, by NumPy alone.

``architecture`` says what the network is, ``pretrained`` finds its published weights,
``torch_file`` reads them, ``quantize`` makes them int8, ``forward`` computes with them, and
``embedding`` has the features that all of it is for.
"""
