"""What turns images into rows of numbers: pixels, oriented gradients, learned patches, a network.

Every kind is learned from training images without their labels, and then maps each image by
itself to n float32 numbers: the row does not depend on other images, on the block it is in or on
the number of threads. A linear model of such rows is all that the rest of the program knows.
"""

from catclf.features.base import KINDS as KINDS
from catclf.features.base import Features as Features
from catclf.features.base import class_of as class_of
from catclf.features.base import learn as learn
from catclf.features.base import restore as restore
