"""How good predictions are: confusion counts, ratios, intervals and curves."""

from catclf.metrics.counts import Counts as Counts
from catclf.metrics.counts import wilson as wilson
