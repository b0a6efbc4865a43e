"""The prediction for one image explained: the parts of z, the graph of its loss, and a map."""

from catclf.explain.contributions import Explanation as Explanation
from catclf.explain.contributions import Row as Row
from catclf.explain.pictures import side_by_side as side_by_side
from catclf.explain.prediction import explain as explain
from catclf.explain.prediction import loss_graph as loss_graph
