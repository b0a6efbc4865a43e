"""Training: settings, solvers and stop rules, and what is chosen by cross-validation."""

from catclf.training.fit import train as train
from catclf.training.settings import Fit as Fit
from catclf.training.settings import Settings as Settings
from catclf.training.settings import Validation as Validation
