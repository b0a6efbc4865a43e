"""The prediction for one image explained: the parts of z, derivatives of the loss, and a map."""

from catclf.explain.explanation import Explanation as Explanation
from catclf.explain.explanation import Row as Row
from catclf.explain.explanation import explain as explain
from catclf.explain.pictures import side_by_side as side_by_side
