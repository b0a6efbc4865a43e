"""Old names of ``catclf.storage.local``."""

from catclf.storage.local import START as START
from catclf.storage.local import kind_of as kind_of
from catclf.storage.local import kind_of_file as kind_of_file
