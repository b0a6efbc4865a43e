"""The objective together with its data, in two forms that give the same iterates.

    J(w, b) = (1/m) Σ v [log(1 + e^z) - y z] + (λ/2m)‖w‖²,   z = wᵀx + b

with x the pixels / 255, or a row of features, and v the weight of the image's class, usually 1.

A problem knows the coordinates in which it is cheap to work; a solver sees only points in those
coordinates, costs and gradients. Descent commutes with the linear map from coordinates to w, so
the form that is chosen changes the time and not the result.
"""

from __future__ import annotations

from catclf.objective.base import EQUAL as EQUAL
from catclf.objective.base import ClassWeights as ClassWeights
from catclf.objective.base import Euclidean as Euclidean
from catclf.objective.base import Point as Point
from catclf.objective.base import Problem as Problem
from catclf.objective.base import class_weights as class_weights
from catclf.objective.base import sample_weights as sample_weights
from catclf.objective.forms import GRAM_LIMIT as GRAM_LIMIT
from catclf.objective.forms import METHODS as METHODS
from catclf.objective.forms import build as build
from catclf.objective.forms import build_euclidean as build_euclidean
from catclf.objective.forms import choose as choose
from catclf.objective.gram import FactorProblem as FactorProblem
from catclf.objective.gram import GramProblem as GramProblem
from catclf.objective.gram import integer_gram as integer_gram
from catclf.objective.streamed import StreamProblem as StreamProblem
