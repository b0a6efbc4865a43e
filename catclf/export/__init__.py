"""A model as other programs take it: an ONNX graph."""

from catclf.export.onnx_model import to_onnx as to_onnx
