"""Old names of ``catclf.storage.location``."""

from catclf.storage.location import expanded as expanded
from catclf.storage.location import is_pattern as is_pattern
