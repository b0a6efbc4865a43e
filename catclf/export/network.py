"""The pretrained network in operators of ONNX, with its int8 weights as they are kept."""

from __future__ import annotations

import numpy as np

from catclf.export.graph import Graph
from catclf.features.network.architecture import CENTER, SCALE, Convolution, same_padding
from catclf.features.network.embedding import SHORTEST, NetworkFeatures
from catclf.features.network.resize import resampling
from catclf.features.network.weights import Weights


def rows(graph: Graph, images: str, features: NetworkFeatures, size: int) -> str:
    """The name of rows float32 (N, 1280) of images uint8 (N, size, size, 3)."""
    arrays = features.arrays()
    weights = Weights(arrays["weights"], arrays["scales"], arrays["biases"])
    kernels = _kernels(graph, weights)
    pixels = graph.transpose(graph.cast(images, np.float32), 0, 3, 1, 2)
    pixels = _resized(graph, pixels, size, features.side)
    found = _means(graph, pixels, kernels, features.side)
    if features.settings["flip"]:
        mirrored = _means(graph, graph.reverse(pixels, 3), kernels, features.side)
        both = graph.add("Add", found, mirrored)
        found = graph.add("Mul", both, graph.constant(np.float32(0.5)))
    return graph.unit_rows(graph.add("Sqrt", found), np.sqrt(features.n), SHORTEST)


def _resized(graph: Graph, pixels: str, size: int, side: int) -> str:
    """Pixels (N, 3, side, side) from 0 to 255."""
    if size == side:
        return pixels
    weights = resampling(size, side)
    lines = graph.add("MatMul", graph.constant(weights), pixels)
    both = graph.add("MatMul", lines, graph.constant(weights.T))
    low, high = (graph.constant(np.float32(bound)) for bound in (0, 255))
    return graph.add("Clip", both, low, high)


Kernels = list[tuple[Convolution, str, str]]


def _kernels(graph: Graph, weights: Weights) -> Kernels:
    """Each convolution with the names of its weights (outputs, inputs, k, k) and biases."""
    found = []
    for layer, values, scales, biases in weights.stored():
        kernels = values.reshape(layer.kernel, layer.kernel, -1, layer.outputs).transpose(
            3, 2, 0, 1
        )
        # DequantizeLinear in place of Cast and Mul costs runtimes the fast form of convolutions.
        whole = graph.cast(graph.constant(kernels), np.float32)
        w = graph.add("Mul", whole, graph.constant(scales[:, None, None, None]))
        found.append((layer, w, graph.constant(biases)))
    return found


def _means(graph: Graph, pixels: str, kernels: Kernels, side: int) -> str:
    """The means of the last convolution's channels, (N, 1280)."""
    centred = graph.add("Sub", pixels, graph.constant(np.float32(CENTER)))
    x = graph.add("Mul", centred, graph.constant(np.float32(1 / SCALE)))
    entry = x  # of the block
    for layer, w, b in kernels:
        outputs, before, after = same_padding(side, layer.kernel, layer.stride)
        x = graph.add(
            "Conv",
            x,
            w,
            b,
            group=layer.outputs if layer.depthwise else 1,
            strides=[layer.stride] * 2,
            pads=[before, before, after, after],
        )
        side = outputs
        if layer.relu6:
            low, high = (graph.constant(np.float32(bound)) for bound in (0, 6))
            x = graph.add("Clip", x, low, high)
        if layer.residual:
            x = graph.add("Add", x, entry)
        if layer.ends_block:
            entry = x
    return graph.reshape(graph.add("GlobalAveragePool", x), 0, -1)
