"""Training on several machines: the tasks, their engine Dask, and the problem that is made of them.

Workers read the shards of a packed folder themselves and send sums of aligned runs of parts, so the
canonical sum has the same bits on any number of them. Weights are arguments of tasks; no pixel is
ever sent. Nothing here is imported without a cluster, for Dask takes two seconds to load.
"""

from catclf.cluster.engine import Address as Address
from catclf.cluster.engine import parse as parse
