"""``catclf train``: read data, train with the cost in sight, evaluate, save."""

from catclf.cli.train.command import train as train
