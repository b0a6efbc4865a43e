"""Why one image got its prediction: the parts of z, as text, as a graph and as a map."""

from catclf.explain.contributions import Explanation as Explanation
from catclf.explain.contributions import Row as Row
from catclf.explain.pictures import side_by_side as side_by_side
from catclf.explain.prediction import explain as explain
from catclf.explain.prediction import loss_graph as loss_graph
