"""Training: settings, solvers and stop rules, and what is selected by cross-validation."""

from catclf.settings import Settings as Settings
from catclf.training.pipeline import build_model as build_model
from catclf.training.pipeline import prepare_job as prepare_job
from catclf.training.pipeline import train as train
from catclf.training.run import Fit as Fit
from catclf.training.run import Validation as Validation
from catclf.training.run import solve as solve
