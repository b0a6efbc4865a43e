"""The formulas of logistic regression on arrays, and a scalar computation graph beside them."""

from catclf.maths.logistic import PIXEL_MAX as PIXEL_MAX
from catclf.maths.logistic import Floats as Floats
from catclf.maths.logistic import Pixels as Pixels
from catclf.maths.logistic import flatten as flatten
from catclf.maths.logistic import logit as logit
from catclf.maths.logistic import losses_and_errors as losses_and_errors
from catclf.maths.logistic import sigmoid as sigmoid
