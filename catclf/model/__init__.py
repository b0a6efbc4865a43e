"""The model: weights with what they mean, and the file that keeps them."""

from catclf.model.model import Model as Model
from catclf.model.model import Training as Training
