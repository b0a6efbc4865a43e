"""``catclf predict``: images in, predictions out."""

from catclf.cli.predict.command import predict as predict
