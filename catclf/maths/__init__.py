"""The formulas of logistic regression on arrays, and a scalar computation graph beside them."""

from catclf.maths.logistic import PIXEL_MAX as PIXEL_MAX
from catclf.maths.logistic import Floats as Floats
from catclf.maths.logistic import Pixels as Pixels
from catclf.maths.logistic import cost as cost
from catclf.maths.logistic import cost_and_gradient as cost_and_gradient
from catclf.maths.logistic import cost_and_gradient_loop as cost_and_gradient_loop
from catclf.maths.logistic import flatten as flatten
from catclf.maths.logistic import l1_loss as l1_loss
from catclf.maths.logistic import l2_loss as l2_loss
from catclf.maths.logistic import logit as logit
from catclf.maths.logistic import losses_and_errors as losses_and_errors
from catclf.maths.logistic import require_2d as require_2d
from catclf.maths.logistic import sigmoid as sigmoid
from catclf.maths.logistic import softmax as softmax
