"""A model as other programs take it: an ONNX graph, or a table of weights."""

from catclf.export.onnx_model import to_onnx as to_onnx
from catclf.export.weights import to_csv as to_csv
