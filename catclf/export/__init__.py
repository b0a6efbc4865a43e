"""A model as other programs take it: an ONNX graph, and a page that scores images in a browser."""

from catclf.export.onnx_model import to_onnx as to_onnx
