"""Labelled images: every source becomes the same ``Dataset``; the one door to h5py."""

from catclf.datasets.dataset import Dataset as Dataset
from catclf.datasets.dataset import ReadOptions as ReadOptions
from catclf.datasets.dataset import Split as Split
from catclf.datasets.listing import Listing as Listing
from catclf.datasets.listing import Source as Source
from catclf.datasets.listing import to_dataset as to_dataset
from catclf.datasets.open import bundled as bundled
from catclf.datasets.open import bytes_of as bytes_of
from catclf.datasets.open import is_packed as is_packed
from catclf.datasets.open import open_dataset as open_dataset
from catclf.datasets.open import open_for as open_for
from catclf.datasets.open import open_like as open_like
from catclf.datasets.open import open_parts as open_parts
from catclf.datasets.open import open_source as open_source
from catclf.datasets.open import stores_pixels as stores_pixels
